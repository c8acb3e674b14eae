"""Answers that the server makes itself: which status, what they say to browsers and to programs, and that malformed requests never
reach an origin."""
import json
import os
import tempfile
import threading

from tunnel import Client, Origin, TunnelCase, free_port, main, reply, request_text


class Statuses(TunnelCase):
    @classmethod
    def origins(cls):
        cls.release = threading.Event()

        def raw(wire, origin):
            head = wire.head()
            origin.requests.append(head)
            if head.target == "/hang-up":
                return
            if head.target == "/nonsense":
                wire.send("SSH-2.0-OpenSSH_9.2\r\n")
                wire.sock.recv(1)
            elif head.target == "/two-lengths":
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")
            elif head.target == "/big-head":
                wire.send("HTTP/1.1 200 OK\r\nX-Big: " + "x" * 200000 + "\r\n\r\n")
            elif head.target == "/101":
                wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\n")
            elif head.target == "/slow":
                cls.release.wait(30)
        return {"up": Origin("up", raw=raw), "refused": free_port()}

    def ask(self, service, target="/", fields=(), method="GET"):
        return self.wire().send(request_text(method, target, f"{service}.tim.localhost", fields)).answer(method)

    def test_unknown_name_is_404(self):
        answer = self.ask("nobody-serves-this")
        self.assertIn(answer.status, (404, 503))  # 503 within the first seconds' hold, or for a known user
        answer = self.wire().send(request_text("GET", "/", "x.no-such-user-here.localhost")).answer()
        self.assertEqual(answer.status, 404)
        self.assertIn("destination_not_found", answer.get("proxy-status"))

    def test_service_that_does_not_listen_is_502(self):
        answer = self.ask("refused")
        self.assertEqual(answer.status, 502)
        self.assertIn("connection_refused", answer.get("proxy-status"))

    def test_origin_faults_are_502_each_with_its_name(self):
        for target, token in (("/hang-up", "connection_terminated"), ("/nonsense", "http_protocol_error"), ("/two-lengths", "http_protocol_error"),
                              ("/big-head", "http_response_header_section_size"), ("/101", "http_upgrade_failed")):
            with self.subTest(target=target):
                answer = self.ask("up", target, method="POST", fields=[("Content-Length", "0")])
                self.assertEqual(answer.status, 502)
                self.assertIn(token, answer.get("proxy-status"))

    def test_body_by_accept(self):
        host = "x.no-such-user-here.localhost"
        for accept, content_type in (("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"), ("application/json", "application/json"), ("*/*", "text/plain"), (None, "text/plain")):
            with self.subTest(accept=accept):
                answer = self.wire().send(request_text("GET", "/<script>", host, [("Accept", accept)] if accept else [])).answer()
                self.assertEqual(answer.status, 404)
                self.assertTrue(answer.get("content-type").startswith(content_type), answer.fields)
                self.assertEqual(answer.get("x-content-type-options"), "nosniff")
                self.assertNotIn("<script>", answer.text)
                if content_type == "application/json":
                    json.loads(answer.text)
                if content_type == "text/html":
                    self.assertIn("default-src 'none'", answer.get("content-security-policy"))

    def test_head_answers_have_no_body(self):
        wire = self.wire()
        self.assertEqual(wire.send(request_text("HEAD", "/", "x.no-such-user-here.localhost")).answer("HEAD").status, 404)
        self.assertEqual(wire.send(request_text("GET", "/", "x.no-such-user-here.localhost")).answer().status, 404)

    def test_connection_goes_on_after_an_answer_made_here(self):
        wire = self.wire()
        for service in ("refused", "refused"):
            self.assertEqual(wire.send(request_text("POST", "/", f"{service}.tim.localhost", body=b"abc")).answer().status, 502)

    def test_strange_hosts_are_unknown_names(self):
        for host in ("__proto__.tim.localhost", "a..tim.localhost", "%00.tim.localhost", "[::1]:80", "-a.tim.localhost", "a" * 64 + ".tim.localhost", "xn--a.localhost", "x." * 120 + "localhost"):
            with self.subTest(host=host):
                self.assertIn(self.wire().send(request_text("GET", "/", host)).answer().status, (200, 400, 404, 503))

    def test_offline_service_is_503_with_retry_after(self):
        other = self.start(Client(self.directory, "-u", "sue", "gone=" + str(self.services["up"].port), port=self.tunnel.clients))
        other.kill()
        answer = self.wire().send(request_text("GET", "/", "gone.sue.localhost")).answer()
        self.assertEqual(answer.status, 503)
        self.assertTrue(int(answer.get("retry-after")) > 0)
        self.assertIn("destination_unavailable", answer.get("proxy-status"))


class Malformed(TunnelCase):
    """Each is answered and the connection closed; the origin sees nothing."""

    @classmethod
    def origins(cls):
        return {"o": Origin("o")}

    HOST = "Host: o.tim.localhost\r\n"
    CASES = {
        "length and transfer-encoding": (b"POST / HTTP/1.1\r\n%sContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        "two lengths": (b"POST / HTTP/1.1\r\n%sContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        "length with a sign": (b"POST / HTTP/1.1\r\n%sContent-Length: +3\r\n\r\nabc", 400),
        "length list": (b"POST / HTTP/1.1\r\n%sContent-Length: 3, 3\r\n\r\nabc", 400),
        "length over 64 bits": (b"POST / HTTP/1.1\r\n%sContent-Length: 18446744073709551616\r\n\r\nabc", 400),
        "folded line": (b"GET / HTTP/1.1\r\n%sX-A: 1\r\n 2\r\n\r\n", 400),
        "folded host": (b"GET / HTTP/1.1\r\nHost:\r\n o.tim.localhost\r\n\r\n", 400),
        "bare LF": (b"GET / HTTP/1.1\r\n%sX-A: 1\nX-B: 2\r\n\r\n", 400),
        "bare LF request line": (b"GET / HTTP/1.1\n%s\r\n", 400),
        "bare CR": (b"GET / HTTP/1.1\r\n%sX-A: 1\rX-B: 2\r\n\r\n", 400),
        "NUL": (b"GET / HTTP/1.1\r\n%sX-A: \0\r\n\r\n", 400),
        "empty name": (b"GET / HTTP/1.1\r\n%s: x\r\n\r\n", 400),
        "space before colon": (b"GET / HTTP/1.1\r\n%sX-A : x\r\n\r\n", 400),
        "no colon": (b"GET / HTTP/1.1\r\n%sX-A\r\n\r\n", 400),
        "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
        "two hosts": (b"GET / HTTP/1.1\r\n%sHost: o.tim.localhost\r\n\r\n", 400),
        "transfer-encoding on 1.0": (b"POST / HTTP/1.0\r\n%sTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        "gzip, chunked": (b"POST / HTTP/1.1\r\n%sTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", (400, 501)),
        "chunked twice": (b"POST / HTTP/1.1\r\n%sTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", (400, 501)),
        "CONNECT": (b"CONNECT o.tim.localhost:80 HTTP/1.1\r\n%s\r\n", (400, 405, 501)),
        "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 405, 501, 505)),
        "HTTP/0.9": (b"GET /\r\n\r\n", (400, 505)),
        "HTTP/1.2": (b"GET / HTTP/1.2\r\n%s\r\n", (400, 505)),
        "TLS on the plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n" * 2, 400),
        "long target": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n%s\r\n", (400, 414)),
        "large head": (b"GET / HTTP/1.1\r\n%s" + b"X-A: " + b"x" * 40000 + b"\r\n\r\n", 431),
        "many fields": (b"GET / HTTP/1.1\r\n%s" + b"X-A: x\r\n" * 101 + b"\r\n", 431),
    }

    def test_refused_before_the_origin(self):
        for name, (raw, expected) in self.CASES.items():
            with self.subTest(name):
                wire = self.wire()
                wire.send(raw.replace(b"%s", self.HOST.encode(), 1))
                answer = wire.answer()
                self.assertIn(answer.status, expected if isinstance(expected, tuple) else (expected,))
                self.assertTrue(wire.ended())
        self.assertEqual(self.services["o"].requests, [])

    def test_bad_chunks_never_complete_at_the_origin(self):
        for name, chunks in {"letters after the size": b"3xyz\r\nabc\r\n0\r\n\r\n", "data longer than said": b"3\r\nabcXX0\r\n\r\n", "bare LF": b"3\nabc\n0\n\n", "size with a sign": b"+3\r\nabc\r\n0\r\n\r\n",
                             "long size": b"0" * 40 + b"3\r\nabc\r\n0\r\n\r\n", "bare CR size": b"2\rX\r\nab\r\n0\r\n\r\n", "folded trailer": b"0\r\nX-T: 1\r\n 2\r\n\r\n"}.items():
            with self.subTest(name):
                wire = self.wire()
                wire.send(b"POST / HTTP/1.1\r\n" + self.HOST.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
                try:
                    self.assertEqual(wire.answer().status, 400)
                except (EOFError, ConnectionError):
                    pass  # cut: as good, the head was already out
        self.assertEqual(self.services["o"].requests, [])


class Timeouts(TunnelCase):
    @classmethod
    def setUpClass(cls):
        handle, path = tempfile.mkstemp(suffix=".json")
        with os.fdopen(handle, "w") as f:
            json.dump({"timeouts": {"head": 1, "idle": 1, "answer": 1}, "limits": {"request-body-bytes": 1000}}, f)
        cls.addClassCleanup(os.unlink, path)
        cls.server_args = ("--config", path, "--hold", "0")
        super().setUpClass()

    @classmethod
    def origins(cls):
        cls.release = threading.Event()
        cls.addClassCleanup(cls.release.set)

        def slow(request, wire, origin):
            if request.target == "/slow":
                cls.release.wait(30)
            wire.send(reply(body="late"))
        return {"o": Origin("o", slow)}

    def test_slow_head_is_408(self):
        wire = self.wire()
        wire.send("GET / HTTP/1.1\r\nHost: o.tim.loc")
        self.assertEqual(wire.answer().status, 408)

    def test_idle_connection_is_closed(self):
        wire = self.wire()
        wire.send(request_text("GET", "/", "o.tim.localhost")).answer()
        self.assertTrue(wire.ended())

    def test_silent_service_is_504(self):
        answer = self.wire().send(request_text("GET", "/slow", "o.tim.localhost")).answer()
        self.assertEqual(answer.status, 504)
        self.assertIn("http_response_timeout", answer.get("proxy-status"))

    def test_body_over_the_limit_is_413(self):
        self.assertEqual(self.wire().send(request_text("POST", "/", "o.tim.localhost", body=b"x" * 1001)).answer().status, 413)
        self.assertEqual(self.wire().send(request_text("POST", "/", "o.tim.localhost", body=b"x" * 1000)).answer().status, 200)


if __name__ == "__main__":
    main()
