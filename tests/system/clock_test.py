#!/usr/bin/env python3
"""The clock of a real node: set forward and back by up to a day under load, too fast and too slow; lives whose steady clocks
begin elsewhere, as on another machine or after its restart. Requests go on, none is lost or doubled; a token holds while the
node's own clock says so; what waits for a while waits no longer and no less.

usage: clock_test.py [--jumps N] [--lives N]
"""

import argparse
import email.utils
import os
import random
import struct
import subprocess
import time

import harness
from harness import Client, check, gate, wait_until
from workload import Workload

SHIM = os.path.join(harness.BUILD, "tests", "system", "libclock_shim.so")
SECOND = 1_000_000_000
HOUR = 3600
JUMPS = (1, -1, 60, -60, HOUR, -HOUR, 24 * HOUR, -24 * HOUR)
LONGEST_S = 1.0  # a request meanwhile; nothing of what it does takes longer, whatever the clock says
DRIFT_PPM = 500
KINDS = ("session", "message", "remember", "settings")  # a deadline, as infer_sync has, is a moment: it comes early with the clock
BACK_OFF_S = 1.0  # of a call whose model fails, between its first two tries


class WallClock:
    """What a node that the shim was loaded into takes for the time; off by `off_s` of the machine's."""

    def __init__(self, path):
        self.path, self.off_s = path, 0
        with open(path, "wb") as file:
            file.write(struct.pack("<qqq", 0, 0, 0))
        self.env = {"LD_PRELOAD": SHIM, "CLOCK_SHIM_FILE": path}

    def set(self, off_s, drift_ppm=0):
        self.off_s = off_s
        with open(self.path, "r+b") as file:  # in place: it is mapped
            file.write(struct.pack("<qqq", off_s * SECOND, drift_ppm, time.monotonic_ns()))


def shown(client):
    """The time that a node writes into its answers."""
    answer = client.call("GET", "/v1/health")
    return email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()


def jump(load, client, clock, off_s):
    """Sets it; the node shows that, and goes on as before."""
    before = len(load.acked)
    clock.set(off_s)
    wait_until("the node shows the time that was set", 2, lambda: abs(shown(client) - time.time() - off_s) < 2.5)
    wait_until("requests go on", LONGEST_S, lambda: len(load.acked) >= before + 20)
    check(not load.problems, f"at {off_s} s: {load.problems}")


def tokens(node, folder, clock):
    """Of an hour: refused a day later, and good again when it was no day later after all."""
    holder = Client(node.url, harness.token(folder.data, "demo", "ana"))
    for off_s, status in ((0, 200), (24 * HOUR, 401), (HOUR // 2, 200), (-24 * HOUR, 401), (0, 200)):
        clock.set(off_s)
        wait_until(f"{off_s} s off: {status}", 3, lambda: holder.call("GET", "/v1/sessions").status == status, 0.1)


def an_old_token(node, clock):
    """What was signed more than a day ago is not signed again for its Idempotency-Key: there is one token of an id."""
    client = Client(node.url)
    body = {"user_id": "gil", "tenant_id": "demo", "capabilities": ["tenant:read"]}
    ask = lambda: client.call("POST", "/v1/tokens/issue", body, "old-token")
    first = ask()
    check(first.status == 200, first.body)
    clock.set(25 * HOUR)
    wait_until("a day later it is refused", 3, lambda: ask().status == 409, 0.1)
    clock.set(0)
    wait_until("it is the first token again", 3, lambda: ask().body == first.body, 0.1)


def a_back_off(node, clock, upstream):
    """A call whose model failed is tried again after its back-off, although the clock is set back by a day while it waits."""
    client = Client(node.url)
    upstream.script({"next": [{"status": 503, "text": "no"}], "otherwise": {}})
    began = time.monotonic()
    started = client.call("POST", "/v1/sessions/start", {"prompt": "again"}, "back-off")
    check(started.status == 202, started.body)
    path = "/v1/sessions/" + started.json["session_id"]
    wait_until("a first try has failed", 5, lambda: "model.restarted" in client.call("GET", path + "/events").body)
    clock.set(-24 * HOUR)
    wait_until("the turn ends", 3 * BACK_OFF_S, lambda: client.call("GET", path).json["turns"][0]["status"] == "completed")
    check(time.monotonic() - began >= BACK_OFF_S, "the second try did not wait")


def under_jumps(folder, upstream, jumps):
    clock = WallClock(folder.path + "/clock")
    node = folder.node(*upstream.flags, env=clock.env).wait_ready()
    a_back_off(node, clock, upstream)
    tokens(node, folder, clock)
    an_old_token(node, clock)
    load, client = Workload(folder.path + "/acknowledged.log", kinds=KINDS), Client(node.url)
    load.start(node.url)
    for n in range(jumps):
        by = JUMPS[n] if n < len(JUMPS) else random.choice(JUMPS) * random.randint(1, 2)
        off_s = clock.off_s + by
        jump(load, client, clock, off_s if abs(off_s) <= 48 * HOUR else -by)
    for ppm in (DRIFT_PPM, -DRIFT_PPM, 100_000, -100_000):  # the last two make a second of ten
        before = len(load.acked)
        clock.set(clock.off_s, ppm)
        wait_until("requests go on", LONGEST_S, lambda b=before: len(load.acked) >= b + 20)
    load.stop()
    longest = load.longest_s
    code, _ = node.terminate()
    check(code == 0, f"exit {code}")
    return load, longest


def time_namespaces():
    """Whether this machine lets us have another steady clock."""
    return subprocess.run(["unshare", "--time", "--monotonic", "1000", "true"], capture_output=True, check=False).returncode == 0


def other_beginnings(folder, upstream, load, lives):
    """Steady clocks that stand elsewhere: 11 days later, then earlier again; killed and stopped."""
    for n in range(lives):
        begins = random.choice((0, 1_000_000, 10_000_000)) if n else 1_000_000
        wrap = ("unshare", "--time", "--monotonic", str(begins))
        node = folder.node(*upstream.flags, wrap=wrap).wait_ready()
        check(os.readlink(f"/proc/{node.pid}/ns/time") != os.readlink("/proc/self/ns/time"), "its steady clock is the machine's")
        load.retry_open(node.url, 20)
        before = len(load.acked)
        load.start(node.url)
        wait_until("requests go on", 5, lambda b=before: len(load.acked) >= b + 50)
        node.kill() if n % 2 else node.terminate()
        load.stop()


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--jumps", type=int, default=10)
    parser.add_argument("--lives", type=int, default=3)
    options = parser.parse_args()
    with harness.Upstream() as upstream, harness.Folder() as folder:
        load, longest = under_jumps(folder, upstream, options.jumps)
        lives = options.lives if time_namespaces() else 0
        if lives < options.lives:
            print("left out: steady clocks that begin elsewhere; this machine gives nobody a time namespace", flush=True)
        other_beginnings(folder, upstream, load, lives)
        load.check_journal(harness.journal(folder.data))
        harness.verify_deep(folder.data)
        gate("R15.real", f"{options.jumps} jumps and {lives} other beginnings under load, {len(load.acked)} acknowledged, 0 lost, "
             f"longest request {longest:.2f} s", f"{LONGEST_S} s", longest <= LONGEST_S)


if __name__ == "__main__":
    harness.main(run)
