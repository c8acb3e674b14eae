"""Faults while others are served: services that misbehave in every way at once, programs killed and started again, descriptors that
run out in running programs, thousands of broken streams. What is left afterwards is what was there before."""
import os
import random
import resource
import socket
import threading
import time

from tunnel import SANITIZED, Case, Origin, TunnelCase, dial, fetch, free_port, main, reply, request_text, wait_for

SLOW = 8 if SANITIZED else 1      # how much longer things may take
ROOM_KIB = (96 if SANITIZED else 12) * 1024


class BadServices(TunnelCase):
    @classmethod
    def origins(cls):
        cls.release = threading.Event()
        cls.addClassCleanup(cls.release.set)

        def bad(wire, origin):
            head = wire.head()
            how = head.target.strip("/").split("?")[0]
            if how == "dies-in-body":
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + "x" * 5000)
                wire.reset()
            elif how == "dies-in-chunk":
                wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" + "x" * 100)
            elif how == "dies-in-head":
                wire.send("HTTP/1.1 200 OK\r\nContent-Le")
            elif how == "dies-at-once":
                wire.reset()
            elif how == "half-closes":
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhalf").finish()
                wire.sock.recv(1)                     # goes on reading until the other half is closed
            elif how == "half-closes-unsaid":
                wire.finish()
                wire.sock.recv(1)
            elif how == "garbage":
                wire.send(random.Random(head.target).randbytes(3000))
            elif how == "nothing":
                cls.release.wait(60)

        def kept_once(wire, origin):                  # says nothing of closing, and closes
            wire.request()
            wire.send(reply(body="kept"))
        return {"bad": Origin("bad", raw=bad), "once": Origin("once", raw=kept_once), "good": Origin("good")}

    FAULTS = ("dies-in-body", "dies-in-chunk", "dies-in-head", "dies-at-once", "half-closes", "half-closes-unsaid", "garbage")

    def visit_bad(self, how):
        """The status, or None for an answer that is cut and seen to be."""
        with dial(self.port) as wire:
            wire.send(request_text("POST", "/" + how, "bad.tim.localhost", body=b"abc"))
            head = wire.head()
            try:
                wire.body(head, close_delimited=True)
            except (EOFError, ConnectionError):
                return None
            return head.status

    def test_each_fault_is_told_and_no_answer_passes_for_whole(self):
        expected = {"dies-in-body": None, "dies-in-chunk": None, "half-closes": 200}
        for how in self.FAULTS:
            with self.subTest(how):
                self.assertEqual(self.visit_bad(how), expected.get(how, 502))

    def test_garbage_is_never_an_answer(self):
        for seed in range(60):
            self.assertEqual(self.visit_bad(f"garbage?{seed}"), 502)

    def test_kept_connections_that_close_cost_no_visitor_an_answer(self):
        wire = self.wire()
        for _ in range(100):
            self.assertEqual(wire.send(request_text("GET", "/", "once.tim.localhost")).answer().text, "kept")

    def test_a_good_service_does_not_notice_a_bad_one(self):
        stop, wrong = threading.Event(), []

        def visitor(number):
            choose = random.Random(number)
            while not stop.is_set():
                how = choose.choice(self.FAULTS)
                try:
                    self.visit_bad(how)
                except Exception as fault:
                    wrong.append((how, repr(fault)))
                    return
        waiting = [dial(self.port) for _ in range(20)]
        for wire in waiting:
            self.addCleanup(wire.close)
            wire.send(request_text("GET", "/nothing", "bad.tim.localhost"))
        threads = [threading.Thread(target=visitor, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        wire, slowest = self.wire(), 0
        for _ in range(150):
            start = time.monotonic()
            answer = wire.send(request_text("GET", "/", "good.tim.localhost")).answer()
            slowest = max(slowest, time.monotonic() - start)
            self.assertEqual(answer.text, "good GET / 0")
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertLess(slowest, 1 * SLOW)


class Silence(Case):
    def test_a_service_that_never_answers_is_504_after_its_own_time(self):
        release = threading.Event()
        self.addCleanup(release.set)
        silent = self.origin("silent", raw=lambda wire, origin: release.wait(60))
        good = self.origin("good")
        server = self.server()
        services = self.write("services.json", {"silent": {"port": silent.port, "timeout": 1}, "good": good.port})
        self.client(server, "-u", "tim", "--config", services, wait=False)
        self.await_status(server.http, "good.tim.localhost")
        with dial(server.http) as wire:
            start = time.monotonic()
            wire.send(request_text("GET", "/", "silent.tim.localhost"))
            self.assertEqual(fetch(server.http, "good.tim.localhost").status, 200)
            self.assertEqual(wire.answer().status, 504)
            self.assertLess(time.monotonic() - start, 1 + 2 * SLOW)
            self.assertGreaterEqual(time.monotonic() - start, 0.9)
            self.assertEqual(wire.send(request_text("GET", "/", "good.tim.localhost")).answer().status, 200)


class Killed(Case):
    def endless(self, wire, origin):
        head = wire.head()
        if head.target == "/endless":
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            while True:
                wire.send(b"x" * 65536)
        wire.send(reply(body="fine", fields=[("Connection", "close")]))

    def serving(self, port):
        try:
            return fetch(port, "o.tim.localhost", patience=2 * SLOW).text == "fine"
        except (OSError, EOFError):
            return False

    def test_server_killed_in_the_middle_of_answers_and_started_again(self):
        o = self.origin("o", raw=self.endless)
        http, clients = str(free_port()), str(free_port())
        args = ("-p", http, "-c", clients)
        server = self.server(*args, ports=False)
        client = self.client(server, "-u", "tim", f"o={o.port}")
        for _ in range(2):
            visitors = [dial(int(http)) for _ in range(5)]
            for wire in visitors:
                self.addCleanup(wire.close)
                wire.send(request_text("GET", "/endless", "o.tim.localhost")).exactly(100000)
            server.kill()
            for wire in visitors:
                with self.assertRaises((EOFError, ConnectionError)):
                    wire.exactly(1000000000)
            server = self.server(*args, ports=False)
            start = time.monotonic()
            wait_for(lambda: self.serving(int(http)), lambda: "the service to come back: " + client.describe())
            self.assertLess(time.monotonic() - start, 2 + SLOW)   # the client's first attempts are under a second apart
            wait_for(lambda: not o.open, "the origin's connections to be closed")
        self.assertTrue(client.running())

    def test_client_killed_in_the_middle_of_answers_and_started_again(self):
        o = self.origin("o", raw=self.endless)
        server = self.server()
        before = None
        for _ in range(3):
            client = self.client(server, "-u", "tim", f"o={o.port}", wait=False)
            start = time.monotonic()
            wait_for(lambda: self.serving(server.http), lambda: "the first answer: " + client.describe())
            self.assertLess(time.monotonic() - start, 1 * SLOW)
            before = before or server.descriptors()
            visitors = [dial(server.http) for _ in range(5)]
            for wire in visitors:
                self.addCleanup(wire.close)
                wire.send(request_text("GET", "/endless", "o.tim.localhost")).exactly(100000)
            client.kill()
            for wire in visitors:
                with self.assertRaises((EOFError, ConnectionError)):
                    wire.exactly(1000000000)
        wait_for(lambda: server.descriptors() < before, lambda: f"fewer than {before} descriptors: {server.descriptors()}")


class Descriptors(Case):
    """RLIMIT_NOFILE of a program that runs is lowered to what it has now, and raised again."""

    def limit(self, process, number):
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (number, resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[1]))

    def idle_s(self, process, seconds):
        def used():
            with open(f"/proc/{process.pid}/stat") as f:
                cells = f.read().rsplit(")", 1)[1].split()
            return (int(cells[11]) + int(cells[12])) / os.sysconf("SC_CLK_TCK")
        before = used()
        time.sleep(seconds)
        return used() - before

    def test_server_without_descriptors_serves_whom_it_has_and_recovers(self):
        o = self.origin("o")
        server = self.server()
        client = self.client(server, "-u", "tim", f"o={o.port}")
        kept = dial(server.http)
        self.addCleanup(kept.close)
        self.assertEqual(kept.send(request_text("GET", "/", "o.tim.localhost")).answer().status, 200)
        before = server.descriptors()
        usual = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0]
        self.limit(server, max(int(fd) for fd in os.listdir(f"/proc/{server.pid}/fd")) + 1)
        strangers = []
        for _ in range(20):
            try:
                strangers.append(dial(server.http))
                self.addCleanup(strangers[-1].close)
                strangers[-1].send(request_text("GET", "/", "o.tim.localhost"))
            except OSError:
                pass                                  # refused at once
        self.assertLess(self.idle_s(server, 0.5), 0.25)
        for _ in range(20):
            self.assertEqual(kept.send(request_text("GET", "/", "o.tim.localhost")).answer().status, 200)
        self.limit(server, usual)
        self.await_open(server)
        for wire in strangers:
            wire.close()
        wait_for(lambda: server.descriptors() <= before + 1, lambda: f"descriptors back to {before}: {server.descriptors()}")
        self.assertEqual(len(client.expect(r"http://o\.tim\.localhost", "stdout")), 1)   # its link was never lost

    def await_open(self, server):
        def again():
            try:
                return fetch(server.http, "o.tim.localhost", patience=5).status == 200
            except (OSError, EOFError):
                return False
        wait_for(again, "descriptors to come back")

    def test_client_without_descriptors_says_so_and_recovers(self):
        o = self.origin("o")
        server = self.server()
        client = self.client(server, "-u", "tim", f"o={o.port}")
        self.assertEqual(fetch(server.http, "o.tim.localhost").status, 200)
        wait_for(lambda: not o.open, "the origin to be left")
        usual = resource.prlimit(client.pid, resource.RLIMIT_NOFILE)[0]
        self.limit(client, max(int(fd) for fd in os.listdir(f"/proc/{client.pid}/fd")) + 1)
        statuses = [fetch(server.http, "o.tim.localhost").status for _ in range(10)]
        self.assertTrue(all(status in (200, 502, 503) for status in statuses), statuses)
        self.limit(client, 3)
        self.assertIn(fetch(server.http, "o.tim.localhost").status, (502, 503))
        self.limit(client, usual)
        self.await_status(server.http, "o.tim.localhost")


class Broken(TunnelCase):
    @classmethod
    def origins(cls):
        def raw(wire, origin):
            head = wire.head()
            if head.target.startswith("/down"):
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
                for _ in range(160):
                    wire.send(b"x" * 65536)
            else:
                wire.send(reply(body="fine", fields=[("Connection", "close")]))
        return {"o": Origin("o", raw=raw)}

    def measure(self):
        return self.tunnel.descriptors(), self.link.descriptors(), self.tunnel.memory_kib(), self.link.memory_kib()

    def nothing_left(self, warm_up, work):
        """After `work` as few descriptors as after `warm_up`, and about the memory."""
        warm_up()
        self.quiet()
        before = self.measure()
        work()
        self.quiet()
        wait_for(lambda: self.tunnel.descriptors() <= before[0] + 1 and self.link.descriptors() <= before[1] + 1,
                 lambda: f"descriptors to return to {before}: {self.measure()}")
        after = self.measure()
        for name, i in (("server", 2), ("client", 3)):
            self.assertLess(after[i] - before[i], ROOM_KIB, f"memory of the {name} went from {before[i]} to {after[i]} KiB")

    def quiet(self):
        wait_for(lambda: self.visit("o").text == "fine" and not self.services["o"].open, "the origin to be left")

    def test_thousands_of_streams_opened_and_reset(self):
        def reset(count):
            for _ in range(count // 20):
                wires = [dial(self.port) for _ in range(20)]
                for n, wire in enumerate(wires):
                    wire.send(request_text("GET", "/down" if n % 2 else "/", "o.tim.localhost"))
                for wire in wires:
                    wire.reset()
        self.nothing_left(lambda: reset(200), lambda: reset(2000))

    def test_a_thousand_aborted_downloads(self):
        def abort(count):
            for _ in range(count // 10):
                wires = [dial(self.port) for _ in range(10)]
                for wire in wires:
                    wire.send(request_text("GET", "/down", "o.tim.localhost"))
                for n, wire in enumerate(wires):
                    wire.exactly(20000)
                    if n % 2:
                        wire.reset()
                    else:
                        wire.close()
        self.nothing_left(lambda: abort(100), lambda: abort(1000))


if __name__ == "__main__":
    main()
