"""Several clients, their clashes, and links that break: killed, frozen, restarted, drained; requests held meanwhile."""
import threading
import time

from tunnel import Case, dial, fetch, main, reply, request_text, wait_for

NAME_REFUSED, REPLACED, GAVE_UP = 6, 7, 9


class Clients(Case):
    def ask(self, server, service="o", user="tim", **options):
        return fetch(server.http, f"{service}.{user}.localhost", **options)

    def test_two_clients_of_a_user_with_different_services(self):
        a, b = self.origin("a"), self.origin("b")
        server = self.server("--hold", "0")
        self.client(server, "-u", "tim", f"a={a.port}")
        second = self.client(server, "-u", "tim", f"b={b.port}")
        self.assertEqual([self.ask(server, s).text for s in "ab"], ["a GET / 0", "b GET / 0"])
        second.stop()
        self.assertEqual(self.ask(server, "a").status, 200)
        self.assertEqual(self.ask(server, "b").status, 503)

    def test_stopping_waits_for_no_idle_visitor(self):
        o = self.origin("o")
        server = self.server("--hold", "0")
        client = self.client(server, "-u", "tim", f"o={o.port}")
        with dial(server.http) as idle:  # kept alive, and with it its connection to the service
            idle.send(request_text("GET", "/", "o.tim.localhost"))
            self.assertEqual(idle.answer().status, 200)
            start = time.monotonic()
            client.stop()
            self.assertLess(time.monotonic() - start, 5)  # 10 s is how long streams in use may take
            idle.send(request_text("GET", "/", "o.tim.localhost"))
            self.assertEqual(idle.answer().status, 503)

    def test_same_service_twice_is_refused_in_words(self):
        a, b = self.origin("a"), self.origin("b")
        server = self.server()
        self.client(server, "-u", "tim", f"o={a.port}")
        late = self.client(server, "-u", "tim", f"o={b.port}", wait=False, verbose=False)
        self.assertEqual(late.wait(), NAME_REFUSED, late.describe())
        self.assertIn("--replace", late.errors())
        self.assertEqual(self.ask(server).text, "a GET / 0")

    def test_newcomer_keeps_its_other_services(self):
        a, b = self.origin("a"), self.origin("b")
        server = self.server()
        self.client(server, "-u", "tim", f"o={a.port}")
        late = self.client(server, "-u", "tim", f"o={b.port}", f"p={b.port}", wait=False)
        self.await_status(server.http, "p.tim.localhost")
        self.assertEqual(self.ask(server).text, "a GET / 0")
        self.assertTrue(late.running())

    def test_replace(self):
        a, b = self.origin("a"), self.origin("b")
        server = self.server()
        loser = self.client(server, "-u", "tim", f"o={a.port}")
        self.client(server, "-u", "tim", "--replace", f"o={b.port}")
        self.assertEqual(self.ask(server).text, "b GET / 0")
        self.assertEqual(loser.wait(), REPLACED)

    def test_balance(self):
        origins = [self.origin(n) for n in "ab"]
        server = self.server("--clash", "balance")
        clients = [self.client(server, "-u", "tim", f"o={o.port}") for o in origins]
        seen = {self.ask(server).text[0] for _ in range(20)}
        self.assertEqual(seen, {"a", "b"})
        clients[0].stop()
        self.assertEqual({self.ask(server).text[0] for _ in range(5)}, {"b"})

    def test_leaving_removes_only_ones_own(self):
        a, b = self.origin("a"), self.origin("b")
        server = self.server()
        loser = self.client(server, "-u", "tim", f"o={a.port}")
        self.client(server, "-u", "tim", "--replace", f"o={b.port}")
        loser.wait()
        self.assertEqual(self.ask(server).text, "b GET / 0")

    def test_user_in_open_mode_is_who_they_say(self):
        a = self.origin("a")
        server = self.server()
        self.client(server, "-u", "tim", f"o={a.port}")
        self.client(server, "-i", "sue", f"o={a.port}")
        self.assertEqual([self.ask(server, user=u).status for u in ("tim", "sue")], [200, 200])


class Breaks(Case):
    def setUp(self):
        super().setUp()
        self.o = self.origin("o")

    def test_killed_and_restarted_at_once(self):
        """The new process is served although nobody said goodbye for the old one."""
        server = self.server()
        for _ in range(3):
            client = self.client(server, "-u", "tim", f"o={self.o.port}")
            self.assertEqual(fetch(server.http, "o.tim.localhost").status, 200)
            client.kill()

    def test_request_is_held_while_the_client_comes_back(self):
        server = self.server()
        self.client(server, "-u", "tim", f"o={self.o.port}").kill()
        answers = []
        visitors = [threading.Thread(target=lambda: answers.append(fetch(server.http, "o.tim.localhost", "/held").text)) for _ in range(5)]
        for visitor in visitors:
            visitor.start()
        time.sleep(0.2)
        self.assertEqual(answers, [])
        self.client(server, "-u", "tim", f"o={self.o.port}")
        for visitor in visitors:
            visitor.join(20)
        self.assertEqual(answers, ["o GET /held 0"] * 5)

    def test_hold_ends_in_503_after_its_time(self):
        server = self.server("--hold", "1")
        self.client(server, "-u", "tim", f"o={self.o.port}").kill()
        start = time.monotonic()
        self.assertEqual(fetch(server.http, "o.tim.localhost").status, 503)
        self.assertTrue(0.5 < time.monotonic() - start < 4)

    def test_no_hold_after_a_goodbye(self):
        server = self.server()
        self.client(server, "-u", "tim", f"o={self.o.port}").stop()
        wait_for(lambda: server_forgot_grace(server), "the first seconds' hold to pass", 10)
        start = time.monotonic()
        self.assertEqual(fetch(server.http, "o.tim.localhost").status, 503)
        self.assertLess(time.monotonic() - start, 1)

    def test_restarted_server_is_found_again(self):
        server = self.server()
        client = self.client(server, "-u", "tim", f"o={self.o.port}")
        ports = server.ports
        server.kill()
        again = self.server("--port", ports["http"], "--client-port", ports["clients"], ports=False)
        self.assertEqual(fetch(again.http, "o.tim.localhost").status, 200)  # held until the client is back
        self.assertTrue(client.running())

    def test_client_gives_up_only_when_told_to(self):
        server = self.server()
        client = self.client(server, "-u", "tim", "--max-attempts", "2", f"o={self.o.port}")
        server.kill()
        self.assertEqual(client.wait(), GAVE_UP)

    def test_frozen_client_is_noticed_and_thaws(self):
        config = self.write("server.json", {"timeouts": {"heartbeat": 1, "silence": 3}, "hold": 0})
        server = self.server("--config", config, "--state-dir", self.path("state"))
        client = self.client(server, "-u", "tim", "--heartbeat", "1", f"o={self.o.port}")
        client.freeze()
        self.await_status(server.http, "o.tim.localhost", 503)
        client.thaw()
        self.await_status(server.http, "o.tim.localhost", 200)

    def test_frozen_client_does_not_block_its_successor(self):
        server = self.server()
        frozen = self.client(server, "-u", "tim", f"o={self.o.port}")
        frozen.freeze()
        other = self.origin("other")
        start = time.monotonic()
        self.client(server, "-u", "tim", f"o={other.port}")
        self.assertLess(time.monotonic() - start, 6)
        self.assertEqual(fetch(server.http, "o.tim.localhost").text, "other GET / 0")
        frozen.thaw()
        time.sleep(0.5)
        self.assertEqual(fetch(server.http, "o.tim.localhost").text, "other GET / 0")

    def test_frozen_server_is_noticed_by_the_client(self):
        server = self.server()
        client = self.client(server, "-u", "tim", "--heartbeat", "1", f"o={self.o.port}")
        server.freeze()
        client.expect(r"(?i)(nothing was heard|did not answer)", "stderr")
        server.thaw()
        self.await_status(server.http, "o.tim.localhost", 200)


class LinkLost(Case):
    """What is under way when the client is gone ends visibly; nothing is passed off as whole."""

    def begin(self, sent):
        """A tunnel with one request under way, of whose answer `sent` has arrived at the visitor."""
        gate = threading.Event()
        self.addCleanup(gate.set)

        def raw(wire, origin):
            origin.requests.append(wire.head())
            wire.send(sent)
            gate.wait(20)
        origin = self.origin("o", raw=raw)
        server = self.server("--hold", "0")
        client = self.client(server, "-u", "tim", f"o={origin.port}")
        wire = dial(server.http)
        self.addCleanup(wire.close)
        wire.send(request_text("POST", "/", "o.tim.localhost", body=b"x"))
        wait_for(lambda: origin.requests, "the request at the origin")
        return client, wire

    def cut(self, sent):
        client, wire = self.begin(sent)
        wire.head()
        client.kill()
        return wire

    def test_before_the_answer_it_is_503_or_502(self):
        client, wire = self.begin("")
        client.kill()
        self.assertIn(wire.answer().status, (502, 503))

    def test_in_an_answer_with_a_length(self):
        with self.assertRaises((EOFError, ConnectionError)):
            self.cut("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this").exactly(100)

    def test_in_a_chunked_answer(self):
        wire = self.cut("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        with self.assertRaises((EOFError, ConnectionError)):
            while wire.chunk() is not None:
                pass

    def test_in_an_answer_that_ends_with_the_connection(self):
        client, wire = self.begin("HTTP/1.1 200 OK\r\n\r\nhalf")
        chunked = wire.head().get("transfer-encoding")
        client.kill()
        with self.assertRaises((EOFError, ConnectionError)):
            while wire.chunk() is not None if chunked else wire.rest() is None:
                pass


class Drain(Case):
    def slow(self):
        self.gate = threading.Event()
        self.addCleanup(self.gate.set)

        def handler(request, wire, origin):
            if request.target == "/slow":
                self.gate.wait(20)
            wire.send(reply(body="done"))
        return self.origin("o", handler)

    def begin(self, server, origin):
        wire = dial(server.http)
        self.addCleanup(wire.close)
        wire.send(request_text("GET", "/slow", "o.tim.localhost"))
        wait_for(lambda: origin.requests, "the request at the origin")
        return wire

    def test_server_finishes_what_it_began(self):
        origin = self.slow()
        server = self.server("--drain", "10")
        self.client(server, "-u", "tim", f"o={origin.port}")
        idle = dial(server.http)
        self.addCleanup(idle.close)
        idle.send(request_text("GET", "/", "o.tim.localhost")).answer()
        wire = self.begin(server, origin)
        server.signal(15)
        self.assertTrue(idle.ended())
        self.assertTrue(server.running())
        self.gate.set()
        answer = wire.answer()
        self.assertEqual((answer.text, answer.get("connection")), ("done", "close"))
        self.assertEqual(server.wait(5), 0)

    def test_drain_is_bounded(self):
        origin = self.slow()
        server = self.server("--drain", "1")
        self.client(server, "-u", "tim", f"o={origin.port}")
        self.begin(server, origin)
        start = time.monotonic()
        server.signal(15)
        self.assertEqual(server.wait(6), 0)
        self.assertLess(time.monotonic() - start, 4)

    def test_second_signal_ends_at_once(self):
        origin = self.slow()
        server = self.server("--drain", "30")
        self.client(server, "-u", "tim", f"o={origin.port}")
        self.begin(server, origin)
        server.signal(15)
        server.expect(r"(?i)drain|shutting down|stopping", "stderr")
        server.signal(15)
        server.wait(3)

    def test_client_finishes_what_it_began(self):
        origin = self.slow()
        server = self.server()
        client = self.client(server, "-u", "tim", f"o={origin.port}")
        wire = self.begin(server, origin)
        client.signal(15)
        self.gate.set()
        self.assertEqual(wire.answer().text, "done")
        self.assertEqual(client.wait(15), 0)


def server_forgot_grace(server):
    """True once an unknown user's name gets its 404 at once, that is, the first five seconds' hold is over."""
    start = time.monotonic()
    return fetch(server.http, "x.nobody-at-all.localhost").status == 404 and time.monotonic() - start < 0.5


if __name__ == "__main__":
    main()
