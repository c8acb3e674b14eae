#!/usr/bin/env python3
"""Measures the tunnel beside going direct and beside one nginx proxy hop, all in one interleaved run.

Load generator and origin are pinned to the first core, the programs of the way that is measured to the second. For each way the report gives the
rate, p50 and p99, and the CPU time that its own programs (for the tunnel: server and client together) spent per unit of work. Medians of the
rounds are quoted and their ratios to the nginx hop. Needs: nginx, wrk, curl, taskset; valgrind for the instruction counts.

    python3 bench/bench.py [--build DIR] [--rounds N] [--seconds S] [--quick] [--output FILE] [--only SUITE,...]
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
USER, SERVICE = "b", "bench"
HOST = f"{SERVICE}.{USER}.localhost"
BULK_BYTES = 400_000_000


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(condition, what, seconds=10.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise SystemExit(f"bench: gave up waiting for {what}")


def port_open(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def status_of(port, host, path="/1"):
    got = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "5", "-H", f"Host: {host}",
                          f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True)
    return got.stdout


class Programs:
    """Everything that was started; ended by id, newest first."""

    def __init__(self, directory):
        self.directory = directory
        self.started = []

    def start(self, name, argv, core, env=None):
        log = open(os.path.join(self.directory, name + ".log"), "ab")
        process = subprocess.Popen(["taskset", "-c", str(core)] + argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        self.started.append(process)
        return process

    def stop(self, process):
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process in self.started:
            self.started.remove(process)

    def stop_all(self):
        for process in reversed(list(self.started)):
            self.stop(process)


def children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(word) for word in f.read().split()]
    except OSError:
        return []


def cpu_ns(pids):
    """User and system time of all threads, in nanoseconds (scheduler statistics: finer than the clock tick)."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
    return total


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"Private_Dirty:\s+(\d+)", f.read()).group(1))


class Way:
    """One way from the load generator to the origin."""

    def __init__(self, name, port, host, processes, with_children=False):
        self.name, self.port, self.host = name, port, host
        self.processes, self.with_children = processes, with_children

    def pids(self):
        pids = []
        for process in self.processes:
            pids.append(process.pid)
            if self.with_children:
                pids += children_of(process.pid)
        return pids


def start_hop(programs, origin_port, core):
    port = free_port()
    directory = os.path.join(programs.directory, "nginx")
    os.makedirs(directory, exist_ok=True)
    config = os.path.join(directory, "nginx.conf")
    with open(config, "w") as f:
        f.write(f"""
worker_processes 1; daemon off; pid {directory}/pid; error_log {directory}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s; client_max_body_size 0; keepalive_requests 1000000000; tcp_nodelay on;
  upstream origin {{ server 127.0.0.1:{origin_port}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{
    proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header X-Forwarded-For $remote_addr;
    proxy_request_buffering off; proxy_max_temp_file_size 0; }} }}
}}
""")
    process = programs.start("nginx", [shutil.which("nginx") or "/usr/sbin/nginx", "-c", config, "-e", directory + "/error.log"], core)
    wait_until(lambda: port_open(port), "nginx")
    return Way("nginx hop", port, "localhost", [process], with_children=True)


def start_tunnel(programs, build, name, origin_port, core, plaintext, prefix=()):
    port, client_port = free_port(), free_port()
    home = tempfile.mkdtemp(dir=programs.directory)
    env = dict(os.environ, HOME=home)
    extra = (["--plaintext"] if plaintext else []) + (["--no-sandbox"] if prefix else [])  # no tool runs inside the sandbox
    server = programs.start(name + "-server", list(prefix) + [f"{build}/server/mdm-tunnel-server", "-p", str(port), "-c", str(client_port),
                                                              "--state-dir", home + "/state"] + extra, core, env)
    wait_until(lambda: port_open(port) and port_open(client_port), f"the server of {name}", 60)
    client = programs.start(name + "-client", list(prefix) + [f"{build}/client/mdm-tunnel-client", "-u", USER, "-p", str(client_port),
                                                              f"{SERVICE}={origin_port}"] + extra, core, env)
    wait_until(lambda: status_of(port, HOST) == "200", f"the first answer through {name}", 60)
    return Way(name, port, HOST, [server, client])


# ---- loads ----
def load_wrk(way, core, connections, size, seconds):
    before, began = cpu_ns(way.pids()), time.monotonic()
    got = subprocess.run(["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s",
                          os.path.join(HERE, "report.lua"), "-H", f"Host: {way.host}", f"http://127.0.0.1:{way.port}/{size}"],
                         capture_output=True, text=True)
    cpu = cpu_ns(way.pids()) - before
    found = re.search(r"FIGURES requests=(\d+) duration_us=(\d+) errors=(\d+) p50=(\d+) p99=(\d+)", got.stdout)
    if not found:
        raise SystemExit(f"bench: wrk failed on {way.name}: {got.stdout}{got.stderr}")
    requests, duration, errors, p50, p99 = (int(g) for g in found.groups())
    return {"rate": requests / (duration / 1e6), "p50_us": p50, "p99_us": p99, "cpu_us": cpu / 1e3 / max(requests, 1), "errors": errors,
            "wall_s": time.monotonic() - began}


def curl_bulk(way, core, upload, size, zero_file):
    argv = ["taskset", "-c", str(core), "curl", "-s", "-f", "-H", f"Host: {way.host}", "-H", "Expect:", "-o", "/dev/null"]
    argv += ["-T", zero_file] if upload else []
    return subprocess.Popen(argv + [f"http://127.0.0.1:{way.port}/{size}"])


def load_bulk(way, core, count, upload, zero_file, total=BULK_BYTES):
    """`count` transfers at once, `total` bytes in all. CPU is per 100 MB."""
    size = total // count
    if upload:
        os.truncate(zero_file, size)
    before, began = cpu_ns(way.pids()), time.monotonic()
    transfers = [curl_bulk(way, core, upload, size, zero_file) for _ in range(count)]
    failed = sum(1 for t in transfers if t.wait() != 0)
    wall = time.monotonic() - began
    cpu = cpu_ns(way.pids()) - before
    return {"rate": total / 1e6 / wall, "cpu_us": cpu / 1e3 / (total / 100e6), "errors": failed}


def load_mixed(way, core, seconds, zero_file):
    """p99 of 1 KiB requests on 4 connections while 4 bulk downloads run."""
    bulk = [curl_bulk(way, core, False, 1 << 36, zero_file) for _ in range(4)]
    try:
        time.sleep(0.3)  # the transfers' start is not what is measured
        figures = load_wrk(way, core, 4, 1024, seconds)
        if any(b.poll() is not None for b in bulk):
            figures["errors"] += 1
    finally:
        for b in bulk:
            b.kill()
            b.wait()
    return figures


# ---- memory ----
def load_idle(way, count):
    """Growth of private memory per visitor: connected with no request made, then each with one answered (its stream and origin connection stay)."""
    base = [private_kib(pid) for pid in way.pids()]

    def growth():
        time.sleep(1.0)  # let freed blocks return to their lists
        return [(private_kib(pid) - before) * 1024 / count for pid, before in zip(way.pids(), base)]

    sockets = [socket.create_connection(("127.0.0.1", way.port)) for _ in range(count)]
    result = {"connected": growth()}
    for s in sockets:
        s.sendall(f"GET /1 HTTP/1.1\r\nHost: {way.host}\r\n\r\n".encode())
        answer = b""
        while not answer.partition(b"\r\n\r\n")[2]:
            part = s.recv(4096)
            if not part:
                raise SystemExit("bench: an idle visitor was cut off")
            answer += part
    result["answered"] = growth()
    for s in sockets:
        s.close()
    return result


# ---- instructions ----
def callgrind_instructions(path, own):
    """Self cost of all functions in objects whose path contains one of `own`."""
    total, current, skip, object_name = 0, False, False, ""
    with open(path, errors="replace") as f:
        for line in f:
            if line.startswith("ob="):
                object_name = line[3:].strip()
                current = any(word in object_name for word in own)
            elif line.startswith("calls="):
                skip = True
            elif line[:1].isdigit() or line[:1] in "+-*":
                if not skip and current:
                    total += int(line.split()[1])
                skip = False
    return total


def load_instructions(args, programs, origin_port, requests):
    """Instructions per 1 KiB request in our own objects, one kept-alive connection: the difference of two runs of different length."""
    import http.client

    def run(count, tag):
        out = os.path.join(programs.directory, f"callgrind.{tag}")
        prefix = ["valgrind", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no", f"--callgrind-out-file={out}.%p"]
        way = start_tunnel(programs, args.build, f"callgrind-{tag}", origin_port, args.cores[1], False, prefix)
        connection = http.client.HTTPConnection("127.0.0.1", way.port, timeout=60)
        for _ in range(count):
            connection.request("GET", "/1024", headers={"Host": HOST})
            connection.getresponse().read()
        connection.close()
        figures = []
        for process, own in zip(way.processes, ("mdm-tunnel-server", "mdm-tunnel-client")):
            process.send_signal(signal.SIGTERM)
        for process, own in zip(way.processes, ("mdm-tunnel-server", "mdm-tunnel-client")):
            process.wait(60)
            figures.append(callgrind_instructions(f"{out}.{process.pid}", [own]))
        return figures

    few, many = run(requests // 10, "few"), run(requests, "many")
    span = requests - requests // 10
    return {"server": (many[0] - few[0]) / span, "client": (many[1] - few[1]) / span}


# ---- report ----
def version_of(argv):
    try:
        got = subprocess.run(argv, capture_output=True, text=True)
        return (got.stdout or got.stderr).strip().splitlines()[0]
    except (OSError, IndexError):
        return "?"


def machine(args):
    model = "?"
    with open("/proc/cpuinfo") as f:
        found = re.search(r"model name\s*:\s*(.*)", f.read())
        model = found.group(1) if found else model
    with open("/proc/sys/net/ipv4/tcp_congestion_control") as f:
        congestion = f.read().strip()
    return [f"- machine: {os.cpu_count()} x {model}, Linux {platform.release()}, loopback, congestion control {congestion}",
            f"- versions: {version_of([args.build + '/server/mdm-tunnel-server', '--version'])}; "
            f"{version_of([shutil.which('nginx') or '/usr/sbin/nginx', '-v'])}; {version_of(['wrk', '-v'])}; {version_of(['openssl', 'version'])}",
            f"- rounds {args.rounds}, interleaved, {args.seconds} s each; load and origin on core {args.cores[0]}, the measured programs on core "
            f"{args.cores[1]}; medians"]


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def spread(rows, key):
    values = [row[key] for row in rows]
    return f"{min(values):.3g}..{max(values):.3g}"


def table(title, unit, cpu_unit, results):
    lines = [f"\n## {title}\n", f"| way | {unit} | of the hop | p50 us | p99 us | p99 of the hop | CPU us per {cpu_unit} (min..max) | of the hop | errors |",
             "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    hop = results.get("nginx hop")
    for name, rows in results.items():
        rate, cpu = median(rows, "rate"), median(rows, "cpu_us")
        has_latency = "p50_us" in rows[0]
        cells = [name, f"{rate:.0f}", f"{rate / median(hop, 'rate'):.2f}",
                 f"{median(rows, 'p50_us'):.0f}" if has_latency else "", f"{median(rows, 'p99_us'):.0f}" if has_latency else "",
                 f"{median(rows, 'p99_us') / max(median(hop, 'p99_us'), 1):.2f}" if has_latency else "",
                 f"{cpu:.4g} ({spread(rows, 'cpu_us')})" if cpu else "", f"{cpu / median(hop, 'cpu_us'):.2f}" if cpu else "",
                 f"{sum(row['errors'] for row in rows)}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(os.path.dirname(HERE), "build", "release"), help="build directory (release)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each request load")
    parser.add_argument("--quick", action="store_true", help="one round of one second: is everything in order?")
    parser.add_argument("--output", default=os.path.join(HERE, "RESULTS.md"))
    parser.add_argument("--only", default="requests,bulk,mixed,memory,instructions", help="suites to run")
    parser.add_argument("--idle", type=int, default=1000, help="idle visitors of the memory suite")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 1, 1
    cores = sorted(os.sched_getaffinity(0))
    args.cores = (cores[0], cores[1] if len(cores) > 1 else cores[0])
    for tool in ("wrk", "curl", "taskset"):
        if not shutil.which(tool):
            raise SystemExit(f"bench: {tool} is missing (Debian: apt-get install wrk curl util-linux nginx-light valgrind)")
    suites = args.only.split(",")

    directory = tempfile.mkdtemp(prefix="mdm-bench-")
    zero_file = os.path.join(directory, "zeros")
    open(zero_file, "w").close()
    programs = Programs(directory)
    raw = {}
    lines = ["# Benchmark results", "", "Made by `python3 bench/bench.py`; see README.md here for what each figure means.", ""]
    try:
        origin_port = free_port()
        programs.start("origin", [f"{args.build}/bench/bench-origin", str(origin_port)], args.cores[0])
        wait_until(lambda: port_open(origin_port), "the origin")
        ways = [Way("direct", origin_port, "localhost", []), start_hop(programs, origin_port, args.cores[1]),
                start_tunnel(programs, args.build, "tunnel TLS", origin_port, args.cores[1], False),
                start_tunnel(programs, args.build, "tunnel plain", origin_port, args.cores[1], True)]
        lines += machine(args)

        def rounds(title, unit, cpu_unit, load):
            results = {way.name: [] for way in ways}
            for turn in range(args.rounds):
                for way in ways[turn % len(ways):] + ways[:turn % len(ways)]:
                    results[way.name].append(load(way))
            raw[title] = results
            lines.extend(table(title, unit, cpu_unit, results))
            print("\n".join(table(title, unit, cpu_unit, results)), flush=True)

        if "requests" in suites:
            for size, label in ((1024, "1 KiB"), (65536, "64 KiB")):
                for connections in (1, 64, 1000):
                    rounds(f"{label} answers, {connections} connection{'s' if connections > 1 else ''}", "requests/s", "request",
                           lambda way: load_wrk(way, args.cores[0], connections, size, args.seconds))
        if "bulk" in suites:
            for upload in (False, True):
                for count in (1, 8):
                    rounds(f"{count} bulk {'upload' if upload else 'download'}{'s' if count > 1 else ''}", "MB/s", "100 MB",
                           lambda way: load_bulk(way, args.cores[0], count, upload, zero_file))
        if "mixed" in suites:
            rounds("1 KiB requests on 4 connections beside 4 bulk downloads", "requests/s", "small request (bulk included)",
                   lambda way: load_mixed(way, args.cores[0], args.seconds, zero_file))
        if "memory" in suites:
            lines.append("\n## Memory\n\n| way | private idle KiB (server, client) | bytes per connected visitor (server, client) | bytes per idle visitor "
                         "with its stream and origin connection (server, client) |\n|---|---:|---:|---:|")
            for plain in (False, True):
                way = start_tunnel(programs, args.build, f"fresh tunnel {'plain' if plain else 'TLS'}", origin_port, args.cores[1], plain)
                idle = [private_kib(p) for p in way.pids()]
                grown = load_idle(way, args.idle)
                raw[way.name] = {"idle_kib": idle, **grown}
                lines.append(f"| {way.name} | {idle[0]}, {idle[1]} | " + " | ".join(
                    ", ".join(f"{value:.0f}" for value in grown[label]) for label in ("connected", "answered")) + " |")
                print(lines[-1], flush=True)
                for process in way.processes:
                    programs.stop(process)
        if "instructions" in suites and shutil.which("valgrind"):
            figures = load_instructions(args, programs, origin_port, 300 if args.quick else 2000)
            raw["instructions"] = figures
            lines.append("\n## Instructions\n\nUser-space instructions per 1 KiB request in our own objects (callgrind, one kept-alive connection, link "
                         f"with TLS): server {figures['server']:.0f}, client {figures['client']:.0f}.")
            print(lines[-1], flush=True)
    finally:
        programs.stop_all()
        if sys.exc_info()[0]:
            print(f"bench: logs are in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    with open(args.output, "w") as f:
        f.write("\n".join(lines) + "\n")
    with open(os.path.splitext(args.output)[0] + ".json", "w") as f:
        json.dump(raw, f, indent=1)
        f.write("\n")
    print(f"\nwritten: {args.output}")


if __name__ == "__main__":
    main()
