"""The examples as their comments say, the start in one command, and README's own commands."""
import asyncio
import json
import os
import re

import websockets

from tunnel import BUILD, CLIENT, SERVER, SOURCE, Case, Process, dial, fetch, free_port, main, request_text


def example(name):
    return os.path.join(BUILD, "examples", name, "example-" + name)


class Examples(Case):
    def run_example(self, name, *args):
        process = self.start(Process(self.directory, [example(name), *args]))
        return process, int(process.expect(r"listening on http://127\.0\.0\.1:(\d+)")[0].group(1))

    def test_simple(self):
        _, port = self.run_example("simple", "0")
        server = self.server()
        self.client(server, "-u", "tim", f"hello-world={port}")
        answer = fetch(server.http, "hello-world.tim.localhost", "/<b>?x=1&y=2")
        self.assertEqual(answer.status, 200)
        self.assertIn("Hello, world", answer.text)
        self.assertIn("X-Forwarded-For: 127.0.0.1", answer.text)
        self.assertIn("/&lt;b>?x=1&amp;y=2", answer.text)
        with dial(server.http) as wire:
            for method, status in (("HEAD", 200), ("POST", 405), ("GET", 200)):
                self.assertEqual(wire.send(request_text(method, "/", "hello-world.tim.localhost")).answer(method).status, status)

    def test_simple_bounds_what_it_holds(self):
        process, port = self.run_example("simple", "0")
        with dial(port) as wire:
            for _ in range(300):
                wire.send(request_text("GET", "/" + "x" * 2000, "h"))
            self.assertEqual([wire.answer().status for _ in range(300)], [200] * 300)
        with dial(port) as wire:
            wire.send("nonsense\r\n\r\n")
            self.assertTrue(wire.ended())
        self.assertTrue(process.running())

    def test_websockets(self):
        _, port = self.run_example("websockets", "0")
        server = self.server()
        self.client(server, "-u", "tim", f"websockets={port}")
        self.assertIn("new WebSocket", fetch(server.http, "websockets.tim.localhost").text)

        async def talk():
            async with websockets.connect(f"ws://websockets.tim.localhost:{server.http}/", host="127.0.0.1", port=server.http) as socket:
                for said in ("hello", b"\0\1", "x" * 500000):
                    await socket.send(said)
                    self.assertEqual(await asyncio.wait_for(socket.recv(), 20), said)
        asyncio.run(talk())

    def test_auth_routes_by_a_header_on_a_socket_of_its_own(self):
        o = self.origin("o")
        process = self.start(Process(self.directory, [example("auth"), "0", "-c", "0", "--state-dir", self.path("state")]))
        port, clients = map(int, process.expect(r"listening on http://127\.0\.0\.1:(\d+), clients on (\d+)")[0].groups())
        client = self.start(Process(self.directory, [CLIENT, "-p", clients, "-u", "tim", f"hello={o.port}"]))
        client.expect(r"http://hello\.tim\.localhost")
        self.assertEqual(fetch(port, "any.host", fields=[("X-Api-Key", "open-sesame")]).text, "o GET / 0")
        refused = fetch(port, "hello.tim.localhost")
        self.assertEqual((refused.status, refused.get("www-authenticate")), (401, "X-Api-Key"))
        self.assertEqual(fetch(port, "hello.tim.localhost", fields=[("X-Api-Key", "wrong")]).status, 403)
        process.signal(15)
        self.assertEqual(process.wait(), 0)

    def plugin(self):
        path = os.path.realpath(os.path.join(BUILD, "examples", "auth-plugin", "example-auth-plugin.so"))
        part = path
        while True:
            info = os.lstat(part)
            if info.st_mode & 0o022 or info.st_uid not in (0, os.geteuid()):
                self.skipTest(f"{part} can be written by others, so no server loads a plugin from there")
            if part == "/":
                return path
            part = os.path.dirname(part)

    def test_auth_plugin(self):
        o = self.origin("o")
        config = self.write("auth.json", '{"visitor": "anna:secret"}')
        server = self.server("--auth-plugin", self.plugin(), "--auth-config", config, "--auth-field", "X-Visitor")
        self.client(server, "-u", "tim", f"o={o.port}")
        refused = fetch(server.http, "o.tim.localhost")
        self.assertEqual((refused.status, refused.get("www-authenticate")), (401, 'Basic realm="tunnel"'))
        self.assertEqual(fetch(server.http, "o.tim.localhost", fields=[("Authorization", "Basic YW5uYTpzZWNyZXU=")]).status, 401)
        before = len(o.requests)
        self.assertEqual(fetch(server.http, "o.tim.localhost", fields=[("Authorization", "Basic YW5uYTpzZWNyZXQ="), ("X-Visitor", "root")]).status, 200)
        self.assertEqual(o.requests[before].all("x-visitor"), ["anna"])

    def test_auth_plugin_that_cannot_start_or_be_trusted(self):
        plugin = self.plugin()
        empty = self.write("auth.json", "{}")
        link = self.path("link.so")
        os.symlink(plugin, link)
        for flags, word in ((["--auth-plugin", plugin, "--auth-config", empty], "gate"), (["--auth-plugin", link], "plain path"),
                            (["--auth-plugin", self.write("own.so", "x")], "/tmp"), (["--auth-plugin", "/nowhere.so"], "No such file")):
            with self.subTest(word):
                code, _, err = self.program([SERVER, "-p", "0", "-c", "0", "--state-dir", self.path("state"), *flags])
                self.assertNotEqual(code, 0)
                self.assertIn(word, err)

    def test_usage(self):
        for name in ("simple", "websockets"):
            for arguments in (["x"], ["70000"], ["1", "2"]):
                self.assertEqual(self.program([example(name), *arguments])[0], 2)


class Readme(Case):
    """The commands that README marks, run as they stand, in a fresh directory with the services file of the example."""

    MARK = re.compile(r"<!-- test: (\w+) -->\n```\w*\n(.*?)```", re.S)

    def test_marked_commands(self):
        with open(os.path.join(SOURCE, "README.md")) as f:
            blocks = dict(self.MARK.findall(f.read()))
        self.assertLessEqual({"services", "server", "client", "visit"}, set(blocks))
        with open(os.path.join(SOURCE, ".tunnel-services.json.example")) as f:
            text = f.read()
        self.assertTrue(text)
        # On ports of our own: README says the default ones.
        public, clients, one, two = (free_port() for _ in range(4))
        self.write(".tunnel-services.json", json.dumps(json.loads(blocks["services"])).replace("9000", str(one)).replace("9001", str(two)))
        for name, port in (("simple", one), ("websockets", two)):
            self.start(Process(self.directory, [example(name), port])).expect("listening")

        def command(block, program, binary, *more):
            line = blocks[block].strip()
            self.assertEqual(line.split()[0], program)
            return self.start(Process(self.directory, [binary, *line.split()[1:], *more]))
        command("server", "mdm-tunnel-server", SERVER, "-p", public, "-c", clients, "-v").expect("listening: clients")
        command("client", "mdm-tunnel-client", CLIENT, "-p", clients)
        for line in blocks["visit"].strip().splitlines():
            match = re.fullmatch(r"curl (?:-\w+ )*http://([\w.-]+):8000(/\S*)?", line.strip())
            self.assertTrue(match, line)
            self.assertEqual(self.await_status(public, match.group(1), target=match.group(2) or "/").status, 200)

    def test_every_flag_is_named_in_readme_and_man_page(self):
        with open(os.path.join(SOURCE, "README.md")) as f:
            readme = f.read()
        for program, page in ((SERVER, "server/mdm-tunnel-server.1"), (CLIENT, "client/mdm-tunnel-client.1")):
            _, help_text, _ = self.program([program, "--help"])
            with open(os.path.join(SOURCE, page)) as f:
                manual = f.read().replace("\\-", "-")
            flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", help_text))
            self.assertGreater(len(flags), 15)
            for flag in sorted(flags):
                with self.subTest(f"{page} {flag}"):
                    self.assertRegex(readme, re.escape(flag) + r"(?![\w-])")
                    self.assertRegex(manual.replace("Fl \\-", "Fl -").replace("Fl -", "--").replace("---", "--"), re.escape(flag) + r"(?![\w-])")

    def test_example_of_the_services_file_is_valid(self):
        """Strict JSON, and the client takes it."""
        with open(os.path.join(SOURCE, ".tunnel-services.json.example")) as f:
            text = f.read()
        json.loads(text)
        path = self.write("services.json", text)
        server = self.server()
        self.client(server, "-u", "tim", "-c", path, wait=False).expect(r"(?i)hello-world", "stderr")


if __name__ == "__main__":
    main()
