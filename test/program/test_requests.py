"""Requests and answers as raw bytes: what must be refused, closed and kept from every origin, and the exact bytes that an origin gets of what may
pass. Every table below goes through one server and two clients of two users to origins that record all they read."""
import json
import os
import time

from tunnel import Client, Origin, TunnelCase, dial, main, reply, wait_for

A, B = "a.tim.localhost", "b.sue.localhost"
NEXT = f"GET /smuggled HTTP/1.1\r\nHost: {B}\r\n\r\n".encode()
WEBSOCKET = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"


class Tap:
    """A socket that writes down what is read from it."""

    def __init__(self, sock, log):
        self.sock = sock
        self.log = log

    def recv(self, size):
        data = self.sock.recv(size)
        self.log.extend(data)
        return data

    def __getattr__(self, name):
        return getattr(self.sock, name)


class Recorder(Origin):
    """Each connection's bytes are in `logs`; what is answered is said by the target: /answer/NAME sends ANSWERS[NAME] as it is."""

    def __init__(self, name):
        self.logs = []
        super().__init__(name, raw=Recorder.record)

    @staticmethod
    def record(wire, self):
        log = bytearray()
        self.logs.append(log)
        wire.sock = Tap(wire.sock, log)
        while True:
            while not wire.buffer:
                if not wire.more():
                    return
            request = wire.head()
            early = request.target.startswith("/early")
            if not early and (request.get("expect") or "").lower() == "100-continue":
                wire.send("HTTP/1.1 100 Continue\r\n\r\n")
            if not early:
                wire.body(request)
            self.requests.append(request)
            if request.target.startswith("/answer/"):
                for part in ANSWERS[request.target[len("/answer/"):].replace("%20", " ")][0]:
                    if part == CLOSE:
                        return
                    if part == RESET:
                        wire.reset()
                        return
                    if part == PAUSE:
                        time.sleep(0.05)
                    else:
                        wire.send(part)
            else:
                if early and "hints" in request.target:
                    wire.send("HTTP/1.1 103 Early Hints\r\n\r\n")
                wire.send(reply("417 Expectation Failed" if early else "200 OK", f"{self.name} {request.method} {request.target} {len(request.body)}"))

    def seen(self, mark):
        mark = mark if isinstance(mark, bytes) else mark.encode()
        return [bytes(log) for log in list(self.logs) if mark in log]


CLOSE, RESET, PAUSE = object(), object(), object()

# ---- what must be refused ----
# Name: (request, with %T for the target and %H for the line of a good Host; the statuses that are right).
HEADS = {
    "length then chunked": (b"POST %T HTTP/1.1\r\n%HContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked then length": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", 400),
    "two lengths that differ": (b"POST %T HTTP/1.1\r\n%HContent-Length: 0\r\nContent-Length: 44\r\n\r\n", 400),
    "two lengths alike": (b"POST %T HTTP/1.1\r\n%HContent-Length: 0\r\ncontent-length: 0\r\n\r\n", 400),
    "length list": (b"POST %T HTTP/1.1\r\n%HContent-Length: 0, 0\r\n\r\n", 400),
    "length +": (b"POST %T HTTP/1.1\r\n%HContent-Length: +0\r\n\r\n", 400),
    "length -": (b"POST %T HTTP/1.1\r\n%HContent-Length: -1\r\n\r\n", 400),
    "length hexadecimal": (b"POST %T HTTP/1.1\r\n%HContent-Length: 0x0\r\n\r\n", 400),
    "length empty": (b"POST %T HTTP/1.1\r\n%HContent-Length:\r\n\r\n", 400),
    "length with a blank within": (b"POST %T HTTP/1.1\r\n%HContent-Length: 0 0\r\n\r\n", 400),
    "length with an underscore": (b"POST %T HTTP/1.1\r\n%HContent-Length: 1_0\r\n\r\n", 400),
    "length of 2^64": (b"POST %T HTTP/1.1\r\n%HContent-Length: 18446744073709551616\r\n\r\n", 400),
    "length of 2^64 - 1": (b"POST %T HTTP/1.1\r\n%HContent-Length: 18446744073709551615\r\n\r\n", 400),
    "length of 2^63": (b"POST %T HTTP/1.1\r\n%HContent-Length: 9223372036854775808\r\n\r\n", 400),
    "length of many digits": (b"POST %T HTTP/1.1\r\n%HContent-Length: " + b"0" * 400 + b"\r\n\r\n", 400),
    "coding xchunked": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "coding identity": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding: identity\r\n\r\n", (400, 501)),
    "coding gzip, chunked": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "coding chunked, chunked": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "coding chunked, identity": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", (400, 501)),
    "coding with a comma": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "coding with a parameter": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", (400, 501)),
    "coding quoted": (b'POST %T HTTP/1.1\r\n%HTransfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', (400, 501)),
    "coding empty": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding:\r\n\r\n", 400),
    "coding after a vertical tab": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "coding after a no-break space": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "coding before a NUL": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n", 400),
    "coding twice": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    "coding with a blank before the colon": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "coding with a tab before the colon": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding folded": (b"POST %T HTTP/1.1\r\n%HTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    "coding after a bare CR": (b"POST %T HTTP/1.1\r\n%HX: \rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding after a bare LF": (b"POST %T HTTP/1.1\r\n%HX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding on 1.0": (b"POST %T HTTP/1.0\r\n%HTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "folded length": (b"POST %T HTTP/1.1\r\n%HContent-Length:\r\n 44\r\n\r\n", 400),
    "folded host": (b"GET %T HTTP/1.1\r\nHost:\r\n " + A.encode() + b"\r\n\r\n", 400),
    "folded value": (b"GET %T HTTP/1.1\r\n%HX-A: 1\r\n\t2\r\n\r\n", 400),
    "a blank before the first field": (b"GET %T HTTP/1.1\r\n X: y\r\n%H\r\n", 400),
    "a line of one blank": (b"GET %T HTTP/1.1\r\n%H \r\n\r\n", 400),
    "bare LF for every line": (b"GET %T HTTP/1.1\n%H\n", 400),
    "bare LF at the end": (b"GET %T HTTP/1.1\r\n%H\n", 400),
    "CR CR LF": (b"GET %T HTTP/1.1\r\r\n%H\r\n", 400),
    "CR LF CR X": (b"GET %T HTTP/1.1\r\n%H\rX\r\n\r\n", 400),
    "bare CR in a value": (b"GET %T HTTP/1.1\r\n%HX-A: 1\rX-B: 2\r\n\r\n", 400),
    "NUL in a value": (b"GET %T HTTP/1.1\r\n%HX-A: a\0b\r\n\r\n", 400),
    "NUL in a name": (b"GET %T HTTP/1.1\r\n%HX\0A: b\r\n\r\n", 400),
    "NUL in the target": (b"GET %T\0 HTTP/1.1\r\n%H\r\n", 400),
    "ESC in a value": (b"GET %T HTTP/1.1\r\n%HX-A: \x1b[2J\r\n\r\n", 400),
    "DEL in a value": (b"GET %T HTTP/1.1\r\n%HX-A: \x7f\r\n\r\n", 400),
    "empty name": (b"GET %T HTTP/1.1\r\n%H: x\r\n\r\n", 400),
    "blank for a name": (b"GET %T HTTP/1.1\r\n%HX: y\r\n : x\r\n\r\n", 400),
    "blank before the colon": (b"GET %T HTTP/1.1\r\n%HX-A : x\r\n\r\n", 400),
    "no colon": (b"GET %T HTTP/1.1\r\n%HX-A\r\n\r\n", 400),
    "quote in a name": (b'GET %T HTTP/1.1\r\n%HX"A: x\r\n\r\n', 400),
    "non-ASCII name": (b"GET %T HTTP/1.1\r\n%HX\xe4: x\r\n\r\n", 400),
    "no host": (b"GET %T HTTP/1.1\r\nX-A: b\r\n\r\n", 400),
    "empty host": (b"GET %T HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "two hosts": (b"GET %T HTTP/1.1\r\n%HHost: " + B.encode() + b"\r\n\r\n", 400),
    "two hosts alike": (b"GET %T HTTP/1.1\r\n%H%H\r\n", 400),
    "host list": (b"GET %T HTTP/1.1\r\nHost: " + A.encode() + b", " + B.encode() + b"\r\n\r\n", 400),
    "host with a blank": (b"GET %T HTTP/1.1\r\nHost: " + A.encode() + b" " + B.encode() + b"\r\n\r\n", 400),
    "host with user information": (b"GET %T HTTP/1.1\r\nHost: " + B.encode() + b"@" + A.encode() + b"\r\n\r\n", 400),
    "host with a path": (b"GET %T HTTP/1.1\r\nHost: " + A.encode() + b"/x\r\n\r\n", 400),
    "host with a query": (b"GET %T HTTP/1.1\r\nHost: " + A.encode() + b"?x\r\n\r\n", 400),
    "host with a backslash": (b"GET %T HTTP/1.1\r\nHost: " + A.encode() + b"\\x\r\n\r\n", 400),
    "host with a port of letters": (b"GET %T HTTP/1.1\r\nHost: " + A.encode() + b":http\r\n\r\n", 400),
    "host with two ports": (b"GET %T HTTP/1.1\r\nHost: " + A.encode() + b":80:80\r\n\r\n", 400),
    "host with an endless port": (b"GET %T HTTP/1.1\r\nHost: " + A.encode() + b":000000080\r\n\r\n", 400),
    "host of a port only": (b"GET %T HTTP/1.1\r\nHost: :80\r\n\r\n", 400),
    "host bracket open": (b"GET %T HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
    "host with a tag": (b"GET %T HTTP/1.1\r\nHost: <b>." + A.encode() + b"\r\n\r\n", 400),
    "target of another host": (b"GET http://" + B.encode() + b"%T HTTP/1.1\r\n%H\r\n", 400),
    "target of a host with user information": (b"GET http://x@" + A.encode() + b"%T HTTP/1.1\r\n%H\r\n", 400),
    "target of another port": (b"GET http://" + A.encode() + b":81%T HTTP/1.1\r\n%H\r\n", 400),
    "absolute target, no host": (b"GET http://" + A.encode() + b"%T HTTP/1.1\r\n\r\n", 400),
    "target of another scheme": (b"GET ftp://" + A.encode() + b"%T HTTP/1.1\r\n%H\r\n", 400),
    "target without a slash": (b"GET index%T HTTP/1.1\r\n%H\r\n", 400),
    "target * of GET": (b"GET * HTTP/1.1\r\n%H\r\n", 400),
    "target with a blank": (b"GET %T x HTTP/1.1\r\n%H\r\n", 400),
    "target with a tab": (b"GET %T\tx HTTP/1.1\r\n%H\r\n", 400),
    "target with raw UTF-8": (b"GET %T\xc3\xa4 HTTP/1.1\r\n%H\r\n", 400),
    "no target": (b"GET HTTP/1.1\r\n%H\r\n", 400),
    "two blanks": (b"GET  %T HTTP/1.1\r\n%H\r\n", 400),
    "blank behind the version": (b"GET %T HTTP/1.1 \r\n%H\r\n", 400),
    "blank before the method": (b" GET %T HTTP/1.1\r\n%H\r\n", 400),
    "HTTP/0.9": (b"GET %T\r\n", 400),
    "HTTP/1.2": (b"GET %T HTTP/1.2\r\n%H\r\n", 505),
    "HTTP/2.0": (b"GET %T HTTP/2.0\r\n%H\r\n", 505),
    "HTTP/01.1": (b"GET %T HTTP/01.1\r\n%H\r\n", 400),
    "HTTP/1.10": (b"GET %T HTTP/1.10\r\n%H\r\n", 400),
    "http/1.1": (b"GET %T http/1.1\r\n%H\r\n", 400),
    "RTSP": (b"OPTIONS %T RTSP/1.0\r\n%H\r\n", 400),
    "ICE": (b"SOURCE %T ICE/1.0\r\n%H\r\n", 400),
    "preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
    "PRI as 1.1": (b"PRI %T HTTP/1.1\r\n%H\r\n", (400, 501)),
    "CONNECT": (b"CONNECT " + A.encode() + b":80 HTTP/1.1\r\nHost: " + A.encode() + b":80\r\n\r\n", (400, 405)),
    "CONNECT with a path": (b"CONNECT %T HTTP/1.1\r\n%H\r\n", (400, 405)),
    "unknown method": (b"SMUGGLE %T HTTP/1.1\r\n%H\r\n", 501),
    "method in small letters": (b"get %T HTTP/1.1\r\n%H\r\n", 501),
    "method of a thousand letters": (b"G" * 1000 + b" %T HTTP/1.1\r\n%H\r\n", (400, 501)),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "two Authorizations": (b"GET %T HTTP/1.1\r\n%HAuthorization: Basic YTpi\r\nAuthorization: Basic YzpkCg==\r\n\r\n", 400),
    "unknown expectation": (b"POST %T HTTP/1.1\r\n%HContent-Length: 3\r\nExpect: 200-ok\r\n\r\nabc", 417),
    "target of 9000 bytes": (b"GET %T" + b"x" * 9000 + b" HTTP/1.1\r\n%H\r\n", 414),
    "target without an end": (b"GET /" + b"x" * 40000, 414),
    "value of 33000 bytes": (b"GET %T HTTP/1.1\r\n%HX-A: " + b"x" * 33000 + b"\r\n\r\n", 431),
    "name of 33000 bytes": (b"GET %T HTTP/1.1\r\n%H" + b"x" * 33000, 431),
    "101 fields": (b"GET %T HTTP/1.1\r\n%H" + b"".join(b"X-%d: y\r\n" % i for i in range(100)) + b"\r\n", 431),
    "101 names in Connection": (b"GET %T HTTP/1.1\r\n%HConnection: " + b"x," * 101 + b"\r\n\r\n", 400),
    "Connection of 5000 bytes": (b"GET %T HTTP/1.1\r\n%HConnection: " + b"x" * 5000 + b"\r\n\r\n", 400),
    "blank lines": (b"\r\n" * 100 + b"GET %T HTTP/1.1\r\n%H\r\n", 400),
}

# The head is right and is on its way; the body breaks: the same answer, and the origin never sees the request's end.
BODIES = {
    "size that overflows 64 bits": (b"10000000000000001\r\nx\r\n0\r\n\r\n", 400),
    "size of 2^64 - 1": (b"ffffffffffffffff\r\nx\r\n0\r\n\r\n", 400),
    "size with a sign": (b"-1\r\nx\r\n0\r\n\r\n", 400),
    "size with 0x": (b"0x1\r\nx\r\n0\r\n\r\n", 400),
    "size with an underscore": (b"1_0\r\nx\r\n0\r\n\r\n", 400),
    "size after a blank": (b" 1\r\nx\r\n0\r\n\r\n", 400),
    "size before a blank": (b"1 \r\nx\r\n0\r\n\r\n", 400),
    "no size": (b"\r\nx\r\n0\r\n\r\n", 400),
    "extension without size": (b";a=b\r\nx\r\n0\r\n\r\n", 400),
    "seventeen digits": (b"00000000000000001\r\nx\r\n0\r\n\r\n", 400),
    "bare LF after the size": (b"1\nx\r\n0\r\n\r\n", 400),
    "bare CR after the size": (b"1\rXx\r\n0\r\n\r\n", 400),
    "bare LF after the data": (b"1\r\nx\n0\r\n\r\n", 400),
    "data longer than its size": (b"3\r\nabcdef\r\n0\r\n\r\n", 400),
    "XX after the data": (b"3\r\nabcXX0\r\n\r\n", 400),
    "bare LF in an extension": (b"1;a\nb\r\nx\r\n0\r\n\r\n", 400),
    "NUL in an extension": (b"1;a=\0\r\nx\r\n0\r\n\r\n", 400),
    "extension of 5000 bytes": (b"1;a=" + b"x" * 5000 + b"\r\nx\r\n0\r\n\r\n", 400),
    "extensions of 5000 bytes in all": (b"1;aaaaaaaaa\r\nx\r\n" * 500 + b"0\r\n\r\n", 400),
    "bare LF at the end": (b"0\r\n\n", 400),
    "bare CR at the end": (b"0\r\n\rX", 400),
    "folded trailer": (b"0\r\nX-A: 1\r\n 2\r\n\r\n", 400),
    "trailer that begins with a blank": (b"0\r\n X-A: 1\r\n\r\n", 400),
    "trailer without a name": (b"0\r\n: 1\r\n\r\n", 400),
    "trailer without a colon": (b"0\r\nX-A\r\n\r\n", 400),
    "NUL in a trailer": (b"0\r\nX-A: \0\r\n\r\n", 400),
    "bare LF in trailers": (b"0\r\nX-A: 1\nX-B: 2\r\n\r\n", 400),
    "trailers of 20000 bytes": (b"0\r\nX-A: " + b"x" * 20000 + b"\r\n\r\n", (400, 431)),
    "101 trailers": (b"0\r\n" + b"X-A: 1\r\n" * 101 + b"\r\n", (400, 431)),
}

# ---- what may pass, and how ----
# Name: (what the visitor sends for host A, what origin A reads). %F stands for our forwarding fields. %T as above.
PASSES = {
    "plain": ("GET %T?a=b%20c HTTP/1.1\r\nHost: {A}\r\nX-A:  b \t\r\n\r\n", "GET %T?a=b%20c HTTP/1.1\r\nHost: {A}\r\nX-A: b\r\n%F\r\n"),
    "empty value": ("GET %T HTTP/1.1\r\nHost: {A}\r\nX-A:\r\n\r\n", "GET %T HTTP/1.1\r\nHost: {A}\r\nX-A: \r\n%F\r\n"),
    "four blank lines first": ("\r\n\r\n\r\n\r\nGET %T HTTP/1.1\r\nHost: {A}\r\n\r\n", "GET %T HTTP/1.1\r\nHost: {A}\r\n%F\r\n"),
    "absolute target": ("GET HTTP://{A}%T HTTP/1.1\r\nHost: {A}\r\n\r\n", "GET %T HTTP/1.1\r\nHost: {A}\r\n%F\r\n"),
    "absolute target with a query only": ("GET http://{A}?q=%T HTTP/1.1\r\nHost: {A}\r\n\r\n", "GET /?q=%T HTTP/1.1\r\nHost: {A}\r\n%F\r\n"),
    "OPTIONS of the whole": ("OPTIONS http://{A} HTTP/1.1\r\nHost: {A}\r\nX-T: %T\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: {A}\r\nX-T: %T\r\n%F\r\n"),
    "length 0": ("POST %T HTTP/1.1\r\nHost: {A}\r\nContent-Length: 000\r\n\r\n", "POST %T HTTP/1.1\r\nHost: {A}\r\nContent-Length: 0\r\n%F\r\n"),
    "length with zeros": ("POST %T HTTP/1.1\r\nHost: {A}\r\nContent-Length: 0003\r\n\r\nabc", "POST %T HTTP/1.1\r\nHost: {A}\r\nContent-Length: 3\r\n%F\r\nabc"),
    "body of GET": ("GET %T HTTP/1.1\r\nHost: {A}\r\nContent-Length: 3\r\n\r\nabc", "GET %T HTTP/1.1\r\nHost: {A}\r\nContent-Length: 3\r\n%F\r\nabc"),
    "chunked": ("POST %T HTTP/1.1\r\nHost: {A}\r\nTransfer-Encoding: Chunked\r\n\r\n03;x=y\r\nabc\r\n0;z\r\n\r\n",
                "POST %T HTTP/1.1\r\nHost: {A}\r\nTransfer-Encoding: chunked\r\n%F\r\n3\r\nabc\r\n0\r\n\r\n"),
    "trailers": ("POST %T HTTP/1.1\r\nHost: {A}\r\nTrailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A:  1\r\nHost: {B}\r\nContent-Length: 9\r\n"
                 "Transfer-Encoding: x\r\nAuthorization: x\r\nX-Forwarded-For: 9.9.9.9\r\nX_Forwarded_For: 9.9.9.9\r\nX-Vouched-User: root\r\nx_vouched_user: root\r\n\r\n",
                 "POST %T HTTP/1.1\r\nHost: {A}\r\nTrailer: X-A\r\nTransfer-Encoding: chunked\r\n%F\r\n0\r\nX-A: 1\r\n\r\n"),
    "hop-by-hop": ("GET %T HTTP/1.1\r\nHost: {A}\r\nConnection: keep-alive, X-Hop , Host,Authorization,Cookie, X-Forwarded-For,Content-Length\r\nX-Hop: 1\r\nx-hop: 2\r\n"
                   "Keep-Alive: timeout=9\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\nProxy: http://x\r\nTE: gzip\r\nAuthorization: Basic YTpi\r\n"
                   "Cookie: a=1\r\nX-Kept: 1\r\n\r\n",
                   "GET %T HTTP/1.1\r\nHost: {A}\r\nAuthorization: Basic YTpi\r\nCookie: a=1\r\nX-Kept: 1\r\n%F\r\n"),
    "te: trailers": ("GET %T HTTP/1.1\r\nHost: {A}\r\nTE: deflate, trailers\r\nConnection: TE\r\n\r\n",
                     "GET %T HTTP/1.1\r\nHost: {A}\r\nTE: trailers\r\nConnection: TE\r\n%F\r\n"),
    "forwarding fields": ("GET %T HTTP/1.1\r\nHost: {A}\r\nX-Forwarded-For: 9.9.9.9\r\nx_forwarded_for: 9.9.9.9\r\nX-Forwarded_Proto: https\r\nX-FORWARDED-HOST: x\r\nX-Forwarded-Port: 1\r\n"
                          "X-Forwarded-Prefix: /x\r\nX_Forwarded_Server: x\r\nForwarded: for=9.9.9.9\r\nX-Real-IP: 9.9.9.9\r\nX_Real_IP: 9.9.9.9\r\nX-Real_IP: 9.9.9.9\r\nX-Kept: 1\r\n\r\n",
                          "GET %T HTTP/1.1\r\nHost: {A}\r\nX-Kept: 1\r\n%F\r\n"),
    "imitations": ("POST %T HTTP/1.1\r\nHost: {A}\r\nContent_Length: 44\r\nTransfer_Encoding: chunked\r\nX-Kept: 1\r\n\r\n",
                   "POST %T HTTP/1.1\r\nHost: {A}\r\nX-Kept: 1\r\n%F\r\n"),
    "fields of hooks": ("GET %T HTTP/1.1\r\nHost: {A}\r\nX-Vouched-User: root\r\nx_vouched-user: root\r\nX-Kept: 1\r\n\r\n", "GET %T HTTP/1.1\r\nHost: {A}\r\nX-Kept: 1\r\n%F\r\n"),
    "upgrade to h2c": ("GET %T HTTP/1.1\r\nHost: {A}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
                       "GET %T HTTP/1.1\r\nHost: {A}\r\n%F\r\n"),
    "upgrade to two": ("GET %T HTTP/1.1\r\nHost: {A}\r\n" + WEBSOCKET.replace("websocket\r\n", "websocket, h2c\r\n") + "\r\n",
                       "GET %T HTTP/1.1\r\nHost: {A}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%F\r\n"),
    "upgrade of POST": ("POST %T HTTP/1.1\r\nHost: {A}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", "POST %T HTTP/1.1\r\nHost: {A}\r\nContent-Length: 0\r\n%F\r\n"),
    "upgrade that Connection does not name": ("GET %T HTTP/1.1\r\nHost: {A}\r\nUpgrade: websocket\r\n\r\n", "GET %T HTTP/1.1\r\nHost: {A}\r\n%F\r\n"),
    "expectation of nothing": ("GET %T HTTP/1.1\r\nHost: {A}\r\nExpect: 100-continue\r\n\r\n", "GET %T HTTP/1.1\r\nHost: {A}\r\nExpect: 100-continue\r\n%F\r\n"),
    "100 fields": ("GET %T HTTP/1.1\r\nHost: {A}\r\n" + "X-A: y\r\n" * 99 + "\r\n", "GET %T HTTP/1.1\r\nHost: {A}\r\n" + "X-A: y\r\n" * 99 + "%F\r\n"),
    "head of 32 KiB": ("GET %T HTTP/1.1\r\nHost: {A}\r\nX-A: " + "y" * 32600 + "\r\n\r\n", "GET %T HTTP/1.1\r\nHost: {A}\r\nX-A: " + "y" * 32600 + "\r\n%F\r\n"),
}

HOSTS = ("A.TIM.LOCALHOST", "a.tim.localhost.", "a.tim.localhost:80", "a.tim.localhost.:8000", "a.tim.localhost:", "a--tim.localhost", "a.tim.example.com", "A--Tim.example.com:1")
STRANGE_HOSTS = ("__proto__.tim.localhost", "..tim.localhost", "a..tim.localhost", ".a.tim.localhost", "%00.tim.localhost", "%61.tim.localhost", "b\xfccher.tim.localhost", "[::1]", "[::1]:80",
                 "[fe80::1%25eth0]", "127.0.0.1", "0x7f.1", "-a.tim.localhost", "a-.tim.localhost", "a--b--tim.localhost", "xn--a--tim.localhost", "x" * 64 + ".tim.localhost",
                 "x" * 5000 + ".tim.localhost", "x." * 500 + "localhost", "a.tim.localhost..", "a_tim.localhost", "*.tim.localhost", "'.tim.localhost", "&lt;.tim.localhost", ".", "localhost.", "a$(x).tim.localhost")

# ---- what origins may say ----
# Name: (parts that the origin sends, method, status that the visitor sees, its body or None for an error that shows, does the connection go on?)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWERS = {
    "good": ([OK], "GET", 200, b"ok", True),
    "two answers at once": ([OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"], "GET", 200, b"ok", True),
    "two answers, late": ([OK, PAUSE, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"], "GET", 200, b"ok", True),
    "body behind HEAD": ([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"], "HEAD", 200, b"", True),
    "body behind HEAD, late": ([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", PAUSE, b"evil"], "HEAD", 200, b"", True),
    "chunked HEAD": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n"], "HEAD", 200, b"", True),
    "body behind 204": ([b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil"], "GET", 204, b"", True),
    "chunks behind 204": ([b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n"], "GET", 204, b"", True),
    "body behind 304": ([b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil"], "GET", 304, b"", True),
    "chunks behind 304": ([b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n"], "GET", 304, b"", True),
    "body longer than its length": ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokevil"], "GET", 200, b"ok", True),
    "bytes behind the last chunk": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nevil"], "GET", 200, b"ok", True),
    "length and chunked": ([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], "GET", 502, None, True),
    "two lengths": ([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 2\r\n\r\nevil"], "GET", 502, None, True),
    "length with a sign": ([b"HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nevil"], "GET", 502, None, True),
    "coding gzip": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nevil", CLOSE], "GET", 502, None, True),
    "coding on 1.0": ([b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n"], "GET", 502, None, True),
    "folded field": ([b"HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n"], "GET", 502, None, True),
    "bare LF": ([b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"], "GET", 502, None, True),
    "NUL": ([b"HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 0\r\n\r\n"], "GET", 502, None, True),
    "bare CR": ([b"HTTP/1.1 200 OK\r\nX-A: 1\rSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n"], "GET", 502, None, True),
    "blank before the colon": ([b"HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 0\r\n\r\n"], "GET", 502, None, True),
    "101 names in Connection": ([b"HTTP/1.1 200 OK\r\nConnection: " + b"x," * 101 + b"\r\nContent-Length: 4\r\n\r\nevil"], "GET", 502, None, True),
    "HTTP/2.0": ([b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"], "GET", 502, None, True),
    "status of 4 digits": ([b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"], "GET", 502, None, True),
    "status 099": ([b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"], "GET", 502, None, True),
    "no head": ([b"<html>evil</html>", CLOSE], "GET", 502, None, True),
    "blank line first": ([b"\r\n" + OK], "GET", 502, None, True),
    "a million 1xx": ([b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100 + OK], "GET", 502, None, True),
    "100 with a length": ([b"HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\nevil" + OK], "GET", 502, None, True),
    "101 unasked": ([b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nevil"], "GET", 502, None, True),
    "101 without its fields": ([b"HTTP/1.1 101 Switching Protocols\r\n\r\nevil"], "GET", 502, None, True),
    "head of a megabyte": ([b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * (1 << 20) + b"\r\n\r\n"], "GET", 502, None, True),
    "200 fields": ([b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 200 + b"\r\n"], "GET", 502, None, True),
    "silence, then the end": ([CLOSE], "POST", 502, None, True),
    "silence, then a reset": ([RESET], "POST", 502, None, True),
    "half a head": ([b"HTTP/1.1 200 OK\r\nX-A", CLOSE], "GET", 502, None, True),
    "100, then the end": ([b"HTTP/1.1 100 Continue\r\n\r\n", CLOSE], "POST", 502, None, True),
    "length, cut": ([b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nhalf", CLOSE], "GET", 200, None, False),
    "length, reset": ([b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nhalf", PAUSE, RESET], "GET", 200, None, False),
    "chunked, cut in a chunk": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", CLOSE], "GET", 200, None, False),
    "chunked, cut between chunks": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", CLOSE], "GET", 200, None, False),
    "chunked, cut in the end": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", CLOSE], "GET", 200, None, False),
    "chunked, cut in trailers": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX-A: 1\r\n", CLOSE], "GET", 200, None, False),
    "chunk size overflows": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n10000000000000004\r\nevil\r\n0\r\n\r\n"], "GET", 200, None, False),
    "chunk with a bare LF": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n4\nevil\r\n0\r\n\r\n"], "GET", 200, None, False),
    "folded trailer": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX-A: 1\r\n 2\r\n\r\n"], "GET", 200, None, False),
    "until the end": ([b"HTTP/1.1 200 OK\r\n\r\nok", CLOSE], "GET", 200, b"ok", True),
    "until a reset": ([b"HTTP/1.1 200 OK\r\n\r\nhalf", PAUSE, RESET], "GET", 200, None, False),
    "connection: close": ([b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", CLOSE], "GET", 200, b"ok", True),
    "1.0 with a length": ([b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", CLOSE], "GET", 200, b"ok", True),
    "byte by byte": ([bytes([c]) for c in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n1\r\no\r\n1;x\r\nk\r\n0\r\nX-A: 1\r\n\r\n"], "GET", 200, b"ok", True),
    "switched": ([b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"], "GET", 502, None, True),
    "switched elsewhere": ([b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nevil"], "GET", 502, None, True),
    "not switched": ([OK], "GET", 200, b"ok", True),
}


class Raw(TunnelCase):
    """One server, one client of tim with service a, one of sue with service b."""

    @classmethod
    def origins(cls):
        path = os.path.join(cls.home, "server.json")
        with open(path, "w") as f:
            json.dump({"timeouts": {"head": 2}, "auth-field": ["X-Vouched-User"]}, f)
        cls.server_args = ("--config", path, "--state-dir", os.path.join(cls.home, "state"), "--hold", "0")
        return {"a": Recorder("a")}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.a, cls.b = cls.services["a"], Recorder("b")
        cls.addClassCleanup(cls.b.stop)
        cls.shared(Client, cls.home, "-u", "sue", f"b={cls.b.port}", port=cls.tunnel.clients)

    def setUp(self):
        super().setUp()
        for origin in (self.a, self.b):
            origin.requests.clear()
            origin.logs.clear()

    def sendall(self, wire, data):
        """The other side may refuse and close before all of it is sent."""
        try:
            wire.send(data)
        except ConnectionError:
            pass
        return wire

    def only_answer(self, wire):
        """The one answer of a connection that then ends."""
        answer = wire.head()
        wire.body(answer)
        try:
            rest = wire.rest()
        except ConnectionError:
            rest = b""
        self.assertEqual(rest, b"", "bytes behind the last answer")
        return answer

    def nothing_else(self, *marks):
        """Neither origin has read any of the marks; what was on its way there has arrived."""
        for host, origin in ((A, self.a), (B, self.b)):
            with dial(self.port) as wire:
                self.assertEqual(wire.send(f"GET /ping HTTP/1.1\r\nHost: {host}\r\n\r\n").answer().text, f"{origin.name} GET /ping 0")
            for mark in marks:
                self.assertEqual(origin.seen(mark), [], f"origin {origin.name} read {mark}")

    def good_answer(self, wire, target="/next", host=B, name="b"):
        self.assertEqual(wire.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").answer().text, f"{name} GET {target} 0")

    # ---- refused ----
    def test_malformed_heads_are_refused_closed_and_reach_no_origin(self):
        for number, (name, (request, statuses)) in enumerate(HEADS.items()):
            with self.subTest(name), dial(self.port) as wire:
                raw = request.replace(b"%T", b"/head-%d" % number).replace(b"%H", f"Host: {A}\r\n".encode())
                answer = self.only_answer(self.sendall(wire, raw + NEXT))
                self.assertIn(answer.status, statuses if isinstance(statuses, tuple) else (statuses,))
                self.assertEqual(answer.get("connection"), "close")
                self.assertTrue(answer.get("proxy-status"), answer)
        self.nothing_else("/head-", "/smuggled")

    def test_malformed_heads_are_refused_byte_by_byte(self):
        names = ("chunked then length", "coding folded", "bare LF at the end", "CR LF CR X", "empty name", "folded host", "HTTP/1.2", "TLS")
        for number, name in enumerate(names):
            with self.subTest(name), dial(self.port) as wire:
                request, statuses = HEADS[name]
                for byte in request.replace(b"%T", b"/slow-%d" % number).replace(b"%H", f"Host: {A}\r\n".encode()):
                    self.sendall(wire, bytes([byte]))
                self.assertEqual(self.only_answer(wire).status, statuses)
        self.nothing_else("/slow-")

    def test_malformed_bodies_are_refused_and_their_requests_never_complete(self):
        for number, (name, (body, statuses)) in enumerate(BODIES.items()):
            with self.subTest(name), dial(self.port) as wire:
                self.sendall(wire, f"POST /body-{number} HTTP/1.1\r\nHost: {A}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body + NEXT)
                self.assertIn(self.only_answer(wire).status, statuses if isinstance(statuses, tuple) else (statuses,))
        self.nothing_else("/smuggled", "evil", "0\r\n\r\n")
        self.assertEqual([r for r in self.a.requests if r.method == "POST"], [])

    def test_body_of_one_byte_chunks_passes_and_is_bounded(self):
        count = 100000
        before = self.tunnel.memory_kib()
        with dial(self.port) as wire:
            wire.send(f"POST /flood HTTP/1.1\r\nHost: {A}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + b"1\r\nx\r\n" * count + b"0\r\n\r\n")
            self.assertEqual(wire.answer().text, f"a POST /flood {count}")
            self.good_answer(wire)
        self.assertLess(self.tunnel.memory_kib() - before, 16384)
        self.assertLess(len(self.a.seen("/flood")[0]), 2 * count, "small chunks are put together")

    def test_slow_head_is_408(self):
        parts = (("X-A: ",), ("X-A: " + "y" * 7000,), ("X-A: " + "y" * 3000, "y" * 3500), ("X-A: " + "y" * 3000, "y" * 3500, "y" * 9000))
        wires = [(dial(self.port), part) for part in parts]
        for wire, part in wires:
            self.addCleanup(wire.close)
            wire.send("GET /late/ HTTP/1.1\r\nAccept: text/html\r\n")
            for piece in part:
                self.nothing_else("/late/")  # the server has read the last piece, and others' bytes since
                wire.send(piece)
        self.nothing_else("/late/")
        for wire, _ in wires:
            answer = self.only_answer(wire)
            self.assertEqual(answer.status, 408)
            self.assertTrue(answer.get("content-type").startswith("text/html"), answer.fields)

    # ---- passed ----
    def test_what_passes_is_written_anew(self):
        for number, (name, (request, expected)) in enumerate(PASSES.items()):
            with self.subTest(name), dial(self.port) as wire:
                target = f"/pass-{number}/"
                forwarded = (f"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: {A}\r\nX-Forwarded-Port: {self.port}\r\n"
                             f'Forwarded: for=127.0.0.1;host="{A}";proto=http\r\n')
                request = request.replace("%T", target).replace("{A}", A).replace("{B}", B)
                expected = expected.replace("%T", target).replace("%F", forwarded).replace("{A}", A)
                self.assertEqual(wire.send(request).answer().status, 200)
                self.good_answer(wire)
                self.assertEqual([log.decode("latin-1") for log in self.a.seen(target)], [expected])

    def test_requests_of_two_tenants_in_one_packet(self):
        with dial(self.port) as wire:
            wire.send((f"POST /one HTTP/1.1\r\nHost: {A}\r\nContent-Length: {len(NEXT)}\r\n\r\n".encode() + NEXT +
                       f"POST /two HTTP/1.1\r\nHost: {B}\r\nTransfer-Encoding: chunked\r\n\r\n{len(NEXT):x}\r\n".encode() + NEXT + b"\r\n0\r\n\r\n" +
                       f"GET /three HTTP/1.1\r\nHost: {A}\r\n\r\nGET /four HTTP/1.1\r\nHost: {B}\r\nConnection: close\r\n\r\n".encode() + NEXT))
            self.assertEqual([wire.answer().text for _ in range(3)], [f"a POST /one {len(NEXT)}", f"b POST /two {len(NEXT)}", "a GET /three 0"])
            self.assertEqual(self.only_answer(wire).text, "b GET /four 0")
        self.assertEqual([r.target for r in self.a.requests + self.b.requests if r.target == "/smuggled"], [])

    def test_host_is_normalised_for_the_route_and_kept_for_the_origin(self):
        with dial(self.port) as wire:
            for host in HOSTS:
                with self.subTest(host):
                    self.good_answer(wire, "/host", host, "a")
                    self.assertEqual(self.a.requests[-1].all("host"), [host])

    def test_strange_hosts_reach_nobody(self):
        for host in STRANGE_HOSTS:
            with self.subTest(host), dial(self.port) as wire:
                answer = wire.send(f"GET /strange HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n").answer()
                self.assertIn(answer.status, (400, 404) if host not in ("[::1]", "[::1]:80", "127.0.0.1", "localhost.") else (200, 404))
        self.nothing_else("/strange")

    def test_http_1_0_without_host_reaches_nobody(self):
        with dial(self.port) as wire:
            self.assertIn(self.only_answer(wire.send("GET /strange HTTP/1.0\r\n\r\n")).status, (400, 404))
        self.nothing_else("/strange")

    def test_pages_reflect_nothing_unescaped(self):
        evil = "<script>alert(1)</script>\"'&"
        hosts = (A.replace("a.", "x."), "x.nobody.localhost", "nobody.localhost", "localhost", "'><b>.tim.localhost", "x&lt;.tim.localhost")
        for accept in ("text/html", "application/json", "text/plain", evil):
            for host in hosts:
                for method in ("GET", "POST"):
                    with self.subTest(accept=accept, host=host), dial(self.port) as wire:
                        wire.send(f"{method} /{evil} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nReferer: {evil}\r\nUser-Agent: {evil}\r\n\r\n")
                        answer = wire.answer()
                        self.assertGreaterEqual(answer.status, 400)
                        self.assertNotIn("<script", answer.text)
                        self.assertNotIn("alert(1)", repr(answer.fields) + answer.text)
                        self.assertNotIn("<b>.tim", answer.text)
                        self.assertEqual(answer.get("x-content-type-options"), "nosniff")
                        self.assertIn("default-src 'none'", answer.get("content-security-policy"))
                        if "json" in answer.get("content-type"):
                            json.loads(answer.text)

    # ---- upgrades ----
    def upgrade(self, wire, target):
        return wire.send(f"GET /answer/{target} HTTP/1.1\r\nHost: {A}\r\n{WEBSOCKET}\r\n")

    def test_raw_bytes_flow_only_after_the_origins_101(self):
        with dial(self.port) as wire:
            answer = self.upgrade(wire, "switched").head()
            self.assertEqual((answer.status, answer.get("upgrade")), (101, "websocket"))
            self.assertEqual(wire.exactly(5), b"hello")
            self.assertIn(b"Upgrade: websocket\r\n", self.a.seen("/answer/switched")[-1])

    def test_101_to_another_protocol_is_502(self):
        with dial(self.port) as wire:
            answer = self.upgrade(wire, "switched%20elsewhere").answer()
            self.assertEqual(answer.status, 502)
            self.assertNotIn("evil", answer.text)

    def test_connection_that_becomes_a_carrier_leaves_its_kept_upstreams(self):
        with dial(self.port) as wire:
            self.good_answer(wire, "/before", A, "a")
            self.good_answer(wire, "/before", B, "b")
            answer = wire.send(f"GET /.well-known/mdm-tunnel HTTP/1.1\r\nHost: localhost\r\n{WEBSOCKET}\r\n").head()
            self.assertEqual(answer.status, 101)
            wait_for(lambda: not self.a.open and not self.b.open, "the kept connections to end")
        self.nothing_else("/.well-known")

    def test_request_behind_an_upgrade_that_was_answered_200_goes_to_its_own_host(self):
        with dial(self.port) as wire:
            wire.send(f"GET /answer/not%20switched HTTP/1.1\r\nHost: {A}\r\n{WEBSOCKET}\r\n".encode() + NEXT)
            self.assertEqual(wire.answer().body, b"ok")
            self.assertEqual(wire.answer().text, "b GET /smuggled 0")
        self.assertEqual(self.a.seen("/smuggled"), [])

    # ---- expectations ----
    def test_early_final_answer_to_an_expectation_ends_the_connection(self):
        for target in ("/early", "/early-hints"):
            with self.subTest(target), dial(self.port) as wire:
                wire.send(f"POST {target} HTTP/1.1\r\nHost: {A}\r\nContent-Length: {len(NEXT)}\r\nExpect: 100-continue\r\n\r\n".encode())
                answer = wire.answer()
                self.assertEqual((answer.status, answer.get("connection")), (417, "close"))
                self.sendall(wire, NEXT)
                self.assertTrue(wire.ended())
        self.nothing_else("/smuggled")

    def test_next_request_after_a_body_that_was_expected(self):
        with dial(self.port) as wire:
            wire.send(f"POST /later HTTP/1.1\r\nHost: {A}\r\nContent-Length: {len(NEXT)}\r\nExpect: 100-Continue\r\n\r\n")
            self.assertEqual(wire.answer(interim=True).status, 100)
            self.assertEqual(wire.send(NEXT).answer().text, f"a POST /later {len(NEXT)}")
            self.good_answer(wire)
        self.nothing_else("GET /smuggled HTTP/1.1\r\nHost: b.sue.localhost\r\nX-Forwarded")

    # ---- origins ----
    def test_origins_faults_are_seen_and_reach_no_other_request(self):
        late = 0
        for name, (_, method, status, body, lives) in ANSWERS.items():
            with self.subTest(name), dial(self.port) as wire:
                length = "Content-Length: 0\r\n" if method == "POST" else ""
                wire.send(f"{method} /answer/{name.replace(' ', '%20')} HTTP/1.1\r\nHost: {A}\r\n{length}\r\n")
                try:
                    answer = wire.answer(method)
                    self.assertIsNotNone(body if status == 200 else b"", f"a clean end: {answer}")
                    self.assertEqual(answer.status, status)
                    if body is not None:
                        self.assertEqual(answer.body, body)
                    self.assertNotIn("evil", answer.text + repr(answer.fields))
                except (EOFError, ConnectionError):
                    self.assertFalse(lives, "the connection was cut")
                if name.endswith(", late"):
                    late += 1
                    self.tunnel.expect("bytes between two answers", "stderr", count=late)
                if lives:
                    for target, host, origin in (("/then", B, "b"), ("/same", A, "a")):
                        self.good_answer(wire, target, host, origin)

    def test_faults_are_named_in_the_log(self):
        for name, sentence in (("two lengths", "more than one Content-Length"), ("two answers at once", "bytes behind the answer"), ("body behind 204", "bytes behind the answer")):
            with self.subTest(name), dial(self.port) as wire:
                wire.send(f"GET /answer/{name.replace(' ', '%20')} HTTP/1.1\r\nHost: {A}\r\n\r\n").answer()
                self.tunnel.expect(sentence, "stderr")


if __name__ == "__main__":
    main()
