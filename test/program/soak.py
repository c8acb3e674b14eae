"""soak.py: a mixed load on the real programs for some minutes, while their maps, users, certificates and configuration change and
a client comes and goes. See test/soak.sh. Checked the whole time: every answer is whole and its request's own (canary.py), and
none is refused or cut unless a fault made here explains it. At the end: nothing held, descriptors as before, memory level.
"""
import argparse
import collections
import contextlib
import os
import random
import signal
import sys
import threading
import time

from canary import Violation, Visit, canary_origin, pattern, token
from tunnel import SANITIZED, SERVER, Case, Process, dial, fetch, request_text, tls_client, wait_for

KEPT_REQUESTS = 50           # on one connection
GRACE_S = 1.0                # a fault that is over explains what ended so soon after it
SETTLE_S = 30
DESCRIPTORS_SLACK = 2
JUDGED_MINUTES = 1.5         # shorter samples say nothing about memory
SLOPE_MAX_KIB_PER_MINUTE = 128
GROWTH_MAX_KIB = 24 * 1024 if SANITIZED else 3 * 1024  # both must be passed: a slope needs a height to be one
VIOLATIONS_SHOWN = 20
STABLE = {"a.tim.localhost": "a", "b.tim.localhost": "b", "c.ann.localhost": "c", "a--tim.localhost": "a"}
FLAPPING, CHURNING = "f.sue.localhost", "churn.tim.localhost"
CREDENTIAL_WITHDRAWN = 4


class Row:
    """What one kind of load did."""

    def __init__(self):
        self.kinds = collections.Counter()
        self.times = []

    def cells(self):
        times = sorted(self.times) or [0]
        return [sum(self.kinds.values()), self.kinds["complete"], self.kinds["refused"], self.kinds["cut"],
                *(f"{1000 * times[min(len(times) - 1, int(len(times) * q))]:.1f}" for q in (0.5, 0.99))]


class Windows:
    """Times in which failures of one name are explained."""

    def __init__(self):
        self.spans = []

    def open(self):
        self.spans.append([time.monotonic(), None])

    def close(self):
        self.spans[-1][1] = time.monotonic()

    def explain(self, start, end):
        return any(start <= (shut or end) + GRACE_S and end >= since for since, shut in reversed(self.spans))


class Soak(Case):
    def __init__(self, options):
        super().__init__()
        self.seconds = options.minutes * 60
        self.visitors = options.visitors
        self.random = random.Random(options.seed)
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.rows = collections.defaultdict(Row)
        self.violations = []
        self.windows = {FLAPPING: Windows(), CHURNING: Windows()}
        self.faults = collections.Counter()
        self.samples = []
        self.before = self.after = None

    def runTest(self):
        pass

    # ---- what is tested ----

    def start_all(self):
        self.ca = self.certificate("ca", is_ca=True)
        self.new_certificate()
        self.tls = tls_client(self.ca[0])
        self.users = self.path("users.json")
        self.tokens = {name: self.user("add", name) for name in ("tim", "ann", "sue")}
        self.configure(0)
        self.front = self.server("--config", self.path("server.json"), "--https-port", "0", "--admin", "127.0.0.1:0", "--bind", "localhost")
        self.origins = {}
        for name in ("a", "b", "c", "f", "churn", "churn2"):
            self.origins[name] = canary_origin(name)
            self.addCleanup(self.origins[name].stop)
        self.map("churn")
        self.tim = self.client(self.front, "-c", self.path("services.json"), wait=False, verbose=False, env={"MDM_TUNNEL_TOKEN": self.tokens["tim"]})
        self.ann = self.client(self.front, f"c={self.origins['c'].port}", env={"MDM_TUNNEL_TOKEN": self.tokens["ann"]})
        self.sue = self.start_sue()
        for host in (*STABLE, CHURNING, FLAPPING):
            wait_for(lambda: self.ask(Visit(host)).kind == "complete", host)
            self.ask(Visit(host), tls=True)

    def user(self, verb, name):
        status, out, err = self.once([SERVER, "user", verb, name, "--users", self.users, "--state-dir", self.path("state")])
        if status != 0:
            raise AssertionError(f"user {verb} {name}: {err}")
        return out.strip()

    def once(self, argv):
        process = Process(self.directory, argv)
        with contextlib.ExitStack() as files:
            for path in (process.stdout_path, process.stderr_path):
                files.callback(os.unlink, path)
            status = process.wait()
            return status, process.output(), process.errors()

    def configure(self, turn):
        self.write("server.json", {"users": self.users, "state-dir": self.path("state"), "tls-dir": self.path("tls"), "access-log": self.path("access.log"),
                                   "timeouts": {"idle": 60 + turn % 2}, "limits": {"head-fields": 90 + turn % 10}})

    def new_certificate(self):
        made = self.certificate("new", "*.tim.localhost", "*.ann.localhost", "*.sue.localhost", "a--tim.localhost", ca=self.ca)
        os.makedirs(self.path("tls"), exist_ok=True)
        for path in made:
            os.rename(path, os.path.join(self.path("tls"), os.path.basename(path)))

    def map(self, churn):
        services = {name: self.origins[name].port for name in "ab"}
        if churn:
            services["churn"] = self.origins[churn].port
        self.write("services.json", services)

    def start_sue(self):
        return self.client(self.front, f"f={self.origins['f'].port}", env={"MDM_TUNNEL_TOKEN": self.tokens["sue"]})

    # ---- load ----

    def ask(self, visit, tls=False):
        with self.wire(visit.host, tls) as wire:
            return visit.run(wire)

    def wire(self, host, tls=False):
        return dial(self.front.https, tls=self.tls, server_name=host, patience=60) if tls else dial(self.front.http, patience=60)

    def note(self, kind, visit, start):
        """Counts a visit, and judges it."""
        end = time.monotonic()
        with self.lock:
            row = self.rows[kind]
            row.kinds[visit.kind] += 1
            row.times.append(end - start)
        if visit.kind != "complete" and not (visit.host in self.windows and self.windows[visit.host].explain(start, end)):
            self.violate(f"{kind}: unexplained {visit}")

    def violate(self, what):
        with self.lock:
            self.violations.append(f"{time.monotonic() - self.begun:.1f} s: {what}")

    def stable(self):
        return self.random.choice(list(STABLE))

    def keep_alive(self):
        host = self.stable()
        tls = host if self.random.random() < 0.3 else None
        with self.wire(host, tls is not None) as wire:
            for _ in range(KEPT_REQUESTS):
                host = tls or self.stable()
                visit, start = Visit(host, STABLE[host], self.random.randrange(20_000), self.random.choice(["length", "chunked"])), time.monotonic()
                self.note("keep-alive", visit.run(wire), start)
                if not visit.reusable or self.over.wait(0.01):
                    return

    def short(self):
        host = self.stable()
        start = time.monotonic()
        version, framing = self.random.choice([("HTTP/1.1", "length"), ("HTTP/1.1", "chunked"), ("HTTP/1.1", "close"), ("HTTP/1.0", "close"), ("HTTP/1.0", "length")])
        self.note("short", self.ask(Visit(host, STABLE[host], self.random.randrange(5000), framing, version=version), self.random.random() < 0.3), start)

    def upload(self):
        host, start = self.stable(), time.monotonic()
        visit = Visit(host, STABLE[host], body=os.urandom(self.random.randrange(1, 300_000)), chunked=self.random.random() < 0.5)
        self.note("upload", self.ask(visit), start)

    def download(self):
        host, start = self.stable(), time.monotonic()
        self.note("download", self.ask(Visit(host, STABLE[host], self.random.randrange(200_000, 1_000_000), self.random.choice(["length", "chunked"]))), start)

    def abort(self):
        host, start, name = self.stable(), time.monotonic(), token()
        visit = Visit(host, STABLE[host], 1_000_000, name=name)
        with self.wire(host) as wire:
            head = wire.send(visit.text()).head()
            if head.status != 200 or head.get("x-canary") != name:
                raise Violation(f"aborted download: {head}")
            some = wire.exactly(self.random.randrange(1, 100_000))
            if some != pattern(name, len(some)):
                raise Violation(f"aborted download {name}: bytes of another")
            if self.random.random() < 0.5:
                wire.reset()
        visit.kind = "complete"
        self.note("aborted", visit, start)

    def upgrade(self, wire, host):
        name = token("ws")
        wire.send(request_text("GET", f"/{name}/-/0/0", host, [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "MDEyMzQ1Njc4OWFiY2RlZg==")]))
        head = wire.head()
        if head.status != 101 or head.get("x-canary") != name:
            raise Violation(f"WebSocket {name}: {head}")
        return name

    def echo(self, wire, name, turn, size):
        data = pattern(f"{name} {turn}", size)
        if wire.send(data).exactly(size) != data:
            raise Violation(f"WebSocket {name}: not its own bytes back, turn {turn}")

    def websocket(self):
        host, start = self.stable(), time.monotonic()
        with self.wire(host) as wire:
            name = self.upgrade(wire, host)
            for turn in range(20):
                self.echo(wire, name, turn, self.random.randrange(1, 10_000))
            if self.random.random() < 0.5:
                wire.reset()
        visit = Visit(host, name=name)
        visit.kind = "complete"
        self.note("WebSocket", visit, start)

    def long_websocket(self):
        """One for the whole time: nothing that happens here may end it."""
        host, start = "a.tim.localhost", time.monotonic()
        with self.wire(host) as wire:
            name, turn = self.upgrade(wire, host), 0
            while not self.over.wait(0.2):
                self.echo(wire, name, turn, 500)
                turn += 1
        visit = Visit(host, name=name)
        visit.kind = "complete"
        self.note("long WebSocket", visit, start)

    def flapping(self):
        start = time.monotonic()
        self.note("flapping client", self.ask(Visit(FLAPPING, "f", self.random.randrange(20_000), self.random.choice(["length", "chunked"]))), start)

    def churning(self):
        start, visit = time.monotonic(), Visit(CHURNING, None, 2000, self.random.choice(["length", "chunked"]))
        self.note("changing service", self.ask(visit), start)

    def load(self, action):
        pause = 0.05
        while not self.over.wait(pause):
            try:
                action()
            except Violation as fault:
                self.violate(f"{action.__name__}: {fault}")
            except Exception as fault:  # whatever it is: nothing but a visit's own outcome is expected
                self.violate(f"{action.__name__}: {fault!r}")

    # ---- faults: all from the main thread, whose end is that of the programs ----

    def fault_map(self):
        kind = self.random.choice(["other", "gone", "same"])
        if kind == "same":
            return self.tim.signal(signal.SIGHUP)
        if kind == "other":
            return self.map(self.random.choice(["churn", "churn2"]))
        window = self.windows[CHURNING]
        window.open()
        self.map(None)
        if self.random.random() < 0.5:
            self.tim.signal(signal.SIGHUP)
        self.over.wait(0.5)
        self.map("churn")
        self.tim.signal(signal.SIGHUP)
        wait_for(lambda: self.ask(Visit(CHURNING)).kind == "complete", "the service to be back")
        window.close()
        return None

    def fault_users(self):
        name = f"guest-{self.faults['users'] % 3}"
        with open(self.users) as f:
            known = f'"{name}"' in f.read()
        self.user(self.random.choice(["remove", "rotate"]) if known else "add", name)

    def fault_certificate(self):
        self.new_certificate()

    def fault_reload(self):
        self.configure(self.faults["reload"])
        self.front.signal(signal.SIGHUP)

    def fault_client(self):
        window = self.windows[FLAPPING]
        window.open()
        how = self.random.choice(["killed", "stopped", "token"])
        if how == "token":
            self.tokens["sue"] = self.user("rotate", "sue")
            status = self.sue.wait()
            if status != CREDENTIAL_WITHDRAWN:
                self.violate(f"client with a withdrawn token ended with {status}: {self.sue.describe()}")
        elif how == "killed":
            self.sue.kill()
            self.sue.check_faults()
        else:
            self.sue.stop()
        self.processes.remove(self.sue)
        self.sue = self.start_sue()
        window.close()

    # ---- watching ----

    def descriptors(self):
        """Of server and client; None where the system lets nobody but root look."""
        try:
            return [len(os.listdir(f"/proc/{p.pid}/fd")) for p in (self.front, self.tim)]
        except PermissionError:
            return None

    def sample(self):
        with contextlib.suppress(OSError):
            self.samples.append((time.monotonic() - self.begun, self.front.memory_kib(), self.tim.memory_kib()))

    def metrics(self):
        answer = fetch(self.front.admin, f"127.0.0.1:{self.front.admin}", "/metrics")
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in answer.text.splitlines() if line and not line.startswith("#")}

    def quiet(self):
        """What is not at rest."""
        values = self.metrics()
        busy = {k: values[k] for k in ("mdm_tunnel_streams", "mdm_tunnel_requests_active", "mdm_tunnel_held_bytes", "mdm_tunnel_visitors") if values[k]}
        now = self.descriptors()
        if self.before and any(n > b + DESCRIPTORS_SLACK for n, b in zip(now, self.before)):
            busy["descriptors"] = (self.before, now)
        return busy

    def soak(self):
        self.begun = time.monotonic()
        self.start_all()
        wait_for(lambda: not self.quiet(), lambda: f"a quiet start: {self.quiet()}")
        self.before = self.descriptors()
        self.begun = time.monotonic()
        actions = [self.keep_alive, self.short, self.upload, self.download, self.abort, self.websocket, self.flapping, self.churning] * self.visitors
        threads = [threading.Thread(target=self.load, args=(a,), daemon=True) for a in [*actions, self.long_websocket]]
        for thread in threads:
            thread.start()
        try:
            self.cause_faults()
        finally:
            self.over.set()
            for thread in threads:
                thread.join(SETTLE_S)
        if any(thread.is_alive() for thread in threads):
            self.violate("a visitor still waits for the end of its answer")
        try:
            wait_for(lambda: not self.quiet(), "", SETTLE_S)
        except AssertionError:
            self.violate(f"not at rest {SETTLE_S} s after the load: {self.quiet()}")
        self.after = self.descriptors()

    def cause_faults(self):
        scale = min(1.0, self.seconds / 60)
        plan = [(3, "map"), (5, "users"), (7, "certificate"), (6, "reload"), (8, "client")]
        due = {name: self.begun + scale * every for every, name in plan}
        next_sample = self.begun
        while (now := time.monotonic()) < self.begun + self.seconds:
            if now >= next_sample:
                self.sample()
                next_sample = now + max(0.2, min(5, self.seconds / 200))
            for every, name in plan:
                if now >= due[name]:
                    getattr(self, "fault_" + name)()
                    self.faults[name] += 1
                    due[name] = time.monotonic() + scale * every * self.random.uniform(0.5, 1.5)
            for process in (self.front, self.tim, self.ann, self.sue):
                if not process.running():
                    raise AssertionError("ended by itself: " + process.describe())
            time.sleep(0.05)
        self.sample()

    def memory(self, column):
        """(at the start, at the end, slope in KiB a minute): of what was sampled after a fifth of the time."""
        settled = [s for s in self.samples if s[0] >= self.seconds / 5] or self.samples
        times, sizes = [s[0] / 60 for s in settled], [s[column] for s in settled]
        mean_time, mean_size = sum(times) / len(times), sum(sizes) / len(sizes)
        spread = sum((t - mean_time) ** 2 for t in times)
        slope = sum((t - mean_time) * (s - mean_size) for t, s in zip(times, sizes)) / spread if spread else 0
        return sizes[0], sizes[-1], slope, slope * (times[-1] - times[0])

    def report(self):
        line = "{:<18}{:>11}{:>10}{:>9}{:>7}{:>10}{:>10}"
        print(line.format("load", "operations", "complete", "refused", "cut", "p50 ms", "p99 ms"))
        for kind, row in sorted(self.rows.items()):
            print(line.format(kind, *row.cells()))
        print("\nfaults: " + ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items())))
        line = "{:<18}{:>11}{:>11}{:>15}{:>20}"
        print("\n" + line.format("program", "first KiB", "last KiB", "KiB a minute", "descriptors"))
        for column, name in ((1, "server"), (2, "client")):
            first, last, slope, growth = self.memory(column)
            files = f"{self.before[column - 1]} -> {self.after[column - 1]}" if self.after else "not measured"
            print(line.format(name, first, last, f"{slope:.0f}", files))
            if self.seconds >= 60 * JUDGED_MINUTES and slope > SLOPE_MAX_KIB_PER_MINUTE and growth > GROWTH_MAX_KIB:
                self.violate(f"memory of the {name} grows by {slope:.0f} KiB a minute")
        if self.seconds < 60 * JUDGED_MINUTES:
            print("(too short to judge memory)")
        for kind in ("keep-alive", "short", "upload", "download", "aborted", "WebSocket", "long WebSocket", "flapping client", "changing service"):
            if not self.rows[kind].kinds["complete"]:
                self.violate(f"{kind}: nothing was complete")
        print(f"\nviolations: {len(self.violations)}")
        for violation in self.violations[:VIOLATIONS_SHOWN]:
            print("  " + violation)


def main():
    parser = argparse.ArgumentParser(description="mixed load on the real programs, with faults; see test/soak.sh")
    parser.add_argument("minutes", type=float)
    parser.add_argument("--visitors", type=int, default=1, help="threads for each kind of load (1)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the choices made here; printed")
    options = parser.parse_args()
    print(f"{options.minutes:g} minutes, visitors {options.visitors}, seed {options.seed}", flush=True)
    soak = Soak(options)
    soak.setUp()
    problems = []
    try:
        for step in (soak.soak, soak._stop_processes):
            try:
                step()
            except AssertionError as fault:
                problems.append(str(fault))
    finally:
        soak.doCleanups()
    if soak.samples:
        soak.report()
    for problem in problems:
        print("FAILED: " + problem)
    return 1 if problems or soak.violations else 0


if __name__ == "__main__":
    sys.exit(main())
