#!/usr/bin/env python3
"""A link of some length and width, for measurements: passes TCP connections on, each byte late, and all of them together no
faster than the rate in each direction.

usage: link.py PORT UPSTREAM-PORT MILLISECONDS [MBIT/S [COUNTS]]

MILLISECONDS is one way; a round trip takes twice that. What has passed is in the file COUNTS when it ends, as JSON: bytes up and
down, and connections.
"""
import asyncio
import json
import signal
import sys


class Direction:
    """All connections share it: a byte is sent when those before it have been, and arrives `delay` later."""

    def __init__(self, delay, bytes_per_second):
        self.delay, self.rate, self.free_at, self.bytes = delay, bytes_per_second, 0.0, 0

    def arrival(self, now, size):
        self.bytes += size
        if self.rate:
            self.free_at = max(now, self.free_at) + size / self.rate
            now = self.free_at
        return now + self.delay


async def pump(reader, writer, direction):
    """Late, in order, and no slower than the rate: what has been read waits in a queue until it is due."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue(64)

    async def read():
        while data := await reader.read(1 << 14):
            await queue.put((direction.arrival(loop.time(), len(data)), data))
        await queue.put((direction.arrival(loop.time(), 0), b""))

    reading = asyncio.create_task(read())
    try:
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0, due - loop.time()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
    finally:
        reading.cancel()
        writer.close()


async def serve(port, upstream, delay, rate, counts):
    up, down, connections = Direction(delay, rate), Direction(delay, rate), 0

    async def connected(reader, writer):
        nonlocal connections
        connections += 1
        try:
            there, back = await asyncio.open_connection("127.0.0.1", upstream)
            await asyncio.gather(pump(reader, back, up), pump(there, writer, down), return_exceptions=True)
        except OSError:
            writer.close()

    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with await asyncio.start_server(connected, "127.0.0.1", port):
        await ended.wait()
    if counts:
        with open(counts, "w", encoding="ascii") as f:
            json.dump({"up": up.bytes, "down": down.bytes, "connections": connections}, f)


def main():
    words = sys.argv[1:]
    if len(words) not in (3, 4, 5):
        sys.exit(__doc__)
    rate = float(words[3]) * 1e6 / 8 if len(words) > 3 else 0
    asyncio.run(serve(int(words[0]), int(words[1]), float(words[2]) / 1000, rate, words[4] if len(words) > 4 else ""))


if __name__ == "__main__":
    main()
