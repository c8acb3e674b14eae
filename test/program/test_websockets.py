"""WebSockets through the tunnel, and upgrades that must not be."""
import asyncio
import base64
import hashlib
import os

import websockets

from tunnel import Origin, TunnelCase, main, reply, request_text

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def upgrade_text(host, target="/", fields=(), method="GET", protocol="websocket"):
    return request_text(method, target, host, [("Connection", "Upgrade"), ("Upgrade", protocol), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", base64.b64encode(b"0123456789abcdef").decode()), *fields])


class Upgrades(TunnelCase):
    @classmethod
    def origins(cls):
        def raw(wire, origin):
            request = wire.request()
            while request is not None:
                origin.requests.append(request)
                if request.target == "/refuse" or request.get("upgrade") is None:
                    wire.send(reply(body=f"plain {request.target}"))
                    request = wire.request()
                    continue
                if request.target == "/403":
                    wire.send(reply("403 Forbidden", "no"))
                    request = wire.request()
                    continue
                protocol = "other" if request.target == "/other" else request.get("upgrade")
                accept = base64.b64encode(hashlib.sha1(request.get("sec-websocket-key", "").encode() + GUID).digest()).decode()
                wire.send(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")
                if request.target == "/speaks-first":
                    wire.send("hello from the origin")
                while True:  # raw echo: the server in between must not look into it
                    data = wire.buffer or wire.sock.recv(65536)
                    wire.buffer = b""
                    if not data:
                        break
                    wire.send(data)
                wire.send("bye")
                return
        return {"w": Origin("w", raw=raw)}

    HOST = "w.tim.localhost"

    def test_101_makes_the_connection_a_pipe_with_half_close(self):
        wire = self.wire()
        wire.send(upgrade_text(self.HOST) + b"\x00\xffno frames\r\n\r\n")
        head = wire.head()
        self.assertEqual((head.status, head.get("upgrade")), (101, "websocket"))
        self.assertTrue(head.get("sec-websocket-accept"))
        self.assertEqual(wire.exactly(15), b"\x00\xffno frames\r\n\r\n")
        blob = os.urandom(300000)
        wire.send(blob[:100])
        self.assertEqual(wire.exactly(100), blob[:100])
        self.assertEqual(wire.finish().rest(), b"bye")

    def test_origin_may_speak_first(self):
        wire = self.wire()
        wire.send(upgrade_text(self.HOST, "/speaks-first"))
        wire.head()
        self.assertEqual(wire.exactly(21), b"hello from the origin")

    def test_refused_upgrade_is_an_ordinary_answer_and_the_next_request_is_routed(self):
        wire = self.wire()
        wire.send(upgrade_text(self.HOST, "/refuse") + request_text("GET", "/", "x.no-such-user-here.localhost"))
        answer = wire.answer()
        self.assertEqual((answer.status, answer.text), (200, "plain /refuse"))
        self.assertEqual(wire.answer().status, 404)
        self.assertEqual(self.wire().send(upgrade_text(self.HOST, "/403")).answer().status, 403)

    def test_101_of_another_protocol_is_502(self):
        self.assertEqual(self.wire().send(upgrade_text(self.HOST, "/other")).answer().status, 502)

    def test_other_upgrades_never_reach_the_origin(self):
        for protocol in ("h2c", "foo", "websocket, h2c", "TLS/1.0"):
            with self.subTest(protocol):
                self.assertEqual(self.wire().send(upgrade_text(self.HOST, "/u", protocol=protocol)).answer().text, "plain /u")
                self.assertIsNone(self.services["w"].requests[-1].get("upgrade"))

    def test_upgrade_needs_get_http_1_1_and_no_body(self):
        self.wire().send(upgrade_text(self.HOST, "/p", method="POST", fields=[("Content-Length", "0")])).answer()
        self.assertIsNone(self.services["w"].requests[-1].get("upgrade"))

    def test_library_echo_of_many_sizes(self):
        """With the websockets library on both sides of the tunnel."""
        async def run():
            async def echo(socket, _path=None):
                async for message in socket:
                    await socket.send(message)
            async with websockets.serve(echo, "127.0.0.1", 0, max_size=None) as served:
                port = served.sockets[0].getsockname()[1]
                self.client(self.tunnel, "-u", "eve", f"echo={port}")
                async with websockets.connect(f"ws://echo.eve.localhost:{self.port}/chat", host="127.0.0.1", port=self.port, max_size=None) as socket:
                    for size in (0, 1, 125, 126, 65535, 65536, 3_000_000):
                        blob = os.urandom(size)
                        await socket.send(blob)
                        self.assertEqual(await asyncio.wait_for(socket.recv(), 20), blob)
                    pong = await socket.ping()
                    await asyncio.wait_for(pong, 10)
                    await socket.close(1000, "done")
                    self.assertEqual(socket.close_code, 1000)
        asyncio.run(run())


if __name__ == "__main__":
    main()
