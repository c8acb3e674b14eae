"""canary.py: answers that prove where they come from. Each request carries a token; the origin's answer names it and its body
is a stream of bytes that only this token yields. visit() reads an answer and says whether it is whole, visibly cut or
refused; anything else (bytes of another answer, a cut answer that looks whole, no end at all) raises Violation.

A target is /TOKEN/FRAMING/SIZE/PACE_MS: FRAMING is "length", "chunked" or "close" (ended by the connection's end); the body
of SIZE bytes leaves in pieces with a pause of PACE_MS after each. A body sent to the origin is answered by its hash.
"""
import hashlib
import itertools
import os
import ssl
import time

from tunnel import Origin, reply, request_text

PIECE = 4096
COUNT = itertools.count()
STRANGE = (ValueError, IndexError, UnicodeDecodeError)


class Violation(AssertionError):
    pass


def token(prefix="c"):
    """A name for one request that no other has."""
    return f"{prefix}-{os.getpid()}-{next(COUNT)}"


def pattern(name, size):
    """The first bytes of the name's own stream."""
    return hashlib.shake_128(name.encode()).digest(size)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def answer_upload(head, wire, service):
    hashed, size = hashlib.sha256(), 0
    if "chunked" in head.get("transfer-encoding", ""):
        while (data := wire.chunk()) is not None:
            hashed.update(data)
            size += len(data)
        wire.until(b"\r\n")
    else:
        left = int(head.get("content-length"))
        while left > 0:
            data = wire.exactly(min(left, 65536))
            hashed.update(data)
            size += len(data)
            left -= len(data)
    name = head.target.split("/")[1]
    wire.send(reply(body=f"{name} {size} {hashed.hexdigest()}", fields={"X-Canary": name, "X-Service": service}))


def answer_pattern(head, wire, service):
    """Returns whether the connection may be used again."""
    _, name, framing, size, pace = head.target.split("/")
    data = pattern(name, int(size))
    fields = [f"X-Canary: {name}", f"X-Service: {service}"]
    fields += {"length": [f"Content-Length: {size}"], "chunked": ["Transfer-Encoding: chunked"], "close": ["Connection: close"]}[framing]
    wire.send("HTTP/1.1 200 OK\r\n" + "\r\n".join(fields) + "\r\n\r\n")
    step = PIECE if int(pace) else 16 * PIECE
    for start in range(0, len(data), step):
        piece = data[start:start + step]
        wire.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if framing == "chunked" else piece)
        if int(pace):
            time.sleep(int(pace) / 1000)
    if framing == "chunked":
        wire.send("0\r\n\r\n")
    return framing != "close"


def canary_origin(service, **options):
    def raw(wire, origin):
        while wire.buffer or wire.more():
            head = wire.head()
            if head.get("upgrade"):
                wire.send(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Canary: {head.target.split('/')[1]}\r\nX-Service: {service}\r\n\r\n")
                while wire.buffer or wire.more():
                    data, wire.buffer = wire.buffer, b""
                    wire.send(data)
                return
            if head.method == "POST":
                answer_upload(head, wire, service)
            elif not answer_pattern(head, wire, service):
                return
    return Origin(service, raw=raw, **options)


class Visit:
    """One request and what became of it: kind is "complete", "refused" (an answer of the tunnel's own, with its status) or
    "cut" (a transport error that the visitor cannot overlook, in `error`). `received` counts while the answer arrives."""

    def __init__(self, host, service=None, size=2000, framing="length", pace=0, version="HTTP/1.1", name=None, body=None, chunked=False, fields=()):
        self.host = host
        self.service = service
        self.size = size
        self.framing = framing
        self.pace = pace
        self.version = version
        self.name = name or token()
        self.body = body
        self.chunked = chunked
        self.fields = list(fields)
        self.kind = None
        self.status = 0
        self.received = 0
        self.error = None
        self.reusable = False

    def __repr__(self):
        return f"<{self.host} {self.name} {self.framing} {self.received}/{self.size}: {self.kind} {self.status} {self.error or ''}>"

    def text(self):
        target = f"/{self.name}/{self.framing}/{self.size}/{self.pace}"
        if self.body is None:
            return request_text("GET", target, self.host, self.fields, version=self.version)
        if not self.chunked:
            return request_text("POST", target, self.host, self.fields, self.body)
        pieces = [self.body[i:i + 5000] for i in range(0, len(self.body), 5000)]
        return (request_text("POST", target, self.host, [*self.fields, ("Transfer-Encoding", "chunked")]) + b"".join(f"{len(p):x}\r\n".encode() + p + b"\r\n" for p in pieces) + b"0\r\n\r\n")

    def run(self, wire):
        """Sends the request on this connection and reads its answer. Returns itself."""
        try:
            self.read(wire.send(self.text()))
        except (EOFError, ConnectionError, ssl.SSLError, BrokenPipeError) as error:
            self.kind, self.error = "cut", repr(error)[:200]
        except TimeoutError as error:
            raise Violation(f"no end and no error: {self}") from error
        except STRANGE as error:
            raise Violation(f"not HTTP: {error!r} in {self}") from error
        return self

    def read(self, wire):
        head = wire.head()
        self.status = head.status
        own = (head.get("x-canary"), head.get("x-service"))
        if own == (None, None):
            wire.body(head, close_delimited=True)
            if self.status == 200:
                raise Violation(f"200 without the canary: {self} {head}")
            self.kind = "refused"
        elif own[0] != self.name or (self.service and own[1] != self.service):
            raise Violation(f"answer of another: {own} for {self}")
        elif self.body is not None:
            wire.body(head)
            if head.text != f"{self.name} {len(self.body)} {digest(self.body)}":
                raise Violation(f"upload changed: {head.text} for {self}, sent {len(self.body)} {digest(self.body)}")
            self.kind = "complete"
        else:
            self.read_pattern(head, wire)
        self.reusable = (head.get("connection") or "").lower() != "close" and self.version == "HTTP/1.1"

    def read_pattern(self, head, wire):
        expected = memoryview(pattern(self.name, self.size))
        if "chunked" in (head.get("transfer-encoding") or ""):
            while (data := wire.chunk()) is not None:
                self.take(data, expected)
            wire.until(b"\r\n")
        elif head.get("content-length") is not None:
            if int(head.get("content-length")) != self.size:
                raise Violation(f"length {head.get('content-length')} for {self}")
            while self.received < self.size:
                if not wire.buffer and not wire.more():
                    raise EOFError(f"{self.size - self.received} bytes early")
                data = wire.exactly(min(len(wire.buffer), self.size - self.received))
                self.take(data, expected)
        else:
            while wire.buffer or wire.more():
                data, wire.buffer = wire.buffer, b""
                self.take(data, expected)
        if self.received != self.size:
            raise Violation(f"looks whole and is not: {self}")
        self.kind = "complete"

    def take(self, data, expected):
        if expected[self.received:self.received + len(data)] != data:
            raise Violation(f"bytes of another answer, or changed, after {self.received}: {self}")
        self.received += len(data)
