"""In front of the server: trusted proxies and the PROXY protocol, versions 1 and 2. In front of a service: PROXY protocol sent by the client."""
import socket
import struct

from tunnel import Case, TunnelCase, Origin, dial, fetch, main, reply, request_text

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def proxy_v2(source, destination, source_port=40000, destination_port=443, command=1):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, destination) + struct.pack("!HH", source_port, destination_port)
    if command == 0:
        return SIGNATURE + bytes([0x20, 0]) + struct.pack("!H", 0)
    return SIGNATURE + bytes([0x20 | command, 0x21 if family == socket.AF_INET6 else 0x11]) + struct.pack("!H", len(addresses)) + addresses


class TrustedProxy(TunnelCase):
    server_args = ("--trusted-proxy", "127.0.0.1/32")

    @classmethod
    def origins(cls):
        return {"o": Origin("o")}

    def test_its_fields_are_believed(self):
        self.visit("o", fields=[("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "shop.example")])
        seen = self.services["o"].requests[-1]
        self.assertTrue(seen.get("x-forwarded-for").startswith("198.51.100.7"), seen)
        self.assertEqual(seen.get("x-forwarded-proto"), "https")

    def test_only_from_its_address(self):
        fetch(self.port, "o.tim.localhost", fields=[("X-Forwarded-For", "198.51.100.7")], address="::1")
        self.assertEqual(self.services["o"].requests[-1].all("x-forwarded-for"), ["::1"])

    def test_chain_is_read_from_the_right(self):
        self.visit("o", fields=[("X-Forwarded-For", "6.6.6.6, 198.51.100.7, 127.0.0.1")])
        self.assertIn("198.51.100.7", self.services["o"].requests[-1].get("x-forwarded-for"))


class ProxyProtocolIn(TunnelCase):
    server_args = ("--trusted-proxy", "127.0.0.1/32", "--proxy-protocol")

    @classmethod
    def origins(cls):
        return {"o": Origin("o")}

    def through(self, header, address="127.0.0.1"):
        wire = dial(self.port, address)
        self.addCleanup(wire.close)
        return wire.send(header + request_text("GET", "/", "o.tim.localhost"))

    def visitor(self):
        return self.services["o"].requests[-1].get("x-forwarded-for")

    def test_version_1(self):
        self.through(b"PROXY TCP4 198.51.100.7 203.0.113.1 40000 443\r\n").answer()
        self.assertEqual(self.visitor(), "198.51.100.7")
        self.through(b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n").answer()
        self.assertEqual(self.visitor(), "2001:db8::7")
        self.through(b"PROXY UNKNOWN\r\n").answer()
        self.assertEqual(self.visitor(), "127.0.0.1")

    def test_version_2(self):
        self.through(proxy_v2("198.51.100.8", "203.0.113.1")).answer()
        self.assertEqual(self.visitor(), "198.51.100.8")
        self.through(proxy_v2("2001:db8::8", "2001:db8::1")).answer()
        self.assertEqual(self.visitor(), "2001:db8::8")
        self.through(proxy_v2("198.51.100.8", "203.0.113.1", command=0)).answer()
        self.assertEqual(self.visitor(), "127.0.0.1")

    def test_header_in_pieces(self):
        wire = dial(self.port)
        self.addCleanup(wire.close)
        for byte in proxy_v2("198.51.100.9", "203.0.113.1"):
            wire.send(bytes([byte]))
        wire.send(request_text("GET", "/", "o.tim.localhost")).answer()
        self.assertEqual(self.visitor(), "198.51.100.9")

    def test_required_from_a_trusted_proxy(self):
        for header in (b"", b"PROXY TCP4 nonsense\r\n", b"PROXY TCP4 198.51.100.7 203.0.113.1 40000\r\n", SIGNATURE + b"\x31\x11\0\0"):
            with self.subTest(header):
                wire = self.through(header)
                try:
                    self.assertEqual(wire.answer().status, 400)
                except (EOFError, ConnectionError):
                    pass
        self.assertEqual(self.services["o"].requests, [])

    def test_taken_from_nobody_else(self):
        wire = self.through(b"PROXY TCP4 198.51.100.7 203.0.113.1 40000 443\r\n", "::1")
        self.assertEqual(wire.answer().status, 400)
        self.assertEqual(fetch(self.port, "o.tim.localhost", address="::1").status, 200)


class ProxyProtocolOut(Case):
    def test_the_service_is_told_by_the_client(self):
        seen = []

        def raw(wire, origin):
            if not wire.more():
                return
            if wire.buffer.startswith(b"PROXY "):
                seen.append(wire.until(b"\r\n"))
            else:
                head = wire.exactly(16)
                seen.append(head + wire.exactly(struct.unpack("!H", head[14:])[0]))
            wire.request()
            wire.send(reply(body="ok"))
        origin = self.origin("o", raw=raw)
        services = self.write(".tunnel-services.json", {"one": {"port": origin.port, "proxy_protocol": 1}, "two": {"port": origin.port, "proxy_protocol": 2}})
        server = self.server()
        self.client(server, "-u", "tim", "-c", services, wait=False)
        self.await_status(server.http, "one.tim.localhost")
        self.assertRegex(seen[-1], rb"^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+$")
        self.await_status(server.http, "two.tim.localhost")
        self.assertEqual(seen[-1][:14], SIGNATURE + b"\x21\x11")
        self.assertEqual(seen[-1][16:20], b"\x7f\0\0\1")


if __name__ == "__main__":
    main()
