"""Running the programs: flags, configuration errors, what is printed where, exit codes, signals, access log, metrics."""
import json
import os
import re
import socket

from tunnel import CLIENT, SERVER, Case, dial, fetch, free_port, main, request_text, wait_for


class Flags(Case):
    def test_help_and_version(self):
        for program, name in ((SERVER, "mdm-tunnel-server"), (CLIENT, "mdm-tunnel-client")):
            for flag in ("--help", "-h"):
                with self.subTest(f"{name} {flag}"):
                    status, out, err = self.program([program, flag])
                    self.assertEqual((status, err), (0, ""))
                    self.assertIn("usage: " + name, out)
            for flag in ("-V", "--version"):
                status, out, err = self.program([program, flag])
                self.assertEqual((status, err), (0, ""))
                self.assertRegex(out, r"\d+\.\d+\.\d+")

    def test_wrong_command_lines_are_exit_2_and_one_sentence(self):
        for argv in ([SERVER, "--nonsense"], [SERVER, "-p"], [SERVER, "-p", "http"], [SERVER, "-p", "70000"], [SERVER, "extra"], [SERVER, "--bind", "nowhere.example"], [CLIENT, "--nonsense"],
                     [CLIENT, "-u", "tim", "-p", "0", "a=1"], [CLIENT], [CLIENT, "a=3000"]):
            with self.subTest(argv[1:]):
                status, out, err = self.program(argv)
                self.assertEqual((status, out), (2, ""), err)
                self.assertTrue(1 <= len(err.splitlines()) <= 3, err)

    def test_long_and_old_spellings(self):
        origin = self.origin("o")
        services = self.write("s.json", {"o": origin.port})
        server = self.server()
        for args in (["--user", "tim", "--server", "localhost", "--config", services], ["--id", "tim", "-h", "localhost", "--service-definitions", services], ["-i", "tim", "-s", services]):
            with self.subTest(args):
                client = self.client(server, *args, wait=False)
                self.await_status(server.http, "o.tim.localhost")
                client.stop()

    def test_environment_gives_client_options(self):
        origin = self.origin("o")
        server = self.server()
        self.client(None, f"o={origin.port}", env={"MDM_TUNNEL_USER": "eve", "MDM_TUNNEL_PORT": str(server.clients)})
        self.assertEqual(fetch(server.http, "o.eve.localhost").status, 200)


class Configuration(Case):
    def test_every_flag_has_its_key(self):
        config = self.write("server.json", {"port": 0, "client-port": 0, "domain": ["tunnel.test"], "state-dir": self.path("state"), "verbose": 1, "hold": 1, "drain": 1,
                                            "limits": {"head-bytes": 4096}, "timeouts": {"head": 5, "idle": 10}})
        origin = self.origin("o")
        server = self.server("--config", config, ports=False, verbose=False)
        self.client(server, "-u", "tim", f"o={origin.port}")
        self.assertEqual(fetch(server.http, "o.tim.tunnel.test").status, 200)
        self.assertEqual(fetch(server.http, "o.tim.tunnel.test", fields=[("X-Big", "x" * 5000)]).status, 431)
        self.assertIn("tunnel.test", fetch(server.http, "o.tim.elsewhere.example.com").text)

    def test_errors_name_file_line_and_key(self):
        for text, key, line in (('{\n "port": "x"\n}', "port", 2), ('{\n "hold": 5,\n "prot": 1\n}', "prot", 3), ('{\n "limits": {\n  "head-byte": 1\n }\n}', "head-byte", 3),
                                ('{\n "port": 8000,\n}', "", 3), ('{\n "trusted-proxy": ["1.2.3.4/99"]\n}', "trusted-proxy", 2)):
            with self.subTest(text):
                config = self.write("bad.json", text)
                status, out, err = self.program([SERVER, "--config", config])
                self.assertEqual((status, out), (3, ""), err)
                self.assertIn(f"bad.json:{line}", err)
                self.assertIn(key, err)

    def test_state_directory_that_cannot_be_is_said(self):
        self.write("file", "")
        status, _, err = self.program([SERVER, "--port", "0", "--client-port", "0", "--state-dir", self.path("file/state")])
        self.assertEqual(status, 3, err)
        self.assertIn("file/state", err)
        self.assertIn("state-dir", err)

    def test_open_mode_does_not_bind_elsewhere(self):
        status, _, err = self.program([SERVER, "--port", "0", "--client-port", "0", "--bind", "0.0.0.0", "--state-dir", self.path("state")])
        self.assertNotEqual(status, 0)
        self.assertRegex(err, r"--users|--open")
        server = self.server("--bind", "0.0.0.0", "--open", verbose=False, wait=False)
        server.expect(r"(?i)anybody|open", "stderr")
        self.assertTrue(server.running())

    def test_any_address_is_dual_stack(self):
        origin = self.origin("o")
        server = self.server("--bind", "*", "--open")
        self.client(server, "-u", "tim", f"o={origin.port}")
        for address in ("127.0.0.1", "::1"):
            self.assertEqual(fetch(server.http, "o.tim.localhost", address=address).status, 200)
            self.assertEqual(origin.requests[-1].get("x-forwarded-for"), address)

    def test_port_in_use_is_said(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            status, _, err = self.program([SERVER, "-p", str(taken.getsockname()[1]), "-c", "0", "--state-dir", self.path("state")])
        self.assertEqual(status, 4, err)
        self.assertIn("in use", err)


class Output(Case):
    def test_quiet_by_default(self):
        origin = self.origin("o")
        clients = free_port()
        server = self.server("-p", "0", "-c", clients, ports=False, verbose=False, wait=False)
        server.expect("listening on loopback only: no users", "stderr")
        wait_for(lambda: listens(clients), "its ports")
        self.assertEqual(server.output(), "")
        self.assertEqual(len(server.errors().splitlines()), 1)
        clients = free_port()
        silent = self.server("-q", "-p", "0", "-c", clients, ports=False, verbose=False, wait=False)
        wait_for(lambda: listens(clients), "its ports")
        self.assertEqual((silent.output(), silent.errors()), ("", ""))
        loud = self.server()
        client = self.client(loud, "-u", "tim", f"o={origin.port}", "--known-servers", self.path("known"), verbose=False)
        self.assertRegex(client.output(), rf"^http://o\.tim\.localhost:{loud.http}/?\n$")
        self.assertEqual(len(client.errors().splitlines()), 1, client.errors())  # the fingerprint
        hushed = self.client(loud, "-q", "-u", "sue", f"o={origin.port}", verbose=False, wait=False)
        self.await_status(loud.http, "o.sue.localhost")
        self.assertEqual((hushed.output(), hushed.errors()), ("", ""))

    def test_json_log(self):
        origin = self.origin("o")
        server = self.server("--log-format", "json", wait=False)
        wait_for(lambda: "clients" in server.errors(), "its ports")
        lines = [json.loads(line) for line in server.errors().splitlines()]
        self.assertTrue(all({"time", "level", "message"} <= set(line) for line in lines), lines)
        port = next(int(m.group(1)) for line in lines if (m := re.search(r"listening: clients \S+:(\d+)$", line["message"])))
        client = self.client(None, "-u", "tim", "-p", port, "--log-format", "json", f"o={origin.port}")
        for line in client.errors().splitlines():
            json.loads(line)

    def test_what_a_visitor_sends_is_escaped_in_logs(self):
        origin = self.origin("o")
        log = self.path("access.log")
        server = self.server("-v", "--access-log", log)
        self.client(server, "-u", "tim", f"o={origin.port}")
        fetch(server.http, "o.tim.localhost", "/\xe9%0d", fields=[("User-Agent", 'a"b\x1b[31m'), ("Referer", "\\x\xff")])
        wait_for(lambda: os.path.exists(log) and os.path.getsize(log), "the log")
        with open(log, "rb") as f:
            self.assertNotRegex(f.read(), rb"[^\x20-\x7e\n]")
        self.assertNotRegex(server.errors(), r"[^\x20-\x7e\n]")


class AccessLog(Case):
    def run_one(self, *args):
        origin = self.origin("o")
        server = self.server(*args)
        self.client(server, "-u", "tim", f"o={origin.port}")
        return server

    def lines(self, path, count=1):
        def read():
            if not os.path.exists(path):
                return None
            with open(path) as f:
                found = f.read().splitlines()
            return found if len(found) >= count else None
        return wait_for(read, f"{count} lines in the log")

    def test_combined(self):
        log = self.path("a.log")
        server = self.run_one("--access-log", log)
        fetch(server.http, "o.tim.localhost", "/x?y", fields=[("User-Agent", "tester/1"), ("Referer", "http://r/")])
        self.assertRegex(self.lines(log)[0], r'^(o\.tim\.localhost(:\d+)? )?127\.0\.0\.1 - \S+ \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /x\?y HTTP/1\.1" 200 \d+ "http://r/" "tester/1"')

    def test_json(self):
        log = self.path("a.log")
        server = self.run_one("--access-log", log, "--access-log-format", "json")
        fetch(server.http, "o.tim.localhost", "/x?y")
        fetch(server.http, "x.nobody-at-all.localhost", "/gone")
        one, two = (json.loads(line) for line in self.lines(log, 2))
        self.assertEqual((one["status"], one["method"], one["host"].split(":")[0]), (200, "GET", "o.tim.localhost"))
        self.assertEqual(two["status"], 404)

    def test_standard_output(self):
        server = self.run_one("--access-log", "-")
        fetch(server.http, "o.tim.localhost", "/to-stdout")
        server.expect(r"GET /to-stdout", "stdout")

    def test_reopened_on_hangup(self):
        log = self.path("a.log")
        server = self.run_one("--access-log", log)
        fetch(server.http, "o.tim.localhost", "/first")
        self.lines(log)
        os.rename(log, log + ".1")
        server.signal(1)
        wait_for(lambda: os.path.exists(log), "the new file")
        fetch(server.http, "o.tim.localhost", "/second")
        self.assertIn("/second", self.lines(log)[0])
        self.assertEqual(len(self.lines(log + ".1")), 1)


class Hangup(Case):
    def test_configuration_is_read_again(self):
        origin = self.origin("o")
        settings = {"domain": ["one.test"], "state-dir": self.path("state")}
        config = self.write("server.json", settings)
        server = self.server("--config", config)
        self.client(server, "-u", "tim", f"o={origin.port}")
        kept = dial(server.http)
        self.addCleanup(kept.close)
        self.assertEqual(kept.send(request_text("GET", "/", "o.tim.one.test")).answer().status, 200)
        settings["domain"] = ["two.test"]
        self.write("server.json", settings)
        server.signal(1)
        self.await_status(server.http, "o.tim.two.test")
        self.assertEqual(kept.send(request_text("GET", "/", "o.tim.two.test")).answer().status, 200)
        self.write("server.json", '{"port": }')
        server.signal(1)
        server.expect(r"server\.json:1", "stderr")
        self.assertEqual(fetch(server.http, "o.tim.two.test").status, 200)


class Admin(Case):
    def test_metrics_and_health(self):
        origin = self.origin("o")
        server = self.server("--admin", "127.0.0.1:0")
        host = f"127.0.0.1:{server.admin}"
        self.assertEqual(fetch(server.admin, host, "/healthz").status, 200)
        self.client(server, "-u", "tim", f"o={origin.port}")
        for target in ("/", "/a"):
            fetch(server.http, "o.tim.localhost", target)
        fetch(server.http, "x.nobody-at-all.localhost")

        def values():
            answer = fetch(server.admin, host, "/metrics")
            self.assertEqual(answer.status, 200)
            self.assertIn("text/plain", answer.get("content-type"))
            found = {}
            for line in answer.text.splitlines():
                if line and not line.startswith("#"):
                    self.assertRegex(line, r"^[a-zA-Z_:][\w:]*(\{.*\})? [-+0-9.eE]+(Inf|NaN)?$")
                    name, value = line.rsplit(" ", 1)
                    found[name] = float(value)
            return found
        found = wait_for(lambda: (v := values()) and any("404" in k and v[k] >= 1 for k in v) and v, "the counts")
        self.assertTrue(any("sessions" in k and v == 1 for k, v in found.items()), found)
        self.assertTrue(any("200" in k and v >= 2 for k, v in found.items()), found)
        self.assertTrue(any("_bucket" in k and "+Inf" in k for k in found), found)
        self.assertTrue(any("tim" in k for k in found), found)

    def test_its_listener_is_apart(self):
        server = self.server("--admin", "127.0.0.1:0")
        self.assertEqual(fetch(server.http, "localhost", "/metrics").status, 404)
        self.assertIn(fetch(server.admin, "evil.example", "/metrics").status, (403, 404, 421))
        self.assertEqual(fetch(server.admin, f"localhost:{server.admin}", "/nothing").status, 404)
        status, _, err = self.program([SERVER, "--admin", "0.0.0.0:9090"])
        self.assertNotEqual(status, 0)
        self.assertIn("loopback", err)


def listens(port):
    try:
        dial(port).close()
    except ConnectionRefusedError:
        return False
    return True


if __name__ == "__main__":
    main()
