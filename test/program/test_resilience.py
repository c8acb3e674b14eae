"""Strangers and shortage: garbage on every port, too few descriptors, a full disk, caps on connections. Others go on."""
import os
import time

from tunnel import SERVER, Case, Server, dial, fetch, held_sockets, main, request_text, wait_for


class Strangers(Case):
    def start_tunnel(self, *args):
        self.o = self.origin("o")
        server = self.server(*args)
        self.client(server, "-u", "tim", f"o={self.o.port}")
        return server

    def works(self, server):
        self.assertEqual(fetch(server.http, "o.tim.localhost").text, "o GET / 0")

    def test_garbage_on_every_port(self):
        crt, key = self.certificate("wild", "*.tim.localhost")
        server = self.start_tunnel("--https-port", "0", "--tls-cert", crt, "--tls-key", key, "--admin", "127.0.0.1:0")
        junk = [b"\0" * 5000, b"GET / HTTP/1.1\r\n" * 500, os.urandom(20000), b"\x16\x03\x01" + b"\xff" * 5000, b"mdm", b"\r\n" * 5000, b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n"]
        for port in server.ports.values():
            for bytes_ in junk:
                with dial(port) as wire:
                    try:
                        wire.send(bytes_).finish().rest()
                    except ConnectionError:
                        pass
        self.works(server)

    def test_client_that_says_nothing_is_closed(self):
        config = self.write("server.json", {"timeouts": {"handshake": 1}, "state-dir": self.path("state")})
        server = self.start_tunnel("--config", config)
        wires = [dial(server.clients) for _ in range(20)]
        for wire in wires:
            self.assertTrue(wire.ended())
            wire.close()
        self.works(server)

    def test_caps_of_connections(self):
        config = self.write("server.json", {"limits": {"connections-per-address": 20}, "state-dir": self.path("state")})
        server = self.start_tunnel("--config", config)
        wires = [dial(server.http) for _ in range(20)]
        time.sleep(0.2)
        refused = dial(server.http)
        try:
            refused.send(request_text("GET", "/", "o.tim.localhost"))
            self.assertIn(refused.answer().status, (429, 503))
        except (EOFError, ConnectionError):
            pass
        refused.close()
        self.assertEqual(fetch(server.http, "o.tim.localhost", address="::1").status, 200)
        for wire in wires:
            wire.close()

        def again():
            try:
                return fetch(server.http, "o.tim.localhost").status == 200
            except (EOFError, ConnectionError):
                return False
        wait_for(again, "room for a connection")


class Shortage(Case):
    def test_no_descriptors_left_does_not_spin_and_recovers(self):
        server = Server.__new__(Server)
        self.processes.append(server)
        script = self.write("few", '#!/bin/sh\nulimit -n 60\nexec "$@"\n', 0o700)
        server.__init__(self.directory, SERVER, "-v", "--port", "0", "--client-port", "0", "--state-dir", self.path("state"), binary=script, ports=False, verbose=False)
        o = self.origin("o")
        self.client(server, "-u", "tim", f"o={o.port}")
        wires = []
        for _ in range(100):
            try:
                wires.append(dial(server.http, patience=2))
            except OSError:
                break
        before = self.cpu_seconds(server.pid)
        time.sleep(1)
        self.assertLess(self.cpu_seconds(server.pid) - before, 0.5)
        for wire in wires:
            wire.close()

        def again():
            try:
                return fetch(server.http, "o.tim.localhost").status == 200
            except (OSError, EOFError):
                return False
        wait_for(again, "descriptors to come back")

    def cpu_seconds(self, pid):
        with open(f"/proc/{pid}/stat") as f:
            cells = f.read().rsplit(")", 1)[1].split()
        return (int(cells[11]) + int(cells[12])) / os.sysconf("SC_CLK_TCK")

    def test_full_disk_under_the_access_log(self):
        o = self.origin("o")
        server = self.server("--access-log", "/dev/full")
        self.client(server, "-u", "tim", f"o={o.port}")
        for _ in range(50):
            self.assertEqual(fetch(server.http, "o.tim.localhost").status, 200)

    def test_many_clients_come_and_go(self):
        o = self.origin("o")
        server = self.server()
        self.client(server, "-u", "tim", f"o={o.port}")
        fetch(server.http, "o.tim.localhost")
        before = held_sockets(server.clients)
        for i in range(10):
            self.client(server, "-u", f"user{i}", f"o={o.port}").kill()
        wait_for(lambda: held_sockets(server.clients) <= before, lambda: f"sockets to go back to {before}: {held_sockets(server.clients)}")
        self.assertEqual(fetch(server.http, "o.tim.localhost").status, 200)


if __name__ == "__main__":
    main()
