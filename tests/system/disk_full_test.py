#!/usr/bin/env python3
"""A full disk: writes are refused with 507 at once, reads go on, and all comes back with the space; nothing is lost.

The whole data folder (log, snapshots, PostgreSQL) lies on a small file system of its own.
usage: disk_full_test.py [--cycles N]. Needs the right to mount; exit 77 (skipped) without.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time

import harness
from harness import BROKEN, Client, check, gate, wait_until
from workload import Workload

SIZE_MB = 140  # a node with views and some history
CYCLE_MB = 25  # what a cycle leaves in the log at most: as much as is written before the filler has it all


class SmallDisk:
    def __init__(self, size_mb):
        self.size_mb = size_mb

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="soma-small-disk-")
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size_mb}m,mode=755", "tmpfs", self.path],
                                 capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            os.rmdir(self.path)
            print("skipped: no right to mount:", mounted.stderr.strip())
            sys.exit(77)
        self._filling, self._thread = threading.Event(), threading.Thread(target=lambda: None)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._filling.set()
        self._thread.join()
        subprocess.run(["umount", "--lazy", self.path], capture_output=True, check=False)
        os.rmdir(self.path)

    def fill(self):
        """Takes all space that is left, and goes on doing so until `drain`."""
        self._filling = threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._thread.start()

    def _fill(self):
        with open(self.path + "/filler", "wb", buffering=0) as f:
            while not self._filling.is_set():
                try:
                    f.write(bytes(1 << 16))
                except OSError:
                    self._filling.wait(0.02)

    def drain(self):
        self._filling.set()
        self._thread.join()
        os.remove(self.path + "/filler")


class Timed(Workload):
    """Knows how long each answer took, and its status."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.statuses, self.slowest = {}, 0.0

    def attempt(self, request, client):
        began = time.monotonic()
        original = request.send

        def send(to):
            answer = original(to)
            took = time.monotonic() - began
            self.slowest = max(self.slowest, took)
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
            if answer.status == 507:
                check(answer.json["code"] == "storage_full" and answer.headers.get("Retry-After"), answer.body)
            return answer

        request.send = send
        try:
            return super().attempt(request, client)
        finally:
            del request.send


def write(client, key, kilobytes=30):
    return client.call("POST", "/v1/remember", {"text": f"{key} " + "x" * 1024 * kilobytes}, key)


def until_refused(client, name):
    """Writes until the first 507: (its seconds, how many were acknowledged)."""
    for n in range(5000):
        began = time.monotonic()
        answer = write(client, f"{name}-{n}")
        took = time.monotonic() - began
        if answer.status == 507:
            return took
        check(answer.status == 200, f"status {answer.status} {answer.body} while the disk fills")
    raise harness.Failure("the disk never filled")


def one_cycle(node, disk, load, number, known):
    client = Client(node.url)
    load.start(node.url)
    time.sleep(0.3)
    disk.fill()
    first_s = until_refused(client, f"fill{number}")
    load.stop()
    wait_until("every write is refused with 507", 2, lambda: write(client, f"none{number}").status == 507)
    slowest = 0.0
    for n in range(60):  # a second of it: refused at once, reads answered
        began = time.monotonic()
        status = write(client, f"none{number}", 1).status
        check(status == 507, f"status {status} on a full disk")
        for path in known:
            answer = client.call("GET", path)
            check(answer.status == 200, f"GET {path}: {answer.status} {answer.body} on a full disk")
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.01)
    check(client.call("GET", "/health").status == 200, "health fails on a full disk")
    check(client.call("GET", "/health/ready").status == 503, "ready on a full disk")
    disk.drain()
    freed = time.monotonic()
    wait_until("a write goes through again", 10, lambda: write(client, f"back{number}", 1).status == 200, 0.05)
    wait_until("ready again", 10, lambda: client.call("GET", "/health/ready").status == 200)
    recovered_s = time.monotonic() - freed
    load.retry_open(node.url, 20)
    load.check_ended("after the disk was full")
    load.check_replays(node.url, load.acked[-30:])
    return first_s, slowest, recovered_s


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=3)
    cycles = parser.parse_args().cycles
    with harness.Upstream() as upstream, SmallDisk(SIZE_MB + cycles * CYCLE_MB) as disk, tempfile.TemporaryDirectory() as outside:
        with harness.Folder(parent=disk.path) as folder:
            load = Timed(outside + "/acknowledged.log", clients=4)
            node = folder.node(*upstream.flags, "--segment-bytes", "4194304").wait_ready()
            client = Client(node.url)
            session = client.call("POST", "/v1/sessions/start", {"prompt": "before"}, "first").json["session_id"]
            known = [f"/v1/sessions/{session}", "/v1/tenants/demo"]
            results = [one_cycle(node, disk, load, n, known) for n in range(cycles)]
            code, seconds = node.terminate()
            check(code == 0, f"exit {code} after {seconds:.1f} s")
            harness.verify_deep(folder.data)
            load.check_journal(harness.journal(folder.data))
            try:
                lists = folder.node(*upstream.flags, "--segment-bytes", "4194304").wait_ready()
                wait_until("lists come back", 20, lambda: (
                    a := Client(lists.url).call("GET", "/v1/sessions?limit=1")).status == 200 and a.json["items"], 0.1)
            except BROKEN as broken:
                raise harness.Failure(f"after the full disk: {broken!r}") from broken
            print(f"answers by status: {load.statuses}; slowest {load.slowest:.2f} s; acknowledged {len(load.acked)}")
    refused, again = max(max(r[0], r[1]) for r in results), max(r[2] for r in results)
    gate("R9-refusal", f"{cycles} cycles: 507 within {refused:.2f} s, reads went on", "1 s", refused <= 1)
    gate("R9-recovery", f"{again:.1f} s after the space was there; 0 lost", "10 s", again <= 10)


if __name__ == "__main__":
    harness.main(run)
