#!/usr/bin/env python3
"""A link of some length, for measurements: passes TCP connections on, each byte late.

usage: link.py PORT UPSTREAM-PORT MILLISECONDS      (one way; a round trip takes twice that)
"""
import asyncio
import sys


async def pump(reader, writer, delay):
    """Late, in order, and not slower: what has been read waits in a queue until it is due."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue(4096)

    async def read():
        while data := await reader.read(1 << 16):
            await queue.put((loop.time() + delay, data))
        await queue.put((loop.time() + delay, b""))

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


async def serve(port, upstream, delay):
    async def connected(reader, writer):
        try:
            there, back = await asyncio.open_connection("127.0.0.1", upstream)
            await asyncio.gather(pump(reader, back, delay), pump(there, writer, delay), return_exceptions=True)
        except OSError:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
