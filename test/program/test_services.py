"""The client's services: forms of the file, options of a service, reload without touching others, broken files."""
import base64
import os
import socket
import threading
import time

from tunnel import CLIENT, Case, Process, dial, fetch, main, reply, request_text, tls_server, wait_for

CONFIG_ERROR = 3


class Reload(Case):
    def test_changes_are_taken_without_touching_other_streams(self):
        gate = threading.Event()
        self.addCleanup(gate.set)

        def handler(request, wire, origin):
            if request.target == "/slow":
                gate.wait(20)
            wire.send(reply(body="kept"))
        kept, added = self.origin("kept", handler), self.origin("added")
        services = self.write("s.json", {"kept": kept.port, "gone": added.port})
        server = self.server("--hold", "0")
        client = self.client(server, "-u", "tim", "-c", services, wait=False)
        self.await_status(server.http, "kept.tim.localhost")
        slow = dial(server.http)
        self.addCleanup(slow.close)
        slow.send(request_text("GET", "/slow", "kept.tim.localhost"))
        wait_for(lambda: any(r.target == "/slow" for r in kept.requests), "the request at the origin")
        self.write("s.json", {"kept": kept.port, "added": added.port})
        self.await_status(server.http, "added.tim.localhost")
        self.assertIn(fetch(server.http, "gone.tim.localhost").status, (404, 503))
        gate.set()
        self.assertEqual(slow.answer().text, "kept")
        self.assertTrue(client.running())

    def test_changed_target_of_a_service(self):
        a, b = self.origin("a"), self.origin("b")
        services = self.write("s.json", {"o": a.port})
        server = self.server()
        self.client(server, "-u", "tim", "-c", services, wait=False)
        self.await_status(server.http, "o.tim.localhost")
        self.write("s.json", {"o": b.port})
        wait_for(lambda: fetch(server.http, "o.tim.localhost").text.startswith("b "), "the other origin")

    def test_broken_file_keeps_the_old_map_and_says_where(self):
        a = self.origin("a")
        services = self.write("s.json", {"o": a.port})
        server = self.server()
        client = self.client(server, "-u", "tim", "-c", services, wait=False, verbose=False)
        self.await_status(server.http, "o.tim.localhost")
        self.write("s.json", '{\n "o": 1,\n "p": "no:port:x"\n}')
        client.expect(r"s\.json:3", "stderr")
        self.assertEqual(fetch(server.http, "o.tim.localhost").text, "a GET / 0")
        self.write("s.json", {"o": a.port, "again": a.port})
        self.await_status(server.http, "again.tim.localhost")

    def test_services_on_the_command_line_stay(self):
        a = self.origin("a")
        services = self.write("s.json", {"file": a.port})
        server = self.server()
        self.client(server, "-u", "tim", "-c", services, f"line={a.port}")
        self.await_status(server.http, "file.tim.localhost")
        self.write("s.json", {"file2": a.port})
        self.await_status(server.http, "file2.tim.localhost")
        self.assertEqual(fetch(server.http, "line.tim.localhost").status, 200)


class Many(Case):
    def test_a_list_longer_than_a_first_message_may_be(self):
        o = self.origin("o")
        services = {f"svc-{i}": {"port": o.port, "headers": {"X-Filler": "f" * 120}} for i in range(700)}
        path = self.write("s.json", services)
        self.assertGreater(os.path.getsize(path), 100_000)
        server = self.server()
        client = self.client(server, "-u", "tim", "-c", path, wait=False)
        self.await_status(server.http, "svc-0.tim.localhost")
        self.assertEqual(fetch(server.http, "svc-699.tim.localhost").status, 200)
        self.write("s.json", {**services, "added": o.port})
        self.await_status(server.http, "added.tim.localhost")
        self.assertEqual(client.errors().count("connected as"), 1)


class Forms(Case):
    def serve(self, services, *args, **options):
        path = self.write("s.json", services)
        server = self.server()
        self.client(server, "-u", "tim", "-c", path, *args, wait=False, **options)
        return server

    def test_flat_form_any_key_is_a_service(self):
        a = self.origin("a")
        server = self.serve({"server": a.port, "user": str(a.port), "hello": f"127.0.0.1:{a.port}", "Not a label!": a.port, "services": a.port})
        for name in ("server", "user", "hello", "services"):
            with self.subTest(name):
                self.await_status(server.http, f"{name}.tim.localhost")

    def test_long_form(self):
        a = self.origin("a")
        server = self.server()
        path = self.write("s.json", {"user": "eve", "server": f"127.0.0.1:{server.clients}", "services": {"o": a.port}})
        self.client(None, "-c", path, wait=False)
        self.await_status(server.http, "o.eve.localhost")

    def test_unix_socket(self):
        path = self.path("o.sock")
        self.origin("unix", path=path)
        server = self.serve({"o": f"unix:{path}", "home": "unix:~/o.sock"})
        self.assertEqual(self.await_status(server.http, "o.tim.localhost").text, "unix GET / 0")
        self.assertEqual(self.await_status(server.http, "home.tim.localhost").text, "unix GET / 0")

    def test_port_means_ipv4_then_ipv6_loopback(self):
        six = self.origin("six", family=socket.AF_INET6)
        server = self.serve({"o": six.port})
        self.assertEqual(self.await_status(server.http, "o.tim.localhost").text, "six GET / 0")

    def test_plain_port_is_named_after_the_directory(self):
        a = self.origin("a")
        server = self.server()
        directory = self.path("my-app")
        os.mkdir(directory)
        self.client(server, "-u", "tim", a.port, cwd=directory)
        self.assertEqual(fetch(server.http, "my-app.tim.localhost").status, 200)

    def test_tls_to_the_service(self):
        crt, key = self.certificate("o", "localhost", "127.0.0.1")
        o = self.origin("secret", tls=tls_server(crt, key))
        server = self.serve({"o": {"port": o.port, "tls": True}})
        self.assertEqual(self.await_status(server.http, "o.tim.localhost").text, "secret GET / 0")

    def test_errors_at_start_name_the_place(self):
        for text, line in (('{\n"a": 70000\n}', 2), ('{\n"a": 1,\n"A": 2\n}', 3), ('{\n"a": {"port": 1, "prot": 2}\n}', 2), ('[1]', 1), ('{"a": 1', 1), ('{\n"a": {"port": 1, "allow": ["x/y"]}\n}', 2)):
            with self.subTest(text):
                path = self.write("bad.json", text)
                status, _, err = self.program([CLIENT, "-u", "tim", "-c", path])
                self.assertEqual(status, CONFIG_ERROR, err)
                self.assertIn(f"bad.json:{line}", err)

    def test_missing_file_named_is_an_error_missing_default_is_none(self):
        status, _, err = self.program([CLIENT, "-u", "tim", "-c", self.path("none.json")])
        self.assertEqual(status, CONFIG_ERROR, err)
        self.assertIn("none.json", err)
        status, _, err = self.program([CLIENT, "-u", "tim"])
        self.assertNotEqual(status, 0)
        self.assertIn(".tunnel-services.json", err)

    def test_only_declared_targets_are_dialled(self):
        """Nothing that a visitor or the server says names a target: an undeclared name is unknown, whatever listens locally."""
        secret = self.origin("secret")
        server = self.server("--hold", "0")
        self.client(server, "-u", "tim", f"o={self.origin('o').port}")
        for host in (f"{secret.port}.tim.localhost", "localhost", f"127.0.0.1:{secret.port}", "secret.tim.localhost"):
            fetch(server.http, host)
        self.assertEqual(secret.connections, 0)


class Options(Case):
    def serve(self, options, handler=None, **more):
        self.o = self.origin("o", handler)
        path = self.write("s.json", {"o": {"port": self.o.port, **options}})
        server = self.server("--hold", "0")
        self.client(server, "-u", "tim", "-c", path, wait=False)
        wait_for(lambda: fetch(server.http, "o.tim.localhost").status not in (404, 503), "the service")
        self.o.requests.clear()
        return server

    def test_rewrite_host(self):
        server = self.serve({"rewrite_host": True})
        fetch(server.http, "o.tim.localhost")
        self.assertIn(self.o.requests[-1].get("host"), (f"127.0.0.1:{self.o.port}", f"localhost:{self.o.port}"))
        self.assertEqual(self.o.requests[-1].get("x-forwarded-host"), "o.tim.localhost")

    def test_rewrite_host_to_a_name(self):
        server = self.serve({"rewrite_host": "app.internal"})
        fetch(server.http, "o.tim.localhost")
        self.assertEqual(self.o.requests[-1].get("host"), "app.internal")

    def test_fields_set_and_removed(self):
        server = self.serve({"headers": {"X-Added": "1", "Cookie": None}, "response_headers": {"X-Frame-Options": "DENY", "Server": None}},
                            lambda request, wire, origin: wire.send(reply(body="x", fields=[("Server", "secret/1.0"), ("X-Frame-Options", "ALLOW")])))
        answer = fetch(server.http, "o.tim.localhost", fields=[("Cookie", "a=1"), ("X-Added", "visitor")])
        self.assertEqual(self.o.requests[-1].all("x-added"), ["1"])
        self.assertEqual(self.o.requests[-1].all("cookie"), [])
        self.assertEqual(answer.all("x-frame-options"), ["DENY"])
        self.assertEqual(answer.all("server"), [])
        fetch(server.http, "o.tim.localhost", "/", "POST", [("X_Added", "visitor"), ("x-ADDED", "visitor"), ("Transfer-Encoding", "chunked")], b"0\r\nX-Added: visitor\r\nx_added: visitor\r\nX-T: 1\r\n\r\n")
        self.assertNotIn("visitor", repr(self.o.requests[-1].fields + self.o.requests[-1].trailers))
        self.assertEqual(self.o.requests[-1].trailers, [("X-T", "1")])

    def test_forwarding_fields_are_the_owners_to_set_and_remove(self):
        server = self.serve({"headers": {"X-Forwarded-Proto": "https", "Forwarded": None}})
        fetch(server.http, "o.tim.localhost")
        seen = self.o.requests[-1]
        self.assertEqual(seen.all("x-forwarded-proto"), ["https"])
        self.assertEqual(seen.all("forwarded"), [])
        self.assertEqual(seen.all("x-forwarded-for"), ["127.0.0.1"])

    def test_basic_auth(self):
        status, line, err = self.hash("open sesame")
        self.assertEqual(status, 0, err)
        entry = line.strip() if ":" in line.split("$")[0] else "ali:" + line.strip()
        server = self.serve({"basic_auth": [entry]})
        answer = fetch(server.http, "o.tim.localhost")
        self.assertEqual(answer.status, 401)
        self.assertIn("Basic", answer.get("www-authenticate"))
        user = entry.split(":")[0]

        def ask(password):
            return fetch(server.http, "o.tim.localhost", fields=[("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())]).status
        self.assertEqual([ask("open sesame"), ask("wrong"), ask("open sesame")], [200, 401, 200])

    def hash(self, password):
        read, write = os.pipe()
        os.write(write, password.encode() + b"\n" + password.encode() + b"\n")
        os.close(write)
        process = self.start(Process(self.directory, [CLIENT, "hash"], stdin=read))
        os.close(read)
        return process.wait(), process.output(), process.errors()

    def test_allow(self):
        server = self.serve({"allow": ["127.0.0.1/32"]})
        self.assertEqual(fetch(server.http, "o.tim.localhost").status, 200)
        self.assertEqual(fetch(server.http, "o.tim.localhost", address="::1").status, 403)

    def test_timeout(self):
        gate = threading.Event()
        self.addCleanup(gate.set)

        def handler(request, wire, origin):
            if request.target == "/slow":
                gate.wait(20)
            wire.send(reply(body="x"))
        server = self.serve({"timeout": 1}, handler)
        start = time.monotonic()
        self.assertEqual(fetch(server.http, "o.tim.localhost", "/slow").status, 504)
        self.assertLess(time.monotonic() - start, 5)

    def test_upgrades_listed_by_the_service(self):
        def raw(wire, origin):
            while (request := wire.request()) is not None:
                origin.requests.append(request)
                if request.get("upgrade"):
                    wire.send(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {request.get('upgrade')}\r\n\r\n")
                    wire.send(wire.exactly(4))
                    return
                wire.send(reply(body="plain"))
        self.o = self.origin("o", raw=raw)
        path = self.write("s.json", {"o": {"port": self.o.port, "upgrades": ["myproto"]}})
        server = self.server("--hold", "0")
        self.client(server, "-u", "tim", "-c", path, wait=False)
        self.await_status(server.http, "o.tim.localhost")
        with dial(server.http) as wire:
            wire.send(request_text("GET", "/", "o.tim.localhost", [("Connection", "Upgrade"), ("Upgrade", "myproto")]))
            self.assertEqual(wire.head().status, 101)
            self.assertEqual(wire.send("ping").exactly(4), b"ping")
        with dial(server.http) as wire:
            self.assertEqual(wire.send(request_text("GET", "/", "o.tim.localhost", [("Connection", "Upgrade"), ("Upgrade", "h2c")])).answer().text, "plain")


if __name__ == "__main__":
    main()
