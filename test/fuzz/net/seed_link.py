#!/usr/bin/env python3
"""Writes the first corpus of hello_fuzz and ws_fuzz. Run in this directory."""
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))


def write(folder, name, data):
    path = os.path.join(HERE, "corpus", folder)
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, name), "wb") as file:
        file.write(data)


HASH = "$argon2id$v=19$m=65536,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"
SERVICE = {
    "id": 1, "name": "hello-world", "rewrite_host": "app.internal:8080", "headers": {"X-Team": "blue", "X-Debug": ""},
    "response_headers": {"Server": ""}, "basic_auth": ["tim:" + HASH], "allow": ["10.0.0.0/8", "2001:db8::/32"],
    "domains": ["app.example.org"], "upgrades": ["h2c"], "timeout": 0,
}
VERDICTS = {"serial": 1, "list": [
    {"id": 1, "verdict": "ok", "url": "http://hello-world.tim.localhost:8000/"},
    {"id": 2, "verdict": "no_web", "reason": "it is no label"}, {"id": 3, "verdict": "refused", "reason": "taken"}]}
MESSAGES = [
    ("hello", 0, {"version_min": 1, "version_max": 1, "software": "mdm-tunnel/0.1.0", "client_name": "laptop", "name_explicit": True,
                  "instance": "AAECAwQFBgcICQoLDA0ODw", "epoch": 1763700000000000, "open_credit": 65536, "max_streams": 100,
                  "features": ["resume", "later"]}),
    ("challenge", 1, {"version": 1, "nonce": "A" * 43, "open_mode": True, "software": "x"}),
    ("auth-none", 2, {"method": "none", "user": "tim", "replace": True}),
    ("auth-token", 2, {"method": "token", "token": "mdm1." + "A" * 43 + "." + "B" * 43}),
    ("auth-key", 2, {"method": "key", "public_key": "A" * 43, "signature": "A" * 86}),
    ("services", 3, {"serial": 7, "list": [SERVICE, {"id": 2, "name": "Any Thing"}]}),
    ("services-ok", 4, VERDICTS),
    ("ready", 5, {"session": "s1", "user": "tim", "client_name": "laptop", "open_credit": 1, "max_streams": 2, "heartbeat_ms": 5000,
                  "services": VERDICTS}),
]
for name, kind, message in MESSAGES:
    write("hello", name, bytes([kind]) + json.dumps(message).encode())
write("hello", "token", bytes([6]) + b"mdm1." + b"A" * 43 + b"." + b"A" * 43)
write("hello", "deep", bytes([0]) + b'{"a":' + b"[" * 40)
write("hello", "nul", bytes([0]) + b'{"a":"\\u0000"}')
write("hello", "surrogate", bytes([2]) + b'{"method":"none","user":"\\ud83d\\ude87 \\ud800"}')


def frame(first, payload, masked):
    size = len(payload)
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes([first, bit | size])
    elif size < 65536:
        head = bytes([first, bit | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, bit | 127]) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = b"\x12\x34\x56\x78"
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def traffic(masked):
    return (frame(0x82, b"hello", masked) + frame(0x02, b"in ", masked) + frame(0x89, b"ping", masked) + frame(0x00, b"", masked)
            + frame(0x80, b"pieces", masked) + frame(0x8A, b"", masked) + frame(0x82, b"x" * 300, masked))


GOODBYE = b"\x03\xe8"
ANSWER = (b"HTTP/1.1 101 Switching Protocols\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
          b"Sec-WebSocket-Accept: " + b"@" * 28 + b"\r\n\r\n")
for piece in (0, 1, 7):
    write("ws", f"server-{piece}", bytes([0, piece]) + traffic(True) + frame(0x88, GOODBYE, True))
    write("ws", f"client-{piece}", bytes([1, piece]) + ANSWER + traffic(False) + frame(0x88, GOODBYE, False))
write("ws", "server-drops", bytes([2, 3]) + traffic(True) * 3)
write("ws", "client-drops", bytes([3, 3]) + ANSWER + traffic(False) * 3)
write("ws", "client-404", bytes([1, 0]) + b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
write("ws", "client-early", bytes([1, 5]) + b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ANSWER + traffic(False))
write("ws", "client-extension", bytes([1, 0]) + ANSWER[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
write("ws", "server-text", bytes([0, 0]) + frame(0x81, b"text", True))
write("ws", "server-unmasked", bytes([0, 0]) + frame(0x82, b"bare", False))
write("ws", "server-big", bytes([0, 0]) + b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x01mask")
write("ws", "server-flood", bytes([0, 0]) + frame(0x89, b"", True) * 300)
write("ws", "server-ping-long", bytes([0, 0]) + b"\x89\xfe\x00\x7emask")
