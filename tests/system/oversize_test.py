#!/usr/bin/env python3
"""What is larger than it may be is refused, at once and without being kept: bodies, headers, addresses, JSON, chunks.

usage: oversize_test.py [--parallel N]      (1000 in full)
"""

import argparse
import gzip
import json
import re
import resource
import socket
import time
import urllib.parse

import harness
from harness import Client, check, gate, wait_until

MIB = 1 << 20


def post(extra, body=b"", path="/v1/remember"):
    return (f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{extra}\r\n").encode() + body


def sized(body, extra=""):
    return post(f"Content-Length: {len(body)}\r\n{extra}", body)


def text(value):
    return json.dumps({"text": "x", "metadata": value}).encode()


CASES = {
    "body_declared": (post(f"Content-Length: {MIB + 1}\r\n"), 413),
    "body_declared_huge": (post(f"Content-Length: {1 << 40}\r\n"), 413),
    "body_chunked": (post("Transfer-Encoding: chunked\r\n", b"10000\r\n" + b"a" * 65536 + b"\r\n"), None),  # repeated below
    "header": (post("A: " + "a" * (17 << 10) + "\r\n"), 431),
    "headers_many": (post("".join(f"A{n}: 1\r\n" for n in range(101))), 431),
    "address": (b"GET /" + b"a" * (9 << 10) + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "json_depth": (sized(b'{"text": "x", "metadata": ' + b'{"a":' * 65 + b"1" + b"}" * 65 + b"}"), 400),
    "json_keys": (sized(text({f"k{n}": 1 for n in range(10_001)})), (400, 422)),
    "json_number": (sized(b'{"text": "x", "importance": ' + b"9" * 10_000 + b"}"), (400, 422)),
    "gzip_bomb": (sized(gzip.compress(b"0" * 1_000_000), "Content-Encoding: gzip\r\n"), (400, 415)),
    "chunk_overflow": (post("Transfer-Encoding: chunked\r\n", b"fffffffffffffffff\r\n"), 400),
    "length_overflow": (post("Content-Length: 99999999999999999999999\r\n"), 400),
}


def address(url):
    parts = urllib.parse.urlsplit(url)
    return parts.hostname, parts.port


def status_of(s):
    got = b""
    while b"\r\n" not in got:
        piece = s.recv(65536)
        check(piece, "closed without an answer")
        got += piece
    return int(got.split(b" ")[1])


def refused(url, name):
    """(status, seconds from the first byte sent to the answer, bytes sent)."""
    data, _ = CASES[name]
    with socket.create_connection(address(url), timeout=10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began, sent = time.perf_counter(), 0
        s.sendall(data)
        sent += len(data)
        if name == "body_chunked":  # on and on, until it answers; what it may have read is bounded by what we could send
            s.setblocking(False)
            chunk, at = b"10000\r\n" + b"a" * 65536 + b"\r\n", 0
            while sent < 64 * MIB:
                try:
                    if s.recv(12, socket.MSG_PEEK):
                        break
                except BlockingIOError:
                    pass
                except ConnectionResetError:
                    break
                try:
                    n = s.send(chunk[at:])
                    sent, at = sent + n, (at + n) % len(chunk)
                except BlockingIOError:
                    time.sleep(0.0005)
                except (BrokenPipeError, ConnectionResetError):
                    break
            s.setblocking(True)
            s.settimeout(10)
        status = status_of(s)
        return status, time.perf_counter() - began, sent


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def in_parallel(node, count):
    """So many at once, each with a body that is too large under way; MiB that the node grew by at its highest."""
    for _ in range(2):  # what one round leaves behind in the allocator is not this
        rounds = [at_once(node, count)]
    return max(rounds)


def at_once(node, count):
    before, highest, open_ = resident_kib(node.pid), 0, []
    data = post(f"Content-Length: {MIB + 1}\r\n", b"a" * 4096)
    for n in range(count):
        s = socket.create_connection(address(node.url), timeout=20)
        s.sendall(data)
        open_.append(s)
        if n % 50 == 0:
            highest = max(highest, resident_kib(node.pid))
    for s in open_:
        equal = status_of(s)
        check(equal == 413, f"status {equal}")
        s.close()
    highest = max(highest, resident_kib(node.pid))
    return (highest - before) / 1024


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--parallel", type=int, default=200)
    parallel = parser.parse_args().parallel
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * parallel + 500)), hard))
    with harness.Folder() as folder:
        node = folder.node("--slm-local", "off", "--slm-embedding", "off", "--postgres", harness.NO_POSTGRES).wait_ready()
        check(Client(node.url).call("POST", "/v1/remember", {"text": "small"}).status in (200, 202), "a small body")
        slowest, where = 0.0, ""
        for name, (_, wanted) in CASES.items():
            tries = []
            for _ in range(5):
                status, seconds, sent = refused(node.url, name)
                allowed = wanted if isinstance(wanted, tuple) else (wanted or 413,)
                check(status in allowed, f"{name}: {status}, not {allowed}")
                check(name != "body_chunked" or sent <= 9 * MIB, f"{name}: {sent} bytes went in")
                tries.append(seconds)
            typical = sorted(tries)[len(tries) // 2]
            print(f"{name}: {status} in {typical * 1e3:.1f} ms")
            if typical > slowest:
                slowest, where = typical, name
        gate("S6", f"{slowest * 1e3:.1f} ms at most ({where}), {len(CASES)} kinds", "100 ms", slowest <= 0.1)
        grown = in_parallel(node, parallel)
        gate("S6.memory", f"{grown:.1f} MiB for {parallel} at once", "8 MiB", grown <= 8)
        wait_until("it serves", 10, lambda: Client(node.url).call("GET", "/health").status == 200)
        check(node.terminate()[0] == 0, "exit code")


if __name__ == "__main__":
    harness.main(run)
