#!/usr/bin/env python3
"""Writes the seed corpus of session_fuzz: one conversation per file, see session_fuzz.c for the layout."""
import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">HBBI", len(payload), kind, flags, stream) + payload


def opening(stream, target=b"", options=b"", credit=65536, family=0, kind=3):
    address = {0: b"", 4: b"\x7f\0\0\1", 6: b"\0" * 15 + b"\1"}[family]
    head = struct.pack(">BBBBIIHH", kind, 1, family, 0, 1, credit, 4711, len(target))
    return frame(0x10, 0, stream, head + address + target + options)


def data(stream, payload, flags=0):
    return frame(0x12, flags, stream, payload)


SEEDS = {
    "client_stream": (0, opening(1) + data(1, b"hello" * 20) + data(1, b"", 1) + frame(0x13, 0, 1, b"\0\0\x40\0")),
    "client_many": (0, b"".join(opening(i, family=6) + data(i, bytes(i) * 9, 2) for i in range(1, 60, 2))),
    "client_options": (28, opening(1, b"host:22", b"\0\1\0\3abc\x80\2\0\0", family=4) + data(1, b"x" * 5000, 2)),
    "client_bad_option": (0, opening(1, b"", b"\0\1\0\x09abc") + data(1, b"late")),
    "server_answers": (1, frame(0x11, 0, 1, b"\0\1\0\0") + data(1, b"answer", 1) + frame(0x13, 0, 1, b"\0\0\0\1")),
    "server_stream": (61, opening(2) + data(2, b"y" * 16376, 2) + frame(0x14, 1, 2, b"\0\1")),
    "session": (0, frame(0x20, 0, 0, b"12345678") + frame(0x21, 0, 0, b"\0\0\0\0\0\0\0\1") + frame(0x55, 0, 9, b"skip")
                + frame(0x22, 0, 0, b"\x7f\xff\xff\xff\0\0bye") + frame(0x22, 0, 0, b"\0\0\0\0\0\0")),
    "messages": (2, b"MDMMUX\r\n" + frame(1, 0, 0, b'{"version":1}') + frame(5, 1, 0, b"{" * 16376) + frame(5, 0, 0, b"}")),
    "overrun": (0, opening(1) + b"".join(data(1, b"z" * 16376) for _ in range(6))),
    "fin_then_data": (0, opening(1) + data(1, b"a", 1) + data(1, b"b") + opening(3)),
    "resets": (63, b"".join(opening(i) + frame(0x14, 0, i, b"\0\1") for i in range(1, 40, 2))),
    "goaway_drain": (0, opening(1) + frame(0x22, 0, 0, b"\0\0\0\0\0\3replaced")),
}

os.makedirs(HERE, exist_ok=True)
for name, (habits, body) in SEEDS.items():
    for seed in (1, 200):
        with open(os.path.join(HERE, f"{name}_{seed}"), "wb") as out:
            out.write(bytes([habits, seed]) + body)
