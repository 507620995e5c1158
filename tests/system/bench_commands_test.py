#!/usr/bin/env python3
"""`soma bench` of what is measured in this process or on a node of its own: small runs end well, and their line is the
contract's. What was not measured is null; a peer that cannot be run is an error and never a figure.
"""

import json
import os
import re

import harness
from harness import check, soma

MEMBERS = {"bench", "when", "machine", "durability", "clients", "ours", "peer", "ratio"}
SIDE = {"ops", "p50_ms", "p99_ms", "p999_ms", "cpu_s", "rss_mb"}
# name: (flags of a small run, whether latencies are taken, figures of its own, gates that it tells)
RUNS = {
    "workflow": (("--clients", "16", "--seconds", "1"), True, {"steps": 3}, ()),
    "replay": (("--events", "20000"), False, {"events": 20000}, ("B6",)),
    "timers": (("--timers", "200", "--seconds", "1"), True, {"timers": 200, "at_one_instant": 20}, ("B9",)),
    "actors": (("--actors", "2000"), False, {"actors": 2000}, ("B5", "B8")),
    "projection": (("--clients", "8", "--seconds", "1"), False, {}, ()),
}
# Peers that it would take a program to run; and one that is run, of those that come by Maven.
UNWRITTEN = {"workflow": "temporal", "timers": "temporal", "actors": "kafka-streams"}
BY_MAVEN = {"replay": ("pekko", "--events", "20000"), "actors": ("pekko", "--actors", "2000")}


def measured(folder, name, flags, timed, own, gates):
    code, out, err = soma("bench", name, "--runs", "1", "--folder", folder.path, *flags, "-o", "json", timeout=120)
    check(code == 0, f"bench {name}: exit {code}\n{out}{err}")
    check(len(out.splitlines()) == 1, f"not one line: {out}")
    line = json.loads(out)
    check(MEMBERS <= set(line) and SIDE == set(line["ours"]), f"{name}: {line}")
    check(line["bench"] == name and line["durability"]["ours"], f"{name}: {line}")
    if name == "timers":  # they fire when they are due: that is no rate
        check(line["ours"]["ops"] is None and line["armed_per_s"] > 0, f"{name}: {line}")
    else:
        check(line["ours"]["ops"] > 0, f"{name}: {line}")
    check(line["peer"] is None and line["ratio"] is None and line["durability"]["peer"] is None, f"{name}: a peer: {line}")
    for percentile in ("p50_ms", "p99_ms", "p999_ms"):
        value = line["ours"][percentile]
        check((value > 0) if timed else (value is None), f"{name}: {percentile} is {value}")
    for field, value in own.items():
        check(line[field] == value, f"{name}: {field} is {line[field]}, not {value}")
    told = re.findall(r"^GATE (\S+) \S+ \S+ (?:PASS|FAIL)$", err, re.M)
    check(tuple(told) == gates, f"{name}: gates {told}, not {gates}")
    check(os.listdir(folder.path) == [], f"{name} left {os.listdir(folder.path)}")


def refused(name, peer):
    code, out, err = soma("bench", name, "--peer", "nobody", "-o", "json")
    check(code == 2 and out == "" and "nobody" in json.loads(err)["error"]["message"], f"bench {name} --peer nobody: {code} {out}{err}")
    if not peer:
        return
    code, out, err = soma("bench", name, "--peer", peer, "-o", "json")
    error = json.loads(err)["error"]
    check(code == 1 and out == "" and peer in error["message"] and "would need" in error["message"] and "--peer" in error["hint"],
          f"bench {name} --peer {peer}: {code} {out}{err}")


def without(tool, name, peer, *flags):
    """What a peer needs is missing: it is named, and nothing is told."""
    with harness.Folder() as folder:
        code, out, err = soma("bench", name, "--peer", peer, "--runs", "1", *flags, "--folder", folder.path, "-o", "json",
                              env={"PATH": "/nowhere", "SOMA_CACHE_DIR": folder.path}, timeout=120)
        error = json.loads(next(line for line in reversed(err.splitlines()) if line.startswith("{")))["error"]
        check(code == 1 and out == "" and error["code"] == "unavailable" and tool in error["message"], f"{code} {out}{err}")


def beside_caf():
    """The one peer that needs nothing: it is linked."""
    with harness.Folder() as folder:
        code, out, err = soma("bench", "actors", "--peer", "caf", "--actors", "2000", "--runs", "1", "--folder", folder.path, "-o", "json",
                              timeout=120)
        check(code == 0 and re.search(r"^GATE B8.caf \S+ 1 PASS$", err, re.M), f"{code} {out}{err}")
        line = json.loads(out)
        check(line["peer"]["ops"] is None and 50 < line["peer_bytes_per_actor"] < 100_000, str(line))


def test():
    for name, run in RUNS.items():
        with harness.Folder() as folder:
            measured(folder, name, *run)
        refused(name, UNWRITTEN.get(name))
    beside_caf()
    without("npm", "workflow", "dbos", "--seconds", "1", "--clients", "4")
    for name, (peer, *flags) in BY_MAVEN.items():
        without("Maven", name, peer, *flags)
    code, out, err = soma("bench", "replay", "--engine", "kafka", "--kafka", "127.0.0.1:1", "-o", "json")
    error = json.loads(err)["error"]
    check(code == 1 and out == "" and "embedded" in error["message"], f"{code} {out}{err}")
    both = soma("bench", "workflow", "--peer", "dbos", "--engine", "kafka", "--kafka", "127.0.0.1:1", "-o", "json")
    error = json.loads(both[2])["error"]
    check(both[0] == 1 and "embedded" in error["message"] and "--peer" not in (error.get("hint") or ""), f"no peer is at fault: {both}")


if __name__ == "__main__":
    harness.main(test)
