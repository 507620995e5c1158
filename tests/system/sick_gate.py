"""A way to a peer that a test can make sick: what hangs, lies, dribbles or half dies between a node and what it needs."""

import asyncio
import socket
import struct
import threading

CONDITIONS = ("refused", "hangs", "no_reply", "closed_at_connect", "closed_in_reply", "garbled", "single_bytes",
              "slow_100_ms", "slow_5_s", "half_open", "narrow", "reset_in_reply", "reordered")
SOME_BYTES = 64  # of a reply, before it ends


class SickGate:
    """Forwards a port of 127.0.0.1 (`listen`, or a free one) to `to` (a port, or the path of a socket).

    well               bytes pass
    refused            nobody listens, connections are reset
    hangs              connections are taken, and nothing passes
    no_reply           what is asked passes, no reply does
    closed_at_connect  a connection is closed as soon as it is taken
    closed_in_reply    after some bytes of a reply the connection is closed
    garbled            every byte of a reply is another one
    single_bytes       each byte is a packet of its own
    slow_100_ms, slow_5_s  each piece of a reply comes so much later
    half_open          the peer loses its end and the node is not told; new connections hang
    narrow             8 kB a second, both ways together
    reset_in_reply     after some bytes of a reply the connection is reset
    reordered          a connection begins only after the next one has, or after 300 ms"""

    def __init__(self, to, listen=0):
        self.to, self.condition = to, "well"
        self._loop = asyncio.new_event_loop()
        self._connections, self._server, self._waiting = {}, None, None
        with socket.create_server(("127.0.0.1", listen)) as s:
            self.port = s.getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.set("well")

    def set(self, condition):
        """From now on, for connections that are there too. Back to well, those that were sick are gone."""
        asyncio.run_coroutine_threadsafe(self._set(condition), self._loop).result(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.set("refused")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    async def _set(self, condition):
        self.condition = condition
        if condition == "half_open":
            for far in self._connections.values():
                if far:
                    far.transport.abort()
        elif condition in ("well", "refused", "closed_at_connect", "reordered"):  # there are new ones then
            for task in list(self._connections):
                task.cancel()
        if condition == "refused" and self._server:
            self._server.close()
            self._server = None
        elif condition != "refused" and not self._server:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader, writer):
        task, far = asyncio.current_task(), None
        self._connections[task] = None
        try:
            if self.condition == "closed_at_connect":
                return
            if self.condition == "reordered":
                await self._let_one_pass()
            await self._while("hangs", "half_open")
            far_reader, far = await (asyncio.open_unix_connection(self.to) if isinstance(self.to, str)
                                     else asyncio.open_connection("127.0.0.1", self.to))
            self._connections[task] = far
            asked, replied = asyncio.ensure_future(self._ask(reader, far)), asyncio.ensure_future(self._reply(far_reader, writer))
            try:
                await asyncio.wait((asked, replied), return_when=asyncio.FIRST_COMPLETED)
                await self._while("half_open")  # the node is not told
            finally:
                asked.cancel()
                replied.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            del self._connections[task]
            for end in (writer, far):
                if end:
                    end.close()

    async def _while(self, *conditions):
        while self.condition in conditions:
            await asyncio.sleep(0.02)

    async def _let_one_pass(self):
        if self._waiting:  # this one goes first
            self._waiting.set()
            return
        self._waiting = asyncio.Event()
        try:
            await asyncio.wait_for(self._waiting.wait(), 0.3)
            await asyncio.sleep(0.02)
        except asyncio.TimeoutError:
            pass
        self._waiting = None

    async def _ask(self, reader, far):
        while data := await reader.read(1 << 14):
            await self._while("hangs")
            await self._write(far, data)

    async def _reply(self, far_reader, writer):
        passed = None  # bytes of the reply since the connection is cut short
        while data := await far_reader.read(1 << 14):
            await self._while("hangs", "no_reply")
            if self.condition == "garbled":
                data = bytes(b ^ 0x55 for b in data)
            elif self.condition in ("slow_100_ms", "slow_5_s"):
                await asyncio.sleep(0.1 if self.condition == "slow_100_ms" else 5)
            elif self.condition in ("closed_in_reply", "reset_in_reply"):
                passed = passed or 0
                data, whole = data[:SOME_BYTES - passed], len(data)
                passed += len(data)
                if passed == SOME_BYTES or len(data) < whole:
                    await self._write(writer, data)
                    if self.condition == "reset_in_reply":
                        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
            await self._write(writer, data)

    async def _write(self, writer, data):
        step = {"single_bytes": 1, "narrow": 400}.get(self.condition, len(data))
        for at in range(0, len(data), step):
            if self.condition == "narrow":
                await asyncio.sleep(0.05)
            writer.write(data[at:at + step])
            await writer.drain()
            if self.condition == "single_bytes":
                await asyncio.sleep(0)
