#!/usr/bin/env python3
"""The restore drill: a backup is made of a serving node, then its machine is lost.

Restored onto an empty machine: from the backup and the log's disk, which holds all that was acknowledged; and from the
backup alone, which holds all that was acknowledged before it was begun. Nothing else of the first machine is used
than its keys. Both serve, verify, answer retries as before, and their views are what the log makes.

usage: restore_test.py [--actors N] [--each N]
"""

import argparse
import os
import shutil
import time

import harness
from harness import Client, check, gate, soma_lines
from workload import Workload


def heads(data):
    return {p["partition"]: (p["records"], p["head"]) for p in soma_lines(data, "log", "partitions")}


def back_up(data, where):
    """What docs/runbooks.md tells: the records and the keys. While the node serves."""
    code, out, err = harness.soma("log", "export", "--to", where, data=data, timeout=600)
    check(code == 0 and "every chain head is equal" in err, f"soma log export: exit {code}\n{out}{err}")
    shutil.copytree(data + "/keys", where + "/keys")


def restore(folder, source, data, flags):
    """A copy of log and keys on an empty machine, until it serves and its views are whole: (node, seconds)."""
    began = time.monotonic()
    os.mkdir(data)
    for part in ("log", "keys"):
        shutil.copytree(os.path.join(source, part), os.path.join(data, part))
    verified = harness.verify_deep(data)
    check(verified["ok"], f"the restored chain: {verified}")
    node = folder.node(*flags, data=data).wait_ready(300)
    client = Client(node.url)
    harness.wait_until("every view has caught up", 600, lambda: caught_up(client), 0.2)
    return node, time.monotonic() - began, verified


def caught_up(client):
    views = client.call("GET", "/v1/admin/projections").json
    return views["status"] == "following" and views["lag_frames"] == 0


def serves(node, load, acked, data):
    client = Client(node.url)
    load.check_replays(node.url, acked[-100:])
    views = soma_lines(data, "projections", "verify")[0]
    check(views["ok"] and views["rows"], f"views: {views}")
    check(client.call("POST", "/v1/remember", {"text": "after the restore"}, "after-" + os.path.basename(data)).status == 200,
          "the restored node takes no writes")
    code, _ = node.terminate()
    check(code == 0, f"SIGTERM gave exit {code}")
    load.check_journal(harness.journal(data), acked)
    harness.verify_deep(data)


def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--actors", type=int, default=1000)
    parser.add_argument("--each", type=int, default=10)
    options = parser.parse_args()
    with harness.Upstream() as upstream, harness.Folder() as folder:
        harness.write_history(folder.data, options.actors, options.each)
        load = Workload(folder.path + "/acknowledged.log")
        node = folder.node(*upstream.flags).wait_ready(300)
        load.start(node.url)
        load.advance(100)
        before = list(load.acked)
        backup = folder.path + "/backup"
        back_up(folder.data, backup)
        load.advance(50)
        node.kill()
        load.stop()
        lost = heads(folder.data)
        kept = heads(backup)
        check(all(kept[p][0] <= lost[p][0] for p in lost) and kept != lost, "the backup is not an earlier state")

        # The machine is lost, its log's disk is not: log and keys, no snapshots, no views, no caches.
        whole = folder.path + "/whole"
        node, seconds, verified = restore(folder, folder.data, whole, upstream.flags)
        everything = list(load.acked)
        load.retry_open(node.url)  # what had no answer gets one now
        serves(node, load, everything, whole)

        # The log is lost too: what the backup holds, to the last record that it holds.
        shutil.rmtree(folder.data)
        alone = folder.path + "/alone"
        node, alone_s, _ = restore(folder, backup, alone, upstream.flags)
        check(all(heads(backup)[p] == kept[p] for p in kept), "serving changed the backup")
        serves(node, load, before, alone)
        slowest = max(seconds, alone_s)
        gate("R27", f"{slowest:.1f} s until {verified['events']} events serve, {len(everything)} acknowledged, 0 lost",
             "600 s", slowest <= 600)


if __name__ == "__main__":
    harness.main(run)
