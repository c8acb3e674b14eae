"""Large bodies: whole, with flat memory; a visitor that stops reading stops nobody else."""
import hashlib
import os
import random
import socket
import threading
import time

from tunnel import SANITIZED, Origin, TunnelCase, dial, fetch, held_sockets, main, reply, request_text, wait_for

MIB = 1 << 20
BULK = 200 * MIB
ROOM_KIB = (96 if SANITIZED else 32) * 1024
BLOCK = os.urandom(MIB)


class Bulk(TunnelCase):
    @classmethod
    def origins(cls):
        def raw(wire, origin):
            while wire.buffer or wire.more():
                head = wire.head()
                if head.target.startswith("/down/"):
                    size = int(head.target[6:])
                    wire.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")
                    while size > 0:
                        wire.send(BLOCK[:min(size, MIB)])
                        size -= MIB
                elif head.method == "POST":
                    digest, size = hashlib.sha1(), 0
                    if head.get("content-length"):
                        left = int(head.get("content-length"))
                        while left:
                            data = wire.exactly(min(left, 256 * 1024))
                            digest.update(data)
                            left -= len(data)
                            size += len(data)
                    else:
                        while (data := wire.chunk()) is not None:
                            digest.update(data)
                            size += len(data)
                        wire.until(b"\r\n")
                    wire.send(reply(body=f"{size} {digest.hexdigest()}"))
                else:
                    wire.send(reply(body="small"))
        return {"bulk": Origin("bulk", raw=raw)}

    def memory(self):
        return self.tunnel.memory_kib(), self.link.memory_kib()

    def flat(self, before, peak):
        for name, was, most in zip(("server", "client"), before, peak):
            self.assertLess(most - was, ROOM_KIB, f"memory of the {name} grew from {was} to {most} KiB")

    def watch(self):
        """Starts sampling memory; the returned function ends it and gives the peaks."""
        stop, peak = threading.Event(), list(self.memory())

        def sample():
            while not stop.wait(0.05):
                peak[:] = [max(a, b) for a, b in zip(peak, self.memory())]
        thread = threading.Thread(target=sample)
        thread.start()

        def finish():
            stop.set()
            thread.join()
            return peak
        return finish

    def test_download_is_whole_and_memory_flat(self):
        before, finish = self.memory(), self.watch()
        with dial(self.port, patience=60) as wire:
            wire.send(request_text("GET", f"/down/{BULK}", "bulk.tim.localhost"))
            self.assertEqual(wire.head().get("content-length"), str(BULK))
            for _ in range(BULK // MIB):
                self.assertTrue(wire.exactly(MIB) == BLOCK, "bytes lost or changed")
        self.flat(before, finish())

    def test_upload_is_whole_and_memory_flat(self):
        before, finish = self.memory(), self.watch()
        digest = hashlib.sha1()
        with dial(self.port, patience=60) as wire:
            wire.send(f"POST /up HTTP/1.1\r\nHost: bulk.tim.localhost\r\nContent-Length: {BULK}\r\n\r\n")
            for _ in range(BULK // MIB):
                wire.send(BLOCK)
                digest.update(BLOCK)
            self.assertEqual(wire.answer().text, f"{BULK} {digest.hexdigest()}")
        self.flat(before, finish())

    def test_chunked_upload(self):
        with dial(self.port, patience=60) as wire:
            wire.send("POST /up HTTP/1.1\r\nHost: bulk.tim.localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(8):
                wire.send(f"{MIB:x}\r\n".encode() + BLOCK + b"\r\n")
            wire.send("0\r\n\r\n")
            self.assertEqual(wire.answer().text, f"{8 * MIB} {hashlib.sha1(BLOCK * 8).hexdigest()}")

    def test_a_reader_that_stopped_costs_its_window_and_stops_nobody(self):
        before = self.memory()
        stalled = []
        for _ in range(3):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", self.port))
            sock.sendall(request_text("GET", "/down/1000000000", "bulk.tim.localhost"))
            stalled.append(sock)
            self.addCleanup(sock.close)
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            start = time.monotonic()
            self.assertEqual(fetch(self.port, "bulk.tim.localhost", "/small").text, "small")
            self.assertLess(time.monotonic() - start, 2)
        self.flat(before, self.memory())

    def test_many_at_once_keep_their_own_bytes(self):
        """Kept-alive visitors with bodies of every size at once, some of which leave in the middle."""
        faults = []

        def visit(seed):
            chance = random.Random(seed)
            try:
                for _ in range(4):
                    with dial(self.port, patience=60) as wire:
                        for _ in range(chance.randrange(1, 6)):
                            body = chance.randbytes(chance.choice((0, 1, 700, 16376, 65536, 300000)))
                            wire.send(request_text("POST", "/up", "bulk.tim.localhost", body=body))
                            if wire.answer().text != f"{len(body)} {hashlib.sha1(body).hexdigest()}":
                                faults.append("an upload was changed")
                            size = chance.choice((1, 5000, 16376, 1000000))
                            wire.send(request_text("GET", f"/down/{size}", "bulk.tim.localhost"))
                            if chance.random() < 0.2:
                                wire.exactly(chance.randrange(1, 50))
                                wire.reset()
                                break
                            if wire.answer().body != BLOCK[:size]:
                                faults.append("a download was changed")
            except Exception as fault:  # told below, whatever it is
                faults.append(repr(fault))
        visitors = [threading.Thread(target=visit, args=(seed,)) for seed in range(40)]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join(60)
        self.assertEqual(faults, [])

    def test_aborted_downloads_leave_nothing(self):
        def settled():
            return fetch(self.port, "bulk.tim.localhost", "/small").text == "small" and len(self.services["bulk"].open) <= 1
        wait_for(settled, "a quiet start")
        ports = self.port, self.services["bulk"].port
        before = [held_sockets(port) for port in ports]
        for _ in range(100):
            with dial(self.port) as wire:
                wire.send(request_text("GET", "/down/10000000", "bulk.tim.localhost"))
                wire.exactly(1000)
                wire.reset()
        wait_for(lambda: all(held_sockets(port) <= count for port, count in zip(ports, before)),
                 lambda: f"sockets to go back to {before}: {[held_sockets(port) for port in ports]}")


if __name__ == "__main__":
    main()
