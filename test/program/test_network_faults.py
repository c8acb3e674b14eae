"""A bad network between server and client: cables pulled without a word, lost packets, a narrow line, a new address, and programs
that stand still. Whatever happens, no answer that looks whole is cut or mixed (canary.py), and service returns by itself.
Exit status 77, which ctest shows as skipped, where no network of one's own can be made.
"""
import contextlib
import os
import socket
import sys
import threading
import time

from canary import Visit, canary_origin
from network import OTHER_ADDRESS, SERVER_ADDRESS, Network, missing
from tunnel import SERVER, Case, Wire, main, wait_for

SKIPPED = 77
RETURN_S = 20            # service is back this soon after the fault ends
HOST = "o.tim.localhost"


def together(*scenarios):
    """Runs these side by side; raises what went wrong in the first that failed."""
    faults = []

    def run(scenario):
        try:
            scenario()
        except BaseException as fault:
            faults.append(fault)
    threads = [threading.Thread(target=run, args=(s,)) for s in scenarios]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def descriptors(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


class Tunnel:
    """A server and a client at the ends of a network of their own, or both on this machine's loopback."""

    def __init__(self, case, name, network=None, heartbeat=5, silence=14, hold=0, client_heartbeat=None):
        self.network = network
        state = case.path(f"{name}.state")
        status, out, err = case.program([SERVER, "user", "add", "tim", "--state-dir", state])
        case.assertEqual(status, 0, err)
        config = case.write(f"{name}.json", {"state-dir": state, "hold": hold, "timeouts": {"heartbeat": heartbeat, "silence": silence}})
        with self.at("server"):
            self.server = case.server("--config", config, *(["--bind", "*" if network else "localhost"]))
        with self.at("client"):
            self.origin = case.origin_of(canary_origin("o"))
            self.client = case.client(self.server, "-h", SERVER_ADDRESS if network else "localhost", "--known-servers", case.path(f"{name}.known"),
                                      "--heartbeat", client_heartbeat or heartbeat, f"o={self.origin.port}", env={"MDM_TUNNEL_TOKEN": out.strip()})
        case.assertEqual(self.visit().kind, "complete")
        self.before = self.descriptors()

    def at(self, end):
        return getattr(self.network, end).inside() if self.network else contextlib.nullcontext()

    def descriptors(self):
        return descriptors(self.server), descriptors(self.client)

    def wire(self):
        with self.at("server"):
            sock = socket.socket()
            sock.settimeout(60)
            sock.connect(("127.0.0.1", self.server.http))
            return Wire(sock, 60)

    def visit(self, **options):
        with self.wire() as wire:
            return Visit(HOST, "o", **options).run(wire)

    def begin(self, **options):
        """A visit in the background: (visit, join), where join() waits for its end and raises what it raised."""
        visit, wire, faults = Visit(HOST, "o", **options), self.wire(), []

        def run():
            try:
                with wire:
                    visit.run(wire)
            except BaseException as fault:
                faults.append(fault)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def join(patience=60):
            thread.join(patience)
            if faults:
                raise faults[0]
            if thread.is_alive():
                raise AssertionError(f"still waiting after {patience} s: {visit}")
            return visit
        return visit, join

    def downloads(self):
        """Three that last for longer than any test, one for each way to end a body; they have begun."""
        begun = [self.begin(size=2_000_000, pace=100, framing=f, version=v) for f, v in (("length", "HTTP/1.1"), ("chunked", "HTTP/1.1"), ("close", "HTTP/1.0"))]
        wait_for(lambda: all(visit.received for visit, _ in begun), lambda: f"first bytes: {begun}")
        return begun

    def await_kind(self, kind, patience=RETURN_S):
        """Visits until one ends so; returns it."""
        seen = []

        def asked():
            seen[:] = [self.visit()]
            return seen[0] if seen[0].kind == kind else None
        return wait_for(asked, lambda: f"a visit that is {kind}: {seen}", patience)

    def settle(self):
        wait_for(lambda: all(now <= was + 2 for now, was in zip(self.descriptors(), self.before)),
                 lambda: f"descriptors to return to {self.before}: {self.descriptors()}")


class NetworkCase(Case):
    def origin_of(self, origin):
        self.addCleanup(origin.stop)
        return origin

    def network(self):
        network = Network()
        self.addCleanup(network.close)
        return network


class SilentDrop(NetworkCase):
    """The link is given up after 3 s of silence by the server, after 6 s by the client."""

    def pulled(self, tunnel, pull, mend, held):
        downloads = tunnel.downloads()
        pull()
        for _, join in downloads:
            self.assertEqual(join().kind, "cut")
        if held:
            visit, join = tunnel.begin()
            mend()
            self.assertEqual(join().kind, "complete", visit)
        else:
            refused = tunnel.await_kind("refused")
            self.assertEqual(refused.status, 503)
            mend()
        start = time.monotonic()
        tunnel.await_kind("complete")
        self.assertLess(time.monotonic() - start, RETURN_S)
        tunnel.settle()

    def test_cable_pulled_in_each_direction(self):
        def scenario(name, end, held):
            network = self.network()
            tunnel = Tunnel(self, name, network, heartbeat=1, silence=3, hold=RETURN_S if held else 0)
            end = getattr(network, end)

            def mend():
                self.assertGreater(end.dropped(), 0)
                end.mend()
            return lambda: self.pulled(tunnel, end.drop, mend, held)

        def unplugged():
            network = self.network()
            tunnel = Tunnel(self, "unplugged", network, heartbeat=1, silence=3)
            return lambda: self.pulled(tunnel, lambda: network.server.link("down"), lambda: network.server.link("up"), False)
        together(scenario("to-server", "server", False), scenario("to-client", "client", False), scenario("to-server-held", "server", True),
                 scenario("to-client-held", "client", True), unplugged())


class BadLine(NetworkCase):
    def test_a_fifth_of_all_packets_lost(self):
        network = self.network()
        tunnel = Tunnel(self, "lossy", network)
        for end in network.ends:
            end.drop("numgen inc mod 5 0")  # by chance, one run in twenty loses so many in a row that the link is rightly given up

        def small():
            for _ in range(10):
                self.assertEqual(tunnel.visit(size=500).kind, "complete")
        body = os.urandom(60_000)
        begun = [tunnel.begin(size=150_000), tunnel.begin(size=80_000, framing="chunked"), tunnel.begin(size=40_000, framing="close", version="HTTP/1.0"),
                 tunnel.begin(body=body), tunnel.begin(body=body, chunked=True)]
        together(small)
        for _, join in begun:
            self.assertEqual(join().kind, "complete")
        for end in network.ends:
            self.assertGreater(end.dropped(), 10)

    def test_small_answers_overtake_bulk_on_a_narrow_line(self):
        network = self.network()
        tunnel = Tunnel(self, "narrow", network)
        for end in network.ends:
            end.narrow("1mbit")
        down, down_joined = tunnel.begin(size=700_000)                # 5.6 s at that rate
        wait_for(lambda: down.received > 60_000, "the download to run")
        for _ in range(5):
            self.assertEqual(tunnel.visit(size=300).kind, "complete")
        self.assertIsNone(down.kind, "the download ended before five small answers")
        up, up_joined = tunnel.begin(body=os.urandom(500_000))        # 4 s
        for _ in range(3):
            self.assertEqual(tunnel.visit(size=300).kind, "complete")
        self.assertIsNone(up.kind, "the upload ended before three small answers")
        self.assertEqual([down_joined().kind, up_joined().kind], ["complete"] * 2)

    def test_new_address_of_the_client(self):
        """Silence would be noticed after a minute: the client looks when its network changes."""
        network = self.network()
        tunnel = Tunnel(self, "moving", network, heartbeat=60, silence=124)
        downloads = tunnel.downloads()
        network.client.address("10.77.0.2", "del")
        network.client.address(OTHER_ADDRESS)
        start = time.monotonic()
        tunnel.await_kind("complete")
        self.assertLess(time.monotonic() - start, RETURN_S)
        self.assertIn(OTHER_ADDRESS, network.server.run("ss", "-Htn", "state", "established"))
        for _, join in downloads:
            self.assertEqual(join().kind, "cut")
        tunnel.settle()


class Frozen(NetworkCase):
    FROZEN_S = 8

    def frozen(self, process, tunnel, meanwhile=lambda: None):
        process.freeze()
        end = time.monotonic() + self.FROZEN_S
        try:
            meanwhile()
            time.sleep(max(0, end - time.monotonic()))
        finally:
            process.thaw()
        tunnel.await_kind("complete")
        tunnel.settle()

    def test_a_program_stands_still(self):
        short = {"heartbeat": 1, "silence": 3}
        client, server = Tunnel(self, "client", **short), Tunnel(self, "server", **short, hold=RETURN_S)
        patient_client, patient_server = Tunnel(self, "patient-client"), Tunnel(self, "patient-server")

        def client_given_up():
            """The server notices: downloads are cut, visitors told."""
            downloads = client.downloads()

            def meanwhile():
                for _, join in downloads:
                    self.assertEqual(join().kind, "cut")
                self.assertEqual(client.await_kind("refused").status, 503)
            self.frozen(client.client, client, meanwhile)

        def server_given_up():
            """The client notices and dials anew; a visitor who came meanwhile waits, and is served or told."""
            downloads = server.downloads()
            visits = []
            self.frozen(server.server, server, lambda: visits.append(server.begin()))
            visit = visits[0][1]()
            self.assertIn((visit.kind, visit.status), [("complete", 200), ("refused", 503)], visit)
            for _, join in downloads:
                self.assertEqual(join().kind, "cut")
            server.client.expect(r"(?i)(nothing was heard|did not answer)", "stderr")

        def waited_for(tunnel, process):
            """Shorter than the silence that ends a link: nothing is lost."""
            begun = [tunnel.begin(size=100_000, pace=20, framing=f, version=v) for f, v in (("length", "HTTP/1.1"), ("chunked", "HTTP/1.1"), ("close", "HTTP/1.0"))]
            wait_for(lambda: all(visit.received for visit, _ in begun), "first bytes")
            self.frozen(process, tunnel)
            for _, join in begun:
                self.assertEqual(join().kind, "complete")
        together(client_given_up, server_given_up, lambda: waited_for(patient_client, patient_client.client), lambda: waited_for(patient_server, patient_server.server))


if __name__ == "__main__":
    lacking = missing()
    if lacking:
        print(f"skipped: no network of one's own on this machine: {lacking}")
        sys.exit(SKIPPED)
    main()
