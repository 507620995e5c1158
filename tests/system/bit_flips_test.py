#!/usr/bin/env python3
"""Bit rot in the stored log: `soma verify` and `soma dev` refuse, name file and byte, and exit with 9, also where the
start did not read the segment. A torn tail is the rest of a write that nobody was told of, and no damage.

usage: bit_flips_test.py [--flips N]
"""

import argparse
import os
import random
import re
import struct
import subprocess
import time

import harness
from harness import check, gate
from workload import Workload


def segments(log):
    return sorted(os.path.join(log, name) for name in os.listdir(log) if name.endswith(".seg"))


def used_bytes(path):
    with open(path, "rb") as f:
        return len(f.read().rstrip(b"\0"))


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ (1 << random.randrange(8))]))
    return byte


def put_back(path, at, byte):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(bytes([byte]))


# The place a message names must be at or before the flip, and not before the round or record it is in.
def check_named(text, path, at, what):
    found = re.search(re.escape(path) + r" at byte (\d+)", text)
    check(found, f"{what} does not name {path}: {text[-300:]}")
    check(int(found[1]) <= at, f"{what} names byte {found[1]}, flipped was {at}")
    return at - int(found[1])


def refused_by_verify(data, path, at):
    code, out, err = harness.soma("verify", data=data)
    check(code == 9, f"soma verify: exit {code} after a flip at byte {at} of {path}\n{out}{err}")
    return check_named(err, path, at, "soma verify")


def refused_by_dev(folder, flags, path, at):
    node = folder.node(*flags)
    try:
        code = node.process.wait(20)
    except subprocess.TimeoutExpired as late:
        raise harness.Failure(f"soma dev did not refuse a flip at byte {at} of {path}") from late
    check(code == 9, f"soma dev: exit {code} after a flip at byte {at} of {path}\n{node.log()}")
    check(not node.ready_line, "soma dev said it was ready on a damaged log")
    check_named(node.log(), path, at, "soma dev")


def found_while_serving(folder, flags, path, at):
    """Segments that a start takes by their index are read behind it: the node ends with 9, ready or not."""
    node = folder.node(*flags, "--read-at-open-bytes", "0")
    try:
        code = node.process.wait(30)
    except subprocess.TimeoutExpired as late:
        raise harness.Failure(f"a serving node did not find a flip at byte {at} of {path}") from late
    check(code == 9, f"a serving node: exit {code} after a flip at byte {at} of {path}\n{node.log()}")
    check_named(node.log(), path, at, "a serving node")


def kill_tore_a_write(data):
    """The kernel ends a write of several pages early when its process is killed. Rarely, and then no second one follows:
    each round is synced before the next."""
    _, out, err = harness.soma("doctor", data=data)
    check("commit rounds" in out, f"soma doctor does not tell of the journal: {out}{err}")
    return "a torn write behind them" in out


def torn_tails(folder, flags, load, count):
    """After a kill: the rest of a half-written round behind the last whole one is cut off, and nothing is missing."""
    for _ in range(count):
        node = folder.node(*flags).wait_ready()
        load.start(node.url)
        time.sleep(random.uniform(0.1, 0.3))
        node.kill()
        load.stop()
        last = segments(folder.data + "/log")[-1]
        with open(folder.data + "/log/mark", "rb") as mark:
            end = max(used_bytes(last), struct.unpack("<3Q", mark.read(24))[2])
        torn = b"SRND" + random.randbytes(random.randrange(8, 900))
        if end + len(torn) < os.path.getsize(last) and not kill_tore_a_write(folder.data):
            with open(last, "r+b") as f:
                f.seek(end)
                f.write(torn)
        harness.verify_deep(folder.data)
        node = folder.node(*flags).wait_ready()
        load.check_replays(node.url, load.acked[-20:])
        code, _ = node.terminate()
        check(code == 0, f"exit {code}")
        load.check_journal(harness.journal(folder.data))


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--flips", type=int, default=60)
    flips = parser.parse_args().flips
    with harness.Upstream() as upstream, harness.Folder() as folder:
        flags = (*upstream.flags, "--segment-bytes", "1048576", "--postgres", harness.NO_POSTGRES)
        load = Workload(folder.path + "/acknowledged.log")
        node = folder.node(*flags).wait_ready()
        load.start(node.url)
        harness.wait_until("two segments", 60, lambda: len(segments(folder.data + "/log")) >= 2)
        load.stop()
        code, _ = node.terminate()
        check(code == 0, f"exit {code}")
        harness.verify_deep(folder.data)
        files, farthest = segments(folder.data + "/log"), 0
        for number in range(flips):
            path = random.choice(files)
            everywhere = random.random() < 0.1  # the zeros behind the last round count too
            at = random.randrange(os.path.getsize(path) if everywhere else used_bytes(path))
            byte = flip(path, at)
            farthest = max(farthest, refused_by_verify(folder.data, path, at))
            if number % 5 == 0:
                refused_by_dev(folder, flags, path, at)
            elif number % 5 == 1:
                found_while_serving(folder, flags, path, at)
            put_back(path, at, byte)
        harness.verify_deep(folder.data)
        torn_tails(folder, flags, load, 3)
        print(f"{len(files)} segments, {len(load.acked)} acknowledged; the named byte is at most {farthest} before the flip")
        gate("R11-log", f"{flips} flips: {flips} found, located; torn tails are none", f"{flips}", True)


if __name__ == "__main__":
    harness.main(run)
