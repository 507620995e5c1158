#!/usr/bin/env python3
"""Slow clients: connections that send a byte now and then, bodies that never end, answers that nobody reads. They are
closed, and meanwhile others are served as before.

usage: slowloris_test.py [--connections N]      (2000 in full)
"""

import argparse
import os
import re
import resource
import select
import socket
import time
import urllib.parse

import harness
from harness import Client, check, gate, wait_until

CLOSED_WITHIN_S = 15


class Slow:
    """Many connections of one kind, driven by `poke`."""

    def __init__(self, url, count, first, byte):
        parts = urllib.parse.urlsplit(url)
        self.byte, self.sockets, self.began = byte, {}, time.monotonic()
        for _ in range(count):
            s = socket.create_connection((parts.hostname, parts.port), timeout=20)
            s.sendall(first)
            s.setblocking(False)
            self.sockets[s.fileno()] = s
        self.poll = select.poll()
        for fd in self.sockets:
            self.poll.register(fd, select.POLLIN | select.POLLHUP | select.POLLERR)
        self.longest_s, self.last_byte, self.turn = 0.0, time.monotonic(), list(self.sockets)

    def poke(self):
        """Notices what was closed; sends each a byte every ten seconds, by turns."""
        for fd, _ in self.poll.poll(0):
            s = self.sockets[fd]
            try:
                if s.recv(65536):
                    continue  # the answer to what was too slow; the end comes after it
            except BlockingIOError:
                continue
            except OSError:
                pass
            self.drop(fd)
        due = int((time.monotonic() - self.last_byte) * len(self.sockets) / 10)
        if due:
            self.last_byte = time.monotonic()
        for fd in self.turn[:due]:
            try:
                if fd in self.sockets:
                    self.sockets[fd].send(self.byte)
            except BlockingIOError:
                pass
            except OSError:
                self.drop(fd)
        self.turn = self.turn[due:] + self.turn[:due]

    def drop(self, fd):
        self.poll.unregister(fd)
        self.sockets.pop(fd).close()
        self.longest_s = time.monotonic() - self.began

    def close(self):
        for fd in list(self.sockets):
            self.drop(fd)


def p99(times):
    return sorted(times)[int(len(times) * 0.99)]


def served(client, seconds, poke=lambda: None, until=lambda: False):
    """Latencies of an ordinary client; `poke` runs between its requests."""
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end and not until():
        for n in range(20):
            began = time.perf_counter()
            answer = client.call("POST" if n % 4 == 0 else "GET", "/v1/remember" if n % 4 == 0 else "/v1/whoami",
                                 {"text": f"fact {len(times)}"} if n % 4 == 0 else None)
            times.append(time.perf_counter() - began)
            check(answer.status in (200, 202), f"status {answer.status}: {answer.body}")
        poke()
    return times


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=300)
    count = parser.parse_args().connections
    bodies = count // 4
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + bodies + 1000
    check(hard >= wanted, f"only {hard} files may be open here, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with harness.Folder() as folder:
        node = folder.node("--slm-local", "off", "--slm-embedding", "off", "--postgres", harness.NO_POSTGRES).wait_ready()
        client = Client(node.url)
        served(client, 1)
        before, memory = served(client, 3), resident_kib(node.pid)
        kinds = [Slow(node.url, count, b"GET / HTTP/1.1\r\nHost: x\r\nA: ", b"a"),
                 Slow(node.url, bodies, b"POST /v1/remember HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                      b"Content-Length: 1000\r\n\r\n", b" ")]
        grown = (resident_kib(node.pid) - memory) / (count + bodies)

        def poke():
            for kind in kinds:
                kind.poke()

        # While all of them are open: until the first kind's first is closed.
        during = served(client, 8, poke, lambda: len(kinds[0].sockets) < count)
        wait_until("all are closed", 60, lambda: poke() or not any(k.sockets for k in kinds), 0.05)
        closed = max(k.longest_s for k in kinds)
        after = served(client, 3)
        base = max(p99(before), p99(after))
        ratio = p99(during) / base
        check(len(during) > 100, f"only {len(during)} requests beside the slow ones")
        print(f"p99 {p99(before) * 1e3:.2f} ms before, {p99(during) * 1e3:.2f} ms beside {count + bodies} slow connections "
              f"({len(during)} requests), {p99(after) * 1e3:.2f} ms after")
        busy = os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
        print(f"GATE S7 {ratio:.2f} times the p99 beside {count} slow headers and {bodies} slow bodies", flush=True)
        check(ratio <= 2 or busy, f"p99 is {ratio:.1f} times as long beside slow connections")
        gate("S7.closed", f"{closed:.1f} s until all were closed", f"{CLOSED_WITHIN_S} s", closed <= CLOSED_WITHIN_S)
        gate("S7.memory", f"{grown:.1f} KiB a connection", "32 KiB", grown <= 32)
        check(node.terminate()[0] == 0, "exit code")


if __name__ == "__main__":
    harness.main(run)
