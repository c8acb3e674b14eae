"""HTTP/1.1 through the tunnel, byte by byte: routing of every request, framing both ways, interim and early answers, forwarded
fields, half-close, retries, and what a visitor sees of an origin that misbehaves."""
import socket
import threading
import time

from tunnel import Origin, TunnelCase, dial, fetch, main, reply, request_text, wait_for


def behave(request, wire, origin):
    """An origin that does what the target says."""
    path = request.target
    if path == "/chunked":
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        for size in (1, 10, 30000):
            wire.send(f"{size:x};ext=1\r\n" + "c" * size + "\r\n")
        wire.send("0\r\nX-Sum: 30011\r\n\r\n")
    elif path == "/head":
        wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: 17\r\nX-Seen: {request.method}\r\n\r\n" + ("" if request.method == "HEAD" else "x" * 17))
    elif path == "/204":
        wire.send("HTTP/1.1 204 No Content\r\nX-Mark: empty\r\n\r\n")
    elif path == "/304":
        wire.send('HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 500\r\n\r\n')
    elif path == "/close-delimited":
        wire.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + "until the end")
        return False
    elif path == "/103":
        wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        wire.send(reply(body="final"))
    elif path == "/fields":
        wire.send(reply(body="\n".join(f"{n}: {v}" for n, v in request.fields)))
    elif path == "/answer-fields":
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Hop\r\nX-Hop: secret\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-End: kept\r\n\r\nok")
    elif path == "/body":
        wire.send(reply(body=request.body))
    elif path == "/trailers":
        wire.send(reply(body=repr(request.trailers)))
    else:
        wire.send(reply(body=f"{origin.name} {request.method} {request.target}"))


class Routing(TunnelCase):
    @classmethod
    def origins(cls):
        return {"a": Origin("a", behave), "b": Origin("b", behave)}

    def test_each_request_of_a_kept_alive_connection_goes_by_its_own_host(self):
        wire = self.wire()
        for name in ("a", "b", "a", "a", "b"):
            answer = wire.send(request_text("GET", "/k", f"{name}.tim.localhost")).answer()
            self.assertEqual(answer.text, f"{name} GET /k")

    def test_pipelined_requests_are_answered_in_order_by_their_own_hosts(self):
        wire = self.wire()
        wire.send(b"".join(request_text("GET", f"/{i}", f"{'ab'[i % 2]}.tim.localhost") for i in range(12)))
        self.assertEqual([wire.answer().text for _ in range(12)], [f"{'ab'[i % 2]} GET /{i}" for i in range(12)])

    def test_pipeline_with_bodies_does_not_mix(self):
        wire = self.wire()
        wire.send(request_text("POST", "/body", "a.tim.localhost", body=b"one") +
                  request_text("POST", "/body", "b.tim.localhost", [("Transfer-Encoding", "chunked")], b"3\r\ntwo\r\n0\r\n\r\n") +
                  request_text("GET", "/three", "a.tim.localhost"))
        self.assertEqual([wire.answer().text for _ in range(3)], ["one", "two", "a GET /three"])

    def test_flat_form_means_the_same(self):
        self.assertEqual(self.visit("a").text, "a GET /")
        wire = self.wire()
        self.assertEqual(wire.send(request_text("GET", "/", "a--tim.localhost")).answer().text, "a GET /")

    def test_host_is_normalised(self):
        wire = self.wire()
        for host in ("A.TIM.Localhost", "a.tim.localhost.", "a.tim.localhost:8000", "a.tim.localhost.dev:8000", "a.tim.example.com", "a.tim.tunnel.example.co.uk"):
            with self.subTest(host=host):
                self.assertEqual(wire.send(request_text("GET", "/", host)).answer().text, "a GET /")

    def test_absolute_form_target_agrees_with_host(self):
        wire = self.wire()
        self.assertEqual(wire.send(request_text("GET", "http://a.tim.localhost/abs", "a.tim.localhost")).answer().text, "a GET /abs")
        self.assertEqual(wire.send(request_text("GET", "http://b.tim.localhost/abs", "a.tim.localhost")).answer().status, 400)

    def test_origin_connections_are_reused_for_one_visitor(self):
        wire = self.wire()
        for _ in range(5):
            wire.send(request_text("GET", "/", "a.tim.localhost")).answer()
        self.assertEqual(self.services["a"].connections, 1)

    def test_origin_connections_are_not_shared_between_visitors(self):
        for _ in range(3):
            self.wire().send(request_text("GET", "/", "a.tim.localhost")).answer()
        self.assertEqual(self.services["a"].connections, 3)

    def test_list_page_names_the_services(self):
        answer = self.visit_host("tim.localhost", [("Accept", "text/html")])
        self.assertEqual(answer.status, 200)
        self.assertIn("text/html", answer.get("content-type"))
        self.assertIn("a.tim.localhost", answer.text)
        self.assertIn("b.tim.localhost", answer.text)
        json_answer = self.visit_host("tim.localhost", [("Accept", "application/json")])
        self.assertIn("application/json", json_answer.get("content-type"))

    def visit_host(self, host, fields=()):
        return self.wire().send(request_text("GET", "/", host, fields)).answer()


class Framing(TunnelCase):
    @classmethod
    def origins(cls):
        return {"o": Origin("o", behave)}

    def ask(self, method, target, fields=(), body=None, wire=None):
        wire = wire or self.wire()
        return wire.send(request_text(method, target, "o.tim.localhost", fields, body)).answer(method)

    def test_chunked_answer_with_trailers(self):
        answer = self.ask("GET", "/chunked", [("TE", "trailers")])
        self.assertEqual(answer.body, b"c" * 30011)
        self.assertEqual(dict((n.lower(), v) for n, v in answer.trailers), {"x-sum": "30011"})

    def test_chunked_answer_reaches_http_1_0_as_close_delimited(self):
        wire = self.wire()
        answer = wire.send("GET /chunked HTTP/1.0\r\nHost: o.tim.localhost\r\n\r\n").answer()
        self.assertIsNone(answer.get("transfer-encoding"))
        self.assertEqual(answer.body, b"c" * 30011)

    def test_chunked_request(self):
        answer = self.ask("POST", "/body", [("Transfer-Encoding", "chunked")], b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\n\r\n")
        self.assertEqual(answer.text, "hello!")

    def test_request_trailers_arrive(self):
        answer = self.ask("POST", "/trailers", [("Transfer-Encoding", "chunked"), ("Trailer", "X-T")], b"2\r\nab\r\n0\r\nX-T: 1\r\n\r\n")
        self.assertIn("x-t", answer.text.lower())

    def test_head_has_no_body_and_the_connection_goes_on(self):
        wire = self.wire()
        answer = self.ask("HEAD", "/head", wire=wire)
        self.assertEqual((answer.status, answer.get("content-length"), answer.get("x-seen")), (200, "17", "HEAD"))
        self.assertEqual(self.ask("GET", "/next", wire=wire).text, "o GET /next")

    def test_204_and_304_have_no_body_and_the_connection_goes_on(self):
        wire = self.wire()
        self.assertEqual(self.ask("GET", "/204", wire=wire).status, 204)
        self.assertEqual(self.ask("GET", "/304", wire=wire).get("etag"), '"a"')
        self.assertEqual(self.ask("GET", "/next", wire=wire).text, "o GET /next")

    def test_answer_delimited_by_close(self):
        self.assertEqual(self.ask("GET", "/close-delimited").text, "until the end")

    def test_hop_by_hop_fields_stay_on_their_hop(self):
        answer = self.ask("GET", "/answer-fields")
        self.assertEqual(answer.all("set-cookie"), ["a=1", "b=2"])
        self.assertEqual(answer.get("x-end"), "kept")
        self.assertIsNone(answer.get("x-hop"))
        seen = self.ask("GET", "/fields", [("Connection", "X-Hop, Host, Authorization"), ("X-Hop", "1"), ("Authorization", "Bearer x"), ("Proxy-Connection", "keep-alive"),
                                           ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")]).text.lower()
        self.assertNotIn("x-hop", seen)
        self.assertNotIn("h2c", seen)
        self.assertNotIn("http2-settings", seen)
        self.assertIn("authorization: bearer x", seen)
        self.assertIn("host: o.tim.localhost", seen)

    def test_expect_100_continue_is_the_origins_to_answer(self):
        wire = self.wire()
        wire.send("POST /body HTTP/1.1\r\nHost: o.tim.localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual(wire.answer(interim=True).status, 100)
        self.assertEqual(wire.send("hello").answer().text, "hello")

    def test_early_hints_are_handed_on(self):
        wire = self.wire()
        wire.send(request_text("GET", "/103", "o.tim.localhost"))
        self.assertEqual(wire.answer(interim=True).status, 103)
        self.assertEqual(wire.answer().text, "final")

    def test_http_1_0_visitor_is_closed_after_the_answer(self):
        wire = self.wire()
        answer = wire.send("GET /x HTTP/1.0\r\nHost: o.tim.localhost\r\n\r\n").answer()
        self.assertEqual(answer.text, "o GET /x")
        self.assertTrue(wire.ended())

    def test_connection_close_is_kept(self):
        wire = self.wire()
        self.ask("GET", "/", [("Connection", "close")], wire=wire)
        self.assertTrue(wire.ended())

    def test_request_arriving_byte_by_byte(self):
        wire = self.wire()
        for byte in request_text("POST", "/body", "o.tim.localhost", body=b"slow"):
            wire.send(bytes([byte]))
        self.assertEqual(wire.answer().text, "slow")


class Streaming(TunnelCase):
    """Bytes move as they come, in both directions."""

    @classmethod
    def origins(cls):
        cls.gate = threading.Event()

        def raw(wire, origin):
            head = wire.head()
            origin.requests.append(head)
            if head.target == "/sse":
                wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                for i in range(3):
                    wire.send(f"9\r\ndata: {i}\n\n\r\n")
                    cls.gate.wait(20)
                    cls.gate.clear()
                wire.send("0\r\n\r\n")
            elif head.target == "/early":   # answers without reading the body
                wire.send(reply("413 Content Too Large", "too much", [("Connection", "close")]))
                wire.sock.shutdown(socket.SHUT_WR)
                wire.rest()
            elif head.target == "/duplex":  # echoes the body while it comes
                wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while (data := wire.chunk()) is not None:
                    wire.send(f"{len(data):x}\r\n").send(data).send("\r\n")
                wire.until(b"\r\n")
                wire.send("0\r\n\r\n")
            elif head.target == "/until-fin":
                size = len(wire.rest())
                wire.send(reply(body=f"{size} bytes, then FIN"))
            elif head.target == "/cut":
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
            elif head.target == "/cut-chunked":
                wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            elif head.target == "/reset-close-delimited":
                wire.send("HTTP/1.1 200 OK\r\n\r\nhalf of it")
                time.sleep(0.05)
                wire.reset()
        return {"s": Origin("s", raw=raw)}

    def get(self, target, fields=()):
        return self.wire().send(request_text("GET", target, "s.tim.localhost", fields))

    def test_server_sent_events_are_flushed_as_they_come(self):
        wire = self.get("/sse")
        self.assertEqual(wire.head().get("content-type"), "text/event-stream")
        for i in range(3):
            self.assertEqual(wire.chunk(), f"data: {i}\n\n".encode())
            self.gate.set()
        self.assertIsNone(wire.chunk())

    def test_early_answer_ends_an_upload(self):
        wire = self.wire()
        wire.send("POST /early HTTP/1.1\r\nHost: s.tim.localhost\r\nContent-Length: 100000000\r\n\r\n" + "x" * 1000)
        self.assertEqual(wire.answer().status, 413)

    def test_early_answer_to_expect_100_leaves_no_doubt_about_the_next_request(self):
        wire = self.wire()
        wire.send("POST /early HTTP/1.1\r\nHost: s.tim.localhost\r\nContent-Length: 30\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual(wire.answer().status, 413)
        try:  # what looks like a request may be the body: nobody may answer it
            wire.send("GET /early HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertTrue(wire.ended())
        except ConnectionError:
            pass

    def test_answer_while_the_request_still_comes(self):
        wire = self.wire()
        wire.send("POST /duplex HTTP/1.1\r\nHost: s.tim.localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.assertEqual(wire.head().status, 200)
        for i in range(5):
            wire.send(f"6\r\nping {i}\r\n")
            self.assertEqual(wire.chunk(), f"ping {i}".encode())
        wire.send("0\r\n\r\n")
        self.assertIsNone(wire.chunk())

    def test_visitors_fin_reaches_the_origin_and_its_answer_comes_back(self):
        wire = self.get("/until-fin")
        self.assertEqual(wire.finish().answer().text, "0 bytes, then FIN")

    def test_short_answer_ends_in_a_visible_error(self):
        wire = self.get("/cut")
        self.assertEqual(wire.head().get("content-length"), "100")
        with self.assertRaises((EOFError, ConnectionError)):
            wire.exactly(100)

    def test_chunked_answer_cut_short_has_no_last_chunk(self):
        wire = self.get("/cut-chunked")
        wire.head()
        with self.assertRaises((EOFError, ConnectionError)):
            while wire.chunk() is not None:
                pass

    def test_reset_of_a_close_delimited_answer_is_no_clean_end(self):
        wire = self.get("/reset-close-delimited")
        head = wire.head()
        with self.assertRaises((EOFError, ConnectionError)):
            if head.get("transfer-encoding"):
                while wire.chunk() is not None:
                    pass
            else:
                wire.rest()

    def test_visitors_reset_reaches_the_origin(self):
        wire = self.wire()
        wire.send("POST /until-fin HTTP/1.1\r\nHost: s.tim.localhost\r\nContent-Length: 100\r\n\r\nabc")
        self.wait_requests(1)
        wire.reset()
        origin = self.services["s"]
        wait_for(lambda: not origin.open, "the origin's connection to end")
        self.assertTrue(origin.faults, "a reset must not look like a clean end")

    def wait_requests(self, count):
        wait_for(lambda: len(self.services["s"].requests) >= count, "the request at the origin")


class Retry(TunnelCase):
    """A kept connection that the origin closes under a request: repeated only where that is safe."""

    @classmethod
    def origins(cls):
        def once(wire, origin):
            wire.request()
            origin.requests.append("first")
            wire.send(reply(body="first"))
            second = wire.request()  # taken, then the connection dies without an answer
            if second is not None:
                origin.requests.append(second.method)
        return {"r": Origin("r", raw=once)}

    def test_get_is_repeated_once_on_a_new_connection(self):
        wire = self.wire()
        self.assertEqual(wire.send(request_text("GET", "/", "r.tim.localhost")).answer().text, "first")
        self.assertEqual(wire.send(request_text("GET", "/", "r.tim.localhost")).answer().text, "first")

    def test_post_is_not_repeated(self):
        wire = self.wire()
        self.assertEqual(wire.send(request_text("GET", "/", "r.tim.localhost")).answer().text, "first")
        self.assertEqual(wire.send(request_text("POST", "/", "r.tim.localhost", body=b"x")).answer().status, 502)
        self.assertEqual(self.services["r"].requests.count("POST") + self.services["r"].requests.count("first"), 2)


class ConfusedOrigin(TunnelCase):
    """What an origin sends beyond its answer reaches nobody."""

    @classmethod
    def origins(cls):
        def raw(wire, origin):
            while (request := wire.request()) is not None:
                origin.requests.append(request)
                answer = reply(body=f"right {request.target}")
                evil = reply(body="EVIL")
                if request.target == "/two-answers":
                    wire.send(answer + evil)
                elif request.target == "/late-second":
                    wire.send(answer)
                    time.sleep(0.05)
                    wire.send(evil)
                elif request.target == "/204-with-body":
                    wire.send(b"HTTP/1.1 204 No Content\r\n\r\n" + evil)
                elif request.target == "/304-with-body":
                    wire.send(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n" + evil)
                elif request.method == "HEAD":
                    wire.send(reply(body="EVIL body of a HEAD"))
                elif request.target == "/unasked-100":
                    wire.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + answer)
                else:
                    wire.send(answer)
        return {"o": Origin("o", raw=raw)}

    def test_surplus_is_cut_off(self):
        for method, target in (("GET", "/two-answers"), ("GET", "/late-second"), ("GET", "/204-with-body"), ("GET", "/304-with-body"), ("HEAD", "/head"), ("GET", "/unasked-100")):
            with self.subTest(target):
                wire = self.wire()
                wire.send(request_text(method, target, "o.tim.localhost"))
                self.assertNotIn("EVIL", wire.answer(method).text)
                time.sleep(0.1)
                for i in range(2):
                    self.assertEqual(wire.send(request_text("GET", f"/after/{i}", "o.tim.localhost")).answer().text, f"right /after/{i}")
                self.assertEqual(fetch(self.port, "o.tim.localhost", "/other").text, "right /other")


class Forwarded(TunnelCase):
    @classmethod
    def origins(cls):
        return {"f": Origin("f", behave)}

    def fields(self, sent=(), host="f.tim.localhost"):
        self.wire().send(request_text("GET", "/", host, sent)).answer()
        return self.services["f"].requests[-1]

    def test_origin_is_told_the_visitor(self):
        seen = self.fields(host=f"f.tim.localhost:{self.port}")
        self.assertEqual(seen.get("x-forwarded-for"), "127.0.0.1")
        self.assertEqual(seen.get("x-forwarded-proto"), "http")
        self.assertEqual(seen.get("x-forwarded-host"), f"f.tim.localhost:{self.port}")
        self.assertEqual(seen.get("x-forwarded-port"), str(self.port))
        self.assertIn("for=127.0.0.1", seen.get("forwarded").replace('"', ""))
        self.assertIn("proto=http", seen.get("forwarded"))
        self.assertEqual(seen.get("host"), f"f.tim.localhost:{self.port}")

    def test_visitors_own_claims_are_dropped(self):
        seen = self.fields([("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https"), ("Forwarded", "for=1.2.3.4"), ("X-Real-IP", "1.2.3.4"), ("X_Forwarded_For", "1.2.3.4"),
                            ("X-Forwarded-Host", "evil"), ("x-forwarded-prefix", "/evil")])
        self.assertNotIn("1.2.3.4", repr(seen.fields))
        self.assertNotIn("evil", repr(seen.fields))
        self.assertEqual(seen.all("x-forwarded-for"), ["127.0.0.1"])

    def test_over_ipv6(self):
        with dial(self.port, "::1") as wire:
            wire.send(request_text("GET", "/", "f.tim.localhost")).answer()
        self.assertEqual(self.services["f"].requests[-1].get("x-forwarded-for"), "::1")
        self.assertIn('for="[::1]"', self.services["f"].requests[-1].get("forwarded"))


if __name__ == "__main__":
    main()
