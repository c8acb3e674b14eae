"""Users and their tokens: add, list, rotate, remove; what the file holds; revocation of live sessions; login and credentials; domains."""
import json
import os
import re
import stat
import time

from tunnel import CLIENT, SERVER, Case, Process, fetch, main, wait_for

TOKEN = re.compile(r"mdm1\.\S+")
LOGIN_REFUSED, KEY_REFUSED, NAME_REFUSED = 4, 5, 6


class Users(Case):
    def setUp(self):
        super().setUp()
        self.o = self.origin("o")
        self.users = self.path("users.json")

    def user(self, *words, status=0):
        code, out, err = self.program([SERVER, "user", *words, "--users", self.users, "--state-dir", self.path("state")])
        self.assertEqual(code, status, out + err)
        return out if status == 0 else err

    def add(self, name, *more):
        return TOKEN.search(self.user("add", name, *more)).group(0)

    def users_server(self, *args):
        return self.server("--users", self.users, *args)

    def with_token(self, server, token, *args, **options):
        return self.client(server, *args, env={"MDM_TUNNEL_TOKEN": token}, **options)

    def test_token_logs_its_user_in(self):
        token = self.add("tim")
        server = self.users_server("-v")
        client = self.with_token(server, token, "-v", f"o={self.o.port}")
        self.assertEqual(fetch(server.http, "o.tim.localhost").status, 200)
        self.assertNotIn("loopback only: no users", server.errors())
        self.assertNotIn(token, server.errors() + client.errors() + client.output())
        self.assertNotIn(token.split(".")[1], server.errors() + client.errors() + client.output())

    def test_file_holds_no_token_and_is_private(self):
        token = self.add("tim")
        with open(self.users) as f:
            text = f.read()
        self.assertNotIn(token.split(".")[1], text)
        self.assertIn("tim", text)
        self.assertEqual(stat.S_IMODE(os.stat(self.users).st_mode) & 0o077, 0)
        listed = self.user("list")
        self.assertIn("tim", listed)
        self.assertNotIn(token.split(".")[1], listed)

    def test_add_refuses_names_that_cannot_be(self):
        for name in ("", "-a", "a.b", "a--b", "a b", "x" * 62, "Ä"):
            with self.subTest(name):
                code, _, err = self.program([SERVER, "user", "add", name, "--users", self.users, "--state-dir", self.path("state")])
                self.assertNotEqual(code, 0)
                self.assertTrue(err)
        self.add("tim")
        self.user("add", "tim", status=1)
        self.user("remove", "nobody", status=1)

    def refused(self, server, token, *args, code=LOGIN_REFUSED):
        client = self.with_token(server, token, *args, f"o={self.o.port}", wait=False, verbose=False)
        self.assertEqual(client.wait(), code, client.describe())
        self.assertEqual(len(client.errors().splitlines()), 1, client.errors())
        return client.errors()

    def test_wrong_or_missing_credentials_are_refused_in_words(self):
        token = self.add("tim")
        other = self.add("sue")
        server = self.users_server()
        self.refused(server, token[:10] + ("A" if token[10] != "A" else "B") + token[11:])
        none = self.client(server, "-u", "tim", f"o={self.o.port}", wait=False, verbose=False)
        self.assertNotEqual(none.wait(), 0)
        self.assertTrue(none.errors())
        self.assertIn("sue", self.refused(server, other, "-u", "tim"))
        self.assertIn(fetch(server.http, "o.tim.localhost").status, (404, 503))

    def test_removed_user_is_out_within_a_second(self):
        token = self.add("tim")
        self.add("sue")
        server = self.users_server("--hold", "0")
        client = self.with_token(server, token, f"o={self.o.port}")
        self.assertEqual(fetch(server.http, "o.tim.localhost").status, 200)
        self.user("remove", "tim")
        start = time.monotonic()
        wait_for(lambda: fetch(server.http, "o.tim.localhost").status != 200, "the end of the session")
        self.assertLess(time.monotonic() - start, 1.5)
        self.assertEqual(client.wait(), LOGIN_REFUSED)

    def test_rotated_token_replaces_the_old(self):
        old = self.add("tim")
        server = self.users_server("--hold", "0")
        client = self.with_token(server, old, f"o={self.o.port}")
        new = TOKEN.search(self.user("rotate", "tim")).group(0)
        self.assertNotEqual(old, new)
        self.assertEqual(client.wait(5), LOGIN_REFUSED)
        self.refused(server, old)
        self.with_token(server, new, f"o={self.o.port}")
        self.assertEqual(fetch(server.http, "o.tim.localhost").status, 200)

    def test_user_added_while_running(self):
        self.add("tim")
        server = self.users_server()
        token = self.add("late")
        client = self.with_token(server, token, "--max-attempts", "1", f"o={self.o.port}", wait=False)

        def up():
            return fetch(server.http, "o.late.localhost").status == 200
        wait_for(lambda: up() or not client.running(), "the new user")
        if not client.running():  # the file had not been read again yet
            self.with_token(server, token, f"o={self.o.port}")
        self.assertTrue(up())

    def test_broken_user_file_keeps_the_old_users(self):
        token = self.add("tim")
        server = self.users_server()
        with open(self.users) as f:
            good = f.read()
        self.write("users.json", good[:-5])
        server.expect(r"users\.json", "stderr")
        self.with_token(server, token, f"o={self.o.port}")
        self.assertEqual(fetch(server.http, "o.tim.localhost").status, 200)

    def test_token_in_argv_draws_a_warning(self):
        token = self.add("tim")
        server = self.users_server()
        client = self.client(server, "--token", token, f"o={self.o.port}", verbose=False)
        self.assertRegex(client.errors(), r"(?i)token")
        with open(f"/proc/{client.pid}/cmdline", "rb") as f:
            self.assertNotIn(token.encode(), f.read())

    def test_token_pins_the_servers_key(self):
        token = self.add("tim")
        self.users_server().stop()
        os.rename(self.path("state"), self.path("state.old"))
        stranger = self.server("--users", self.users)
        self.assertRegex(self.refused(stranger, token, code=KEY_REFUSED), r"(?i)key|fingerprint")

    def test_login_writes_private_credentials_that_are_used(self):
        token = self.add("tim")
        server = self.users_server()
        read, write = os.pipe()
        os.write(write, token.encode() + b"\n")
        os.close(write)
        login = self.start(self.process([CLIENT, "-p", str(server.clients), "login"], stdin=read))
        os.close(read)
        self.assertEqual(login.wait(), 0, login.describe())
        self.assertNotIn(token, login.output() + login.errors())
        path = self.path(".config/mdm-tunnel/credentials.json")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.client(server, f"o={self.o.port}")
        self.assertEqual(fetch(server.http, "o.tim.localhost").status, 200)
        os.chmod(path, 0o644)
        refused = self.client(server, f"o={self.o.port}", wait=False, verbose=False)
        self.assertNotEqual(refused.wait(), 0)
        self.assertIn("credentials.json", refused.errors())

    def process(self, argv, **options):
        return Process(self.directory, argv, **options)

    def test_reserved_names_cannot_be_taken(self):
        self.assertIn("reserved", self.user("add", "admin", status=1))
        token = self.add("admin", "--reserved")
        server = self.users_server("--domain", "tunnel.test")
        self.with_token(server, token, f"o={self.o.port}")
        self.assertEqual(fetch(server.http, "o.admin.tunnel.test").status, 200)

    def test_reserved_names_cannot_be_taken_in_open_mode(self):
        server = self.server("--domain", "tunnel.test")
        client = self.client(server, "-u", "admin", f"o={self.o.port}", wait=False, verbose=False)
        self.assertIn(client.wait(), (LOGIN_REFUSED, NAME_REFUSED), client.describe())

    def test_granted_domain_is_served_and_others_are_refused(self):
        token = self.add("tim", "--domain", "app.example.org")
        server = self.users_server("--domain", "tunnel.test")
        services = self.write(".tunnel-services.json", {"app": {"port": self.o.port, "domains": ["app.example.org"]}, "thief": {"port": self.o.port, "domains": ["bank.example.org"]}})
        client = self.with_token(server, token, "-c", services, wait=False)
        self.await_status(server.http, "app.example.org")
        self.assertEqual(fetch(server.http, "app.tim.tunnel.test").status, 200)
        self.assertEqual(fetch(server.http, "bank.example.org").status, 404)
        client.expect(r"bank\.example\.org")

    def test_service_whose_domain_is_taken_over_keeps_its_own_name(self):
        token = self.add("tim", "--domain", "app.example.org")
        server = self.users_server("--domain", "tunnel.test")
        other = self.origin("other")
        first = self.with_token(server, token, "-c", self.write("a.json", {"first": {"port": self.o.port, "domains": ["app.example.org"]}}), wait=False, verbose=False)
        self.await_status(server.http, "app.example.org")
        self.with_token(server, token, "--replace", "-c", self.write("b.json", {"second": {"port": other.port, "domains": ["app.example.org"]}}), wait=False)
        first.expect(r"app\.example\.org was taken over", "stderr")
        self.assertEqual(fetch(server.http, "app.example.org").text, "other GET / 0")
        self.assertEqual(fetch(server.http, "first.tim.tunnel.test").text, "o GET / 0")
        self.assertTrue(first.running())

    def test_domain_that_is_no_longer_granted_is_withdrawn_and_told(self):
        token = self.add("tim", "--domain", "app.example.org")
        server = self.users_server("--domain", "tunnel.test")
        services = self.write(".tunnel-services.json", {"app": {"port": self.o.port, "domains": ["app.example.org"]}, "no_label": {"port": self.o.port, "domains": ["bank.example.org"]}})
        client = self.with_token(server, token, "-c", services, wait=False, verbose=False)
        client.expect(r"bank\.example\.org is not granted", "stderr")
        self.await_status(server.http, "app.example.org")
        with open(self.users) as f:
            users = json.load(f)
        users["users"]["tim"]["domains"] = []
        self.write(os.path.basename(self.users), users)
        client.expect(r"app\.example\.org is no longer granted", "stderr")
        self.assertNotEqual(fetch(server.http, "app.example.org").status, 200)
        self.assertEqual(fetch(server.http, "app.tim.tunnel.test").status, 200)


if __name__ == "__main__":
    main()
