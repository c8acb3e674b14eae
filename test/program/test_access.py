"""Forward auth over HTTP: --auth-url asks about visits, --auth-login-url about logins and claims. Every failure denies."""
import json
import threading

from tunnel import Case, fetch, free_port, main, reply


class Visits(Case):
    def start_tunnel(self, gatekeeper, *args):
        self.o = self.origin("o")
        self.gate = self.origin("gate", gatekeeper)
        config = self.write("server.json", {"timeouts": {"auth": 1}, "state-dir": self.path("state")})
        server = self.server("--config", config, "--auth-url", f"http://127.0.0.1:{self.gate.port}/check", "--auth-field", "X-Auth-User", *args)
        self.client(server, "-u", "tim", f"o={self.o.port}")
        return server

    def test_it_is_told_the_request(self):
        server = self.start_tunnel(lambda request, wire, origin: wire.send(reply()))
        self.assertEqual(fetch(server.http, "o.tim.localhost", "/a?b", "POST", [("Cookie", "c=1")], b"body").status, 200)
        asked = self.gate.requests[-1]
        self.assertTrue(asked.target.startswith("/check"))
        self.assertEqual(asked.get("x-forwarded-method"), "POST")
        self.assertEqual(asked.get("x-forwarded-uri"), "/a?b")
        self.assertEqual(asked.get("x-forwarded-host"), "o.tim.localhost")
        self.assertEqual(asked.get("x-forwarded-for"), "127.0.0.1")
        self.assertEqual(asked.get("x-forwarded-proto"), "http")
        self.assertEqual(asked.get("cookie"), "c=1")
        self.assertEqual(asked.body, b"")

    def test_absolute_target_is_told_as_the_origin_gets_it(self):
        server = self.start_tunnel(lambda request, wire, origin: wire.send(reply("403 Forbidden", "no")))
        for target, told in (("http://o.tim.localhost/admin?x", "/admin?x"), ("HTTP://o.tim.localhost?x", "/?x"), ("http://o.tim.localhost", "/"), ("/a//b", "/a//b")):
            with self.subTest(target):
                self.assertEqual(fetch(server.http, "o.tim.localhost", target).status, 403)
                self.assertEqual(self.gate.requests[-1].get("x-forwarded-uri"), told)

    def test_configured_fields_are_handed_on_and_the_visitors_own_are_not(self):
        def allow(request, wire, origin):
            wire.send(reply(fields=[("X-Auth-User", "anna"), ("X-Other", "no")]))
        server = self.start_tunnel(allow)
        fetch(server.http, "o.tim.localhost", fields=[("X-Auth-User", "forged"), ("x_auth_user", "forged")])
        seen = self.o.requests[-1]
        self.assertEqual(seen.all("x-auth-user"), ["anna"])
        self.assertNotIn("forged", repr(seen.fields))
        self.assertNotIn("forged", repr(self.gate.requests[-1].fields))
        self.assertIsNone(seen.get("x-other"))

    def test_refusals_go_to_the_visitor(self):
        answers = {"/401": reply("401 Unauthorized", "who?", [("WWW-Authenticate", "Bearer")]), "/403": reply("403 Forbidden", "no"),
                   "/302": reply("302 Found", "", [("Location", "https://login.example/"), ("Set-Cookie", "s=1")])}
        server = self.start_tunnel(lambda request, wire, origin: wire.send(answers[request.get("x-forwarded-uri")]))
        answer = fetch(server.http, "o.tim.localhost", "/401")
        self.assertEqual((answer.status, answer.get("www-authenticate"), answer.text), (401, "Bearer", "who?"))
        self.assertEqual(len(answer.all("date")), 1)
        self.assertEqual(fetch(server.http, "o.tim.localhost", "/403").status, 403)
        answer = fetch(server.http, "o.tim.localhost", "/302")
        self.assertEqual((answer.status, answer.get("location"), answer.get("set-cookie")), (302, "https://login.example/", "s=1"))
        self.assertEqual(self.o.requests, [])

    def test_every_failure_denies(self):
        release = threading.Event()
        self.addCleanup(release.set)

        def gatekeeper(request, wire, origin):
            what = request.get("x-forwarded-uri")
            if what == "/hang":
                release.wait(20)
            elif what == "/500":
                wire.send(reply("500 Internal Server Error"))
            elif what == "/nonsense":
                wire.send("what?\r\n\r\n")
            elif what == "/reset":
                wire.reset()
            return False
        server = self.start_tunnel(gatekeeper)
        for target in ("/500", "/nonsense", "/reset", "/close", "/hang"):
            with self.subTest(target):
                answer = fetch(server.http, "o.tim.localhost", target)
                self.assertGreaterEqual(answer.status, 500)
                self.assertIn("Permission unknown", answer.text)
        self.assertEqual(self.o.requests, [])

    def test_asked_for_every_request_and_before_the_name_is_looked_up(self):
        server = self.start_tunnel(lambda request, wire, origin: wire.send(reply("403 Forbidden", "no")))
        for host in ("o.tim.localhost", "unknown.nobody.localhost", "tim.localhost"):
            with self.subTest(host):
                self.assertEqual(fetch(server.http, host).status, 403)
        self.assertEqual(len(self.gate.requests), 3)

    def test_gatekeeper_that_is_not_there_denies(self):
        o = self.origin("o")
        server = self.server("--auth-url", f"http://127.0.0.1:{free_port()}/")
        self.client(server, "-u", "tim", f"o={o.port}")
        self.assertGreaterEqual(fetch(server.http, "o.tim.localhost").status, 400)
        self.assertEqual(o.requests, [])


class Logins(Case):
    def start_server(self, judge):
        self.asked = []

        def gatekeeper(request, wire, origin):
            question = json.loads(request.body)
            self.asked.append(question)
            wire.send(judge(question))
        gate = self.origin("gate", gatekeeper)
        return self.server("--auth-login-url", f"http://127.0.0.1:{gate.port}/login")

    def test_logins_and_claims_are_asked(self):
        o = self.origin("o")
        server = self.start_server(lambda question: reply(body='{"allow": true}'))
        self.client(server, "-u", "tim", f"o={o.port}", env={"MDM_TUNNEL_TOKEN": "the-secret"})
        self.assertEqual(fetch(server.http, "o.tim.localhost").status, 200)
        login, claim = self.asked[:2]
        self.assertEqual((login["step"], login["user"], login["token"]), ("login", "tim", "the-secret"))
        self.assertIn(login["address"], ("127.0.0.1", "::1"))
        self.assertEqual((claim["step"], claim["user"], claim["service"]), ("claim", "tim", "o"))

    def test_refused_claim(self):
        o = self.origin("o")
        server = self.start_server(lambda question: reply(body=json.dumps({"allow": question.get("service") != "secret", "reason": "not that one"})))
        client = self.client(server, "-u", "tim", f"secret={o.port}", f"o={o.port}", env={"MDM_TUNNEL_TOKEN": "long-enough"}, wait=False)
        client.expect("not that one", "stderr")
        self.await_status(server.http, "o.tim.localhost")

    def test_answer_that_does_not_say_allow_denies(self):
        o = self.origin("o")
        for body in ("", "{}", "[]", "nonsense", '{"allow": 1}'):
            with self.subTest(body):
                server = self.start_server(lambda question, body=body: reply(body=body))
                client = self.client(server, "-u", "tim", f"o={o.port}", env={"MDM_TUNNEL_TOKEN": "long-enough"}, wait=False, verbose=False)
                self.assertEqual(client.wait(), 4, client.describe())
                server.stop()

    def test_refused_login(self):
        o = self.origin("o")
        server = self.start_server(lambda question: reply("403 Forbidden", "{}"))
        client = self.client(server, "-u", "tim", f"o={o.port}", env={"MDM_TUNNEL_TOKEN": "the-secret"}, wait=False, verbose=False)
        self.assertEqual(client.wait(), 4, client.describe())


if __name__ == "__main__":
    main()
