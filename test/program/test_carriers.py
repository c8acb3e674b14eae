"""Ways from the client to the server: TLS on its own port, by ALPN on the public TLS port, as a WebSocket, through an HTTP proxy that
wants a password, a list of servers, only one port open."""
import base64
import select
import socket
import ssl
import threading

from tunnel import SERVER, Case, Wire, dial, fetch, free_port, main, request_text, tls_server


class HttpProxy:
    """An HTTP proxy that knows CONNECT and one password."""

    def __init__(self, credentials):
        self.expected = "Basic " + base64.b64encode(credentials.encode()).decode() if credentials else None
        self.targets, self.refused = [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(sock)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            wire = Wire(sock)
            head = wire.head()
            if self.expected and head.get("proxy-authorization") != self.expected:
                self.refused += 1
                wire.send("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"test\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").finish()
                return
            host, port = head.target.rsplit(":", 1)
            other = socket.create_connection((host.strip("[]"), int(port)), 5)
            self.open.append(other)
            self.targets.append(head.target)
            wire.send("HTTP/1.1 200 Connection established\r\n\r\n")
            other.sendall(wire.buffer)
            pair = {sock: other, other: sock}
            while pair:
                for ready in select.select(list(pair), [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    pair[ready].sendall(data)
        except (OSError, EOFError, ValueError):
            pass
        finally:
            sock.close()

    def stop(self):
        self.listener.close()
        for sock in self.open:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Carriers(Case):
    def setUp(self):
        super().setUp()
        self.o = self.origin("o")

    def works(self, server):
        self.assertEqual(fetch(server.http, "o.tim.localhost", "/", "POST", body=b"x" * 100000).text, "o POST / 100000")

    def https_server(self, *args):
        crt, key = self.certificate("wild", "*.tim.localhost", "tunnel.localhost", "localhost", "127.0.0.1")
        return self.server("--https-port", "0", "--tls-cert", crt, "--tls-key", key, *args)

    def test_tls_on_the_client_port(self):
        server = self.server()
        self.client(server, "-u", "tim", "--carrier", "tls", f"o={self.o.port}")
        self.works(server)

    def test_tls_by_alpn_on_the_public_port_shows_the_link_key(self):
        server = self.https_server()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["mdm-mux/1"])
        with dial(server.clients, tls=context) as link:
            link_certificate = link.sock.getpeercert(True)
        with dial(server.https, tls=context) as link:
            self.assertEqual(link.sock.selected_alpn_protocol(), "mdm-mux/1")
            self.assertEqual(link.sock.getpeercert(True), link_certificate)
        plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
        with dial(server.https, tls=plain, server_name="o.tim.localhost") as visitor:
            self.assertNotEqual(visitor.sock.getpeercert(True), link_certificate)
        self.client(server, "-u", "tim", "--carrier", "tls", f"o={self.o.port}", port=server.https)
        self.works(server)

    def test_websocket_on_the_public_port(self):
        server = self.server()
        self.client(server, "-u", "tim", "-h", f"ws://localhost:{server.http}", f"o={self.o.port}")
        self.works(server)

    def test_websocket_under_tls_on_the_public_port(self):
        server = self.https_server()
        for url in (f"wss://localhost:{server.https}", f"https://127.0.0.1:{server.https}/.well-known/mdm-tunnel"):
            with self.subTest(url):
                client = self.client(server, "-u", "tim", "-h", url, f"o={self.o.port}")
                self.works(server)
                client.stop()

    def test_only_the_https_port_open(self):
        """The port for clients is firewalled (nobody listens); the WebSocket on the public TLS port is the way."""
        server = self.https_server()
        self.client(None, "-u", "tim", "-h", f"wss://localhost:{server.https}", "-p", free_port(), f"o={self.o.port}")
        self.works(server)

    def test_websocket_path_exists_on_the_domain_itself_only(self):
        server = self.server()
        self.client(server, "-u", "tim", f"o={self.o.port}")
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "MDEyMzQ1Njc4OWFiY2RlZg==")]
        fetch(server.http, "o.tim.localhost", "/.well-known/mdm-tunnel")
        self.assertEqual(self.o.requests[-1].target, "/.well-known/mdm-tunnel")
        for host, status in (("localhost", 101), ("127.0.0.1", 101), ("[::1]", 101), ("tim.localhost", 200)):
            with self.subTest(host), dial(server.http) as wire:
                self.assertEqual(wire.send(request_text("GET", "/.well-known/mdm-tunnel", host, upgrade)).head().status, status)
        self.assertIn(fetch(server.http, "localhost", "/.well-known/mdm-tunnel").status, (400, 426))

    def test_http_proxy_with_a_password(self):
        server = self.server()
        proxy = HttpProxy("anna:s3cret word")
        self.addCleanup(proxy.stop)
        self.client(server, "-u", "tim", "-h", "127.0.0.1", "--proxy-url", f"http://127.0.0.1:{proxy.port}", "--proxy-username", "anna", f"o={self.o.port}",
                    env={"MDM_TUNNEL_PROXY_PASSWORD": "s3cret word"})
        self.works(server)
        self.assertEqual(proxy.targets, [f"127.0.0.1:{server.clients}"])

    def test_http_proxy_that_refuses_is_named(self):
        server = self.server()
        proxy = HttpProxy("anna:right")
        self.addCleanup(proxy.stop)
        client = self.client(server, "-u", "tim", "-h", "127.0.0.1", "--proxy-url", f"http://127.0.0.1:{proxy.port}", "--proxy-username", "anna", "--max-attempts", "2", f"o={self.o.port}",
                             env={"MDM_TUNNEL_PROXY_PASSWORD": "wr0ng"}, wait=False)
        self.assertEqual(client.wait(), 4)
        self.assertIn("proxy", client.errors().lower())
        self.assertIn("407", client.errors())
        self.assertNotIn("wr0ng", client.errors() + server.errors())
        self.assertEqual(proxy.targets, [])

    def test_websocket_through_the_http_proxy(self):
        server = self.https_server()
        proxy = HttpProxy(None)
        self.addCleanup(proxy.stop)
        self.client(server, "-u", "tim", "-h", f"wss://localhost:{server.https}", "--proxy-url", f"http://127.0.0.1:{proxy.port}", f"o={self.o.port}")
        self.works(server)
        self.assertEqual(proxy.targets, [f"localhost:{server.https}"])

    def test_a_front_that_ends_tls_sees_nothing(self):
        """A proxy in front decrypts the WebSocket's TLS; inside is the link's own, so that neither token nor requests are to be seen."""
        users = self.path("users.json")
        status, out, _ = self.program([SERVER, "user", "add", "tim", "--users", users, "--state-dir", self.path("state")])
        self.assertEqual(status, 0)
        token = out.split()[-1]
        server = self.server("--users", users)
        context = tls_server(*self.certificate("front", "localhost"))
        seen = []

        def relay(wire, front):
            with socket.create_connection(("127.0.0.1", server.http), 5) as other:
                pair = {wire.sock: other, other: wire.sock}
                while True:
                    ready = select.select(list(pair), [], [])[0] if not wire.sock.pending() else [wire.sock]
                    for side in ready:
                        data = side.recv(65536)
                        if not data:
                            return
                        seen.append(data)
                        pair[side].sendall(data)
        front = self.origin("front", raw=relay, tls=context)
        client = self.client(None, "-h", f"wss://localhost:{front.port}", f"o={self.o.port}", env={"MDM_TUNNEL_TOKEN": token})
        self.assertEqual(fetch(server.http, "o.tim.localhost", "/private-path", "POST", body=b"private body").status, 200)
        everything = b"".join(seen)
        self.assertIn(b"/.well-known/mdm-tunnel", everything)
        for secret in (token.split(".")[1].encode(), b"private", b"Host: o.tim"):
            self.assertNotIn(secret, everything)
        client.stop()

    def test_list_of_servers_is_tried_in_turn(self):
        server = self.server()
        self.client(None, "-u", "tim", "-h", f"127.0.0.1:{free_port()},ws://127.0.0.1:{free_port()},127.0.0.1:{server.clients}", f"o={self.o.port}")
        self.works(server)

    def test_both_address_families(self):
        server = self.server()
        for address in ("127.0.0.1", "[::1]", "localhost"):
            with self.subTest(address):
                client = self.client(None, "-u", "tim", "-h", f"{address}:{server.clients}", f"o={self.o.port}")
                self.works(server)
                client.stop()

    def test_plaintext_is_for_loopback_and_says_so(self):
        server = self.server("--plaintext")
        client = self.client(server, "-u", "tim", "--plaintext", f"o={self.o.port}")
        self.works(server)
        self.assertIn("plaintext", (server.errors() + client.errors()).lower())
        refused = self.client(None, "-u", "tim", "--plaintext", "-h", "192.0.2.1", "a=1", wait=False, verbose=False)
        self.assertNotEqual(refused.wait(), 0)
        self.assertIn("loopback", refused.errors())

    def test_plaintext_client_and_tls_server_do_not_meet(self):
        server = self.server()
        client = self.client(server, "-u", "tim", "--plaintext", "--max-attempts", "1", f"o={self.o.port}", wait=False, verbose=False)
        self.assertNotEqual(client.wait(), 0)
        self.assertEqual(len(client.errors().splitlines()), 1, client.errors())


if __name__ == "__main__":
    main()
