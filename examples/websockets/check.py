"""check.py URL [ADDRESS]: says something to the echo at the WebSocket URL and expects it back.

ADDRESS is where to connect instead of what the URL's host resolves to (as curl --resolve): names under
localhost resolve in browsers, but not everywhere.
"""
import asyncio
import sys

import websockets


async def check(url, address):
    to = {"host": address} if address else {}
    async with websockets.connect(url, open_timeout=10, **to) as socket:
        for said in ("hello", "äöü ✓", b"\x00\x01\xff" * 5000):
            await socket.send(said)
            heard = await asyncio.wait_for(socket.recv(), 10)
            if heard != said:
                sys.exit(f"{url}: said {said[:40]!r}, heard {heard[:40]!r}")


asyncio.run(check(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
