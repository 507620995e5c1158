"""A way through TCP that a test can cut: what a switch, a firewall or a cable does to a node.

The kernel of this machine may have no netem and a test no right to use namespaces; a gate needs neither.
"""

import asyncio
import threading


class Gate:
    """Forwards each of `ports` ({"listen", "to"}) of 127.0.0.1.

    open: bytes pass. hold: connections stay up and are taken, but nothing passes, as behind a firewall that drops.
    cut: connections are reset and refused, as by a host that is gone.
    `tls`: the SSLContext of what listens; behind the gate it is in the clear."""

    def __init__(self, ports, tls=None):
        self._ports, self._mode, self._tls = ports, "open", tls
        self._loop = asyncio.new_event_loop()
        self._tasks, self._listening = set(), {}
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._start())

    def set(self, mode):
        self._run(self._set(mode))

    def close(self):
        self._run(self._set("cut"))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self):
        self._passing = asyncio.Event()
        await self._set("open")

    async def _set(self, mode):
        self._mode = mode
        if mode == "open":
            self._passing.set()
        else:
            self._passing.clear()
        if mode == "cut":
            for server in self._listening.values():
                server.close()
            self._listening.clear()
            for task in list(self._tasks):
                task.cancel()
            return
        for way in self._ports:
            if way["listen"] not in self._listening:
                self._listening[way["listen"]] = await asyncio.start_server(
                    lambda r, w, to=way["to"]: self._serve(r, w, to), "127.0.0.1", way["listen"], ssl=self._tls)

    async def _serve(self, reader, writer, to):
        task = asyncio.current_task()
        self._tasks.add(task)
        far = None
        try:
            await self._passing.wait()
            far_reader, far = await asyncio.open_connection("127.0.0.1", to)
            ways = [asyncio.ensure_future(self._pump(reader, far)), asyncio.ensure_future(self._pump(far_reader, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for end in (writer, far):
                if end:
                    end.transport.abort()

    async def _pump(self, reader, writer):
        try:
            while data := await reader.read(1 << 16):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
