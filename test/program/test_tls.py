"""HTTPS for visitors: one certificate, many by SNI, reload without dropping a connection, redirects, misdirected requests."""
import os
import shutil
import ssl
import subprocess

from tunnel import Case, Origin, dial, fetch, main, reply, request_text, tls_client, wait_for


class Https(Case):
    def setUp(self):
        super().setUp()
        self.o = self.origin("o", lambda request, wire, origin: wire.send(reply(body=request.get("x-forwarded-proto", "?"))))

    def start_tunnel(self, *args):
        server = self.server("--https-port", "0", *args)
        self.client(server, "-u", "tim", f"o={self.o.port}")
        return server

    def ask(self, server, host, certificate, **options):
        return fetch(server.https, host, tls=tls_client(certificate), **options)

    def presented(self, server, name):
        """The common name of the certificate that a visitor of `name` is shown."""
        out = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.https}", *(["-servername", name] if name else ["-noservername"])], stdin=subprocess.DEVNULL,
                             capture_output=True, timeout=20).stdout
        subject = subprocess.run(["openssl", "x509", "-noout", "-subject", "-nameopt", "multiline"], input=out, capture_output=True, timeout=20).stdout.decode()
        return subject.split("=")[-1].strip()

    def test_one_certificate(self):
        crt, key = self.certificate("wild", "*.tim.localhost", "tim.localhost")
        server = self.start_tunnel("--tls-cert", crt, "--tls-key", key)
        answer = self.ask(server, "o.tim.localhost", crt)
        self.assertEqual((answer.status, answer.text), (200, "https"))
        self.assertEqual(self.o.requests[-1].get("x-forwarded-port"), str(server.https))
        self.assertIn("proto=https", self.o.requests[-1].get("forwarded"))
        self.assertEqual(fetch(server.http, "o.tim.localhost").text, "http")

    def test_many_certificates_by_name(self):
        one, _ = self.certificate("tls/one", "*.tim.localhost")
        two, _ = self.certificate("tls/two", "*.sue.localhost", "sue.localhost")
        server = self.start_tunnel("--tls-dir", self.path("tls"))
        self.assertEqual(self.presented(server, "o.tim.localhost"), "*.tim.localhost")
        self.assertEqual(self.presented(server, "x.sue.localhost"), "*.sue.localhost")
        self.assertEqual(self.presented(server, "sue.localhost"), "*.sue.localhost")
        self.assertEqual(self.ask(server, "o.tim.localhost", one).status, 200)
        del two

    def test_urls_are_in_the_form_that_a_certificate_covers(self):
        for name, host in (("one", "*.tim.tunnel.test"), ("flat", "*.tunnel.test")):
            crt, key = self.certificate(name, host, "tim.tunnel.test")
            server = self.server("--domain", "tunnel.test", "--https-port", "0", "--tls-cert", crt, "--tls-key", key)
            client = self.client(server, "-u", "tim", f"o={self.o.port}", verbose=False)
            shown = "o.tim.tunnel.test" if name == "one" else "o--tim.tunnel.test"
            self.assertEqual(client.output(), f"https://{shown}:{server.https}\n")
            self.assertEqual(self.ask(server, shown, crt).status, 200)
            self.assertIn(f"https://{shown}:{server.https}/", self.ask(server, f"tim.tunnel.test:{server.https}", crt).text)
            client.stop()
            server.stop()

    def test_host_under_another_certificate_is_misdirected(self):
        self.certificate("tls/one", "*.tim.localhost")
        two, _ = self.certificate("tls/two", "*.sue.localhost")
        server = self.start_tunnel("--tls-dir", self.path("tls"))
        with dial(server.https, tls=tls_client(two), server_name="x.sue.localhost") as wire:
            self.assertEqual(wire.send(request_text("GET", "/", "o.tim.localhost")).answer().status, 421)

    def test_changed_files_are_taken_without_dropping_a_connection(self):
        crt, key = self.certificate("live", "o.tim.localhost")
        server = self.start_tunnel("--tls-cert", crt, "--tls-key", key)
        old = dial(server.https, tls=tls_client(crt), server_name="o.tim.localhost")
        self.addCleanup(old.close)
        self.assertEqual(old.send(request_text("GET", "/", "o.tim.localhost")).answer().status, 200)
        new_crt, new_key = self.certificate("next", "renewed.example", "o.tim.localhost")
        os.rename(new_key, key)
        os.rename(new_crt, crt)
        wait_for(lambda: self.presented(server, "o.tim.localhost") == "renewed.example", "the new certificate")
        self.assertEqual(old.send(request_text("GET", "/", "o.tim.localhost")).answer().status, 200)

    def test_broken_files_keep_the_old_certificate(self):
        crt, key = self.certificate("live", "o.tim.localhost")
        server = self.start_tunnel("--tls-cert", crt, "--tls-key", key)
        kept = self.path("kept.crt")
        shutil.copy(crt, kept)
        self.write("live.crt", "not a certificate")
        server.signal(1)
        server.expect(r"live\.crt", "stderr")
        self.assertEqual(self.ask(server, "o.tim.localhost", kept).status, 200)

    def test_redirect(self):
        crt, key = self.certificate("wild", "*.tim.localhost")
        server = self.start_tunnel("--tls-cert", crt, "--tls-key", key, "--redirect-http", "--trusted-proxy", "127.0.0.2/32")
        answer = fetch(server.http, "o.tim.localhost", "/a?b=c")
        self.assertEqual((answer.status, answer.get("location")), (308, f"https://o.tim.localhost:{server.https}/a?b=c"))
        self.assertEqual(self.o.requests, [])

    def test_redirect_spares_what_a_trusted_proxy_says_came_by_https(self):
        crt, key = self.certificate("wild", "*.tim.localhost")
        server = self.start_tunnel("--tls-cert", crt, "--tls-key", key, "--redirect-http", "--trusted-proxy", "127.0.0.1/32")
        self.assertEqual(fetch(server.http, "o.tim.localhost").status, 308)
        self.assertEqual(fetch(server.http, "o.tim.localhost", fields=[("X-Forwarded-Proto", "https")]).text, "https")

    def test_old_tls_is_refused(self):
        crt, key = self.certificate("wild", "*.tim.localhost")
        server = self.start_tunnel("--tls-cert", crt, "--tls-key", key)
        status = subprocess.run(["openssl", "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-connect", f"127.0.0.1:{server.https}"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20).returncode
        self.assertNotEqual(status, 0)
        context = tls_client(crt)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.assertEqual(fetch(server.https, "o.tim.localhost", tls=context).status, 200)

    def test_key_of_another_certificate_is_an_error_at_start(self):
        crt, _ = self.certificate("a", "a.example")
        _, key = self.certificate("b", "b.example")
        server = self.server("--https-port", "0", "--tls-cert", crt, "--tls-key", key, wait=False, verbose=False)
        self.assertNotEqual(server.wait(), 0)
        self.assertIn("b.key", server.errors())


if __name__ == "__main__":
    main()
