"""How a client knows its server: first contact, changed key, --strict, --fingerprint, --ca; and that a token goes to no stranger."""
import os
import re
import unittest

from tunnel import Case, fetch, main, own_address, reply

KEY_REFUSED = 5


class Trust(Case):
    def setUp(self):
        super().setUp()
        self.o = self.origin("o")
        self.known = self.path(".config/mdm-tunnel/known_servers")

    def ended(self, server, *args, **options):
        client = self.client(server, "-u", "tim", *args, f"o={self.o.port}", wait=False, verbose=False, **options)
        return client.wait(), client.errors()

    def fingerprint(self, server):
        return re.search(r"SHA256:[\w+/=-]+", server.errors()).group(0)

    def test_first_contact_is_remembered_and_said_once(self):
        server = self.server()
        first = self.client(server, "-u", "tim", f"o={self.o.port}", verbose=False)
        self.assertIn(self.fingerprint(server), first.errors())
        with open(self.known) as f:
            self.assertIn(self.fingerprint(server), f.read())
        first.stop()
        second = self.client(server, "-u", "tim", f"o={self.o.port}", verbose=False)
        self.assertEqual(second.errors(), "")

    def test_changed_key_is_a_loud_refusal(self):
        server = self.server()
        self.client(server, "-u", "tim", f"o={self.o.port}").stop()
        port = server.clients
        server.stop()
        os.rename(self.path("state"), self.path("state.old"))
        changed = self.server("--port", "0", "--client-port", port, ports=False)
        status, errors = self.ended(changed)
        self.assertEqual(status, KEY_REFUSED, errors)
        self.assertIn("known_servers", errors)
        self.assertIn(self.fingerprint(changed), errors)
        self.assertIn(fetch(changed.http, "o.tim.localhost").status, (404, 503))

    def test_same_key_after_a_restart(self):
        server = self.server()
        before = self.fingerprint(server)
        server.stop()
        self.assertEqual(self.fingerprint(self.server()), before)
        self.assertEqual(os.stat(self.path("state/link.key")).st_mode & 0o777, 0o600)

    def test_strict_refuses_the_unknown(self):
        server = self.server()
        status, errors = self.ended(server, "--strict")
        self.assertEqual(status, KEY_REFUSED, errors)
        self.assertFalse(os.path.exists(self.known))
        self.client(server, "-u", "tim", f"o={self.o.port}").stop()
        self.client(server, "-u", "tim", "--strict", f"o={self.o.port}")

    def test_fingerprint(self):
        server = self.server()
        right = self.fingerprint(server)
        self.client(server, "-u", "tim", "--strict", "--fingerprint", right, f"o={self.o.port}").stop()
        wrong = right[:10] + ("A" if right[10] != "A" else "B") + right[11:]
        status, errors = self.ended(server, "--fingerprint", wrong)
        self.assertEqual(status, KEY_REFUSED, errors)
        self.assertIn(right, errors)

    def test_certificate_authority(self):
        ca = self.certificate("ca", "Test CA", is_ca=True)
        crt, key = self.certificate("link", "localhost", "127.0.0.1", ca=ca)
        server = self.server("--link-cert", crt, "--link-key", key)
        self.client(server, "-u", "tim", "--strict", "--ca", ca[0], f"o={self.o.port}").stop()
        stranger = self.certificate("ca2", "Other CA", is_ca=True)
        status, errors = self.ended(server, "--ca", stranger[0])
        self.assertEqual(status, KEY_REFUSED, errors)
        self.assertNotEqual(self.ended(server, "--ca", "system")[0], 0)
        status, errors = self.ended(server, "--ca", self.path("missing.pem"))
        self.assertEqual(status, 3, errors)
        self.assertRegex(errors, "missing.pem: no such file or directory")

    def test_certificate_for_another_name_is_refused(self):
        ca = self.certificate("ca", "Test CA", is_ca=True)
        crt, key = self.certificate("link", "tunnel.example.com", ca=ca)
        server = self.server("--link-cert", crt, "--link-key", key)
        self.assertEqual(self.ended(server, "--ca", ca[0])[0], KEY_REFUSED)

    def test_bearer_secret_goes_to_no_stranger(self):
        """Not to a server elsewhere that is known in no way: by address alone, anybody could be there."""
        address = own_address()
        if not address:
            raise unittest.SkipTest("this machine has only loopback addresses")
        asked = []

        def gatekeeper(request, wire, origin):
            asked.append(request.body)
            wire.send(reply(body='{"allow": true}'))
        gate = self.origin("gate", gatekeeper)
        server = self.server("--auth-login-url", f"http://127.0.0.1:{gate.port}/", "--bind", address, "--bind", "127.0.0.1")
        secret = {"MDM_TUNNEL_TOKEN": "a-secret-without-a-fingerprint"}
        status, errors = self.ended(server, "-h", address, env=secret)
        self.assertEqual(status, KEY_REFUSED, errors)
        self.assertIn("--fingerprint", errors)
        self.assertEqual(asked, [])
        self.client(server, "-u", "tim", "-h", address, "--fingerprint", self.fingerprint(server), f"o={self.o.port}", env=secret)
        self.assertIn(b"a-secret", asked[0])

    def test_key_that_others_may_read_is_refused_by_the_server(self):
        self.server().stop()
        os.chmod(self.path("state/link.key"), 0o644)
        server = self.server(wait=False, verbose=False)
        self.assertNotEqual(server.wait(), 0)
        self.assertIn("link.key", server.errors())


if __name__ == "__main__":
    main()
