#!/usr/bin/env python3
"""Stopping: SIGTERM under load, with slow work under way and during a start; a second start on the same folder.

usage: drain_test.py [--rounds N]
"""

import argparse
import os
import random
import signal
import threading
import time

import harness
from harness import BROKEN, Client, check, gate
from workload import Workload


def under_load(folder, upstream, rounds):
    load, slowest = Workload(folder.path + "/acknowledged.log"), 0.0
    for _ in range(rounds):
        node = folder.node(*upstream.flags).wait_ready()
        load.retry_open(node.url, 20)
        load.check_ended("after a drain")
        load.check_replays(node.url, load.acked[-20:])
        load.start(node.url)
        time.sleep(random.uniform(0.2, 0.6))
        code, seconds = node.terminate()
        load.stop()
        check(code == 0, f"SIGTERM under load: exit {code} after {seconds:.1f} s")
        slowest = max(slowest, seconds)
        harness.verify_deep(folder.data)
    load.check_journal(harness.journal(folder.data))
    return slowest, len(load.acked)


def with_slow_work(folder, upstream):
    """Model calls that take half a minute: the drain does not wait for them; after a restart they come to their end."""
    node = folder.node(*upstream.flags).wait_ready()
    upstream.script({"otherwise": {"delay_ms": 30000}})
    session = Client(node.url).call("POST", "/v1/sessions/start", {"prompt": "slow"}, "slow-session")
    check(session.status == 202, session.body)
    outcome = []

    def wait():
        try:
            outcome.append(Client(node.url, timeout=40).call("POST", "/v1/infer_sync", {"prompt": "slow"}, "slow").status)
        except BROKEN:
            outcome.append("cut")

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    time.sleep(0.5)
    code, seconds = node.terminate()
    waiting.join(5)
    check(code == 0, f"SIGTERM with slow work: exit {code}")
    check(outcome and outcome[0] != 200, f"an answer that cannot be: {outcome}")
    harness.verify_deep(folder.data)
    upstream.script({"otherwise": {}})
    node = folder.node(*upstream.flags).wait_ready()
    client = Client(node.url, timeout=60)
    answer = client.call("POST", "/v1/infer_sync", {"prompt": "slow"}, "slow")
    check(answer.status == 200 and answer.json["output"] == "Hello from the script.", f"{answer.status} {answer.body}")
    path = "/v1/sessions/" + session.json["session_id"]
    harness.wait_until("the session's turn ends after the restart", 30,
                       lambda: client.call("GET", path).json["turns"][0]["status"] == "completed", 0.1)
    code, _ = node.terminate()
    check(code == 0, f"exit {code}")
    return seconds


def with_a_long_query(folder, upstream):
    node = folder.node(*upstream.flags).wait_ready()
    forever = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
    ended = []

    def ask():
        try:
            ended.append(Client(node.url, timeout=40).call("POST", "/v1/log/sql", {"query": forever, "time_ms": 30000}).status)
        except BROKEN:
            ended.append("cut")

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    time.sleep(0.5)
    check(not ended, f"the query ended by itself: {ended}")
    code, seconds = node.terminate()
    asking.join(5)
    check(code == 0, f"SIGTERM with a long query: exit {code}")
    check(ended and ended[0] != 200, f"an answer that cannot be: {ended}")
    check(seconds <= 10, f"SIGTERM with a long query: {seconds:.1f} s")


def second_start(folder, upstream):
    first = folder.node(*upstream.flags)
    early = folder.node(*upstream.flags)  # while the first one starts: one of the two serves
    harness.wait_until("one of two serves", 20, lambda: any(n.ready_line for n in (first, early)) and
                       any(n.process.poll() is not None for n in (first, early)))
    holder, refused = (first, early) if first.ready_line else (early, first)
    check(refused.process.poll() == 8, f"two starts at once: the other ended with {refused.process.poll()}")
    late = folder.node(*upstream.flags)
    check(late.process.wait(10) == 8, f"second start: exit {late.process.poll()}")
    for node in (refused, late):
        check(str(holder.pid) in node.log(), f"the holder's pid {holder.pid} is not named: {node.log()}")
    check(Client(holder.url).call("POST", "/v1/remember", {"text": "still here"}, "still").status == 200,
          "the holder was disturbed")
    code, _ = holder.terminate()
    check(code == 0, f"exit {code}")


def while_starting(upstream, rounds):
    slowest = 0.0
    with harness.Folder() as folder:
        for n in range(rounds):
            node = folder.node(*upstream.flags)
            time.sleep(random.uniform(0.01, 1.5 if n == 0 else 0.3))
            began = time.monotonic()
            os.kill(node.process.pid, signal.SIGTERM)
            code = node.process.wait(20)
            slowest = max(slowest, time.monotonic() - began)
            early = code == -signal.SIGTERM and time.monotonic() - node.began < 1  # before main had begun
            check(code == 0 or early, f"SIGTERM while starting: exit {code}\n{node.log()}")
        node = folder.node(*upstream.flags).wait_ready()
        check(node.terminate()[0] == 0, "the folder does not serve after stopped starts")
    return slowest


def with_recalls_that_wait(upstream, rounds):
    """A recall that a kill left behind waits for the index, which reads a long log again: it must not outlive what it asks."""
    with harness.Folder() as folder:
        flags = (*upstream.flags, "--postgres", harness.NO_POSTGRES)
        load = Workload(folder.path + "/acknowledged.log")
        for n in range(rounds):
            if n % 3 == 0:
                node = folder.node(*flags).wait_ready()
                load.start(node.url)
                time.sleep(random.uniform(0.3, 0.8))
                node.kill()
                load.stop()
            node = folder.node(*flags)
            time.sleep(random.uniform(0.05, 0.5))
            os.kill(node.process.pid, signal.SIGTERM)
            code = node.process.wait(20)
            check(code in (0, -signal.SIGTERM), f"SIGTERM while recalls wait: exit {code}\n{node.log()}")


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=4)
    rounds = parser.parse_args().rounds
    with harness.Upstream() as upstream, harness.Folder() as folder:
        loaded, acked = under_load(folder, upstream, rounds)
        gate("R25-load", f"{rounds} drains under load, slowest {loaded:.1f} s, {acked} acknowledged, 0 lost", "10 s",
             loaded <= 10)
        slow = with_slow_work(folder, upstream)
        gate("R25-slow", f"{slow:.1f} s with model calls of 30 s under way", "10 s", slow <= 10)
        with_a_long_query(folder, upstream)
        second_start(folder, upstream)
        with_recalls_that_wait(upstream, 3 * rounds)
        starting = while_starting(upstream, 2 * rounds)
        gate("R25-starting", f"{starting:.1f} s", "10 s", starting <= 10)


if __name__ == "__main__":
    harness.main(run)
