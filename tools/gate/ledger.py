#!/usr/bin/env python3
"""Simulated hours that add up over sittings: slices of seeds that no slice before had, kept by commit in tests/simulation/ledger.json.

usage: tools/gate/ledger.py [--hours H] [--minutes M] [--slice S] [--jobs J]
Runs slices of S seconds until the ledger counts H cluster-hours or M minutes have passed, then prints the totals of what counts.
A seed that fails begins the count anew: what is promised is that no hour since then had a violation. Exit status 1 then.
"""

import argparse
import json
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE = os.path.join(ROOT, "tests", "simulation", "ledger.json")
SEEDS = 1_000_000  # of a slice at most; the first million is T1's


def load(path=FILE):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return json.load(file)["slices"]


def store(slices, path=FILE):
    lines = ",\n".join("  " + json.dumps(s, separators=(",", ":")) for s in slices)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write('{"slices": [\n' + lines + "\n]}\n")
    os.replace(path + ".new", path)


def counted(slices):
    """The slices since the last one with a violation."""
    last = max((i for i, s in enumerate(slices) if s["failed"]), default=-1)
    return slices[last + 1:]


def totals(slices):
    faults = {}
    for part in slices:
        for kind, times in part["faults"].items():
            faults[kind] = faults.get(kind, 0) + times
    return {"cluster_hours": round(sum(s["cluster_hours"] for s in slices), 2), "seeds": sum(s["seeds"] for s in slices),
            "commits": len({s["commit"] for s in slices}), "kinds_50": sum(n >= 50 for n in faults.values()),
            "catalogue_50": max((s["catalogue_50"] for s in slices), default=0), "faults": faults}


def run_slice(number, seconds, jobs):
    first = number * SEEDS + 1
    words = [os.path.join(ROOT, "build/release/tools/soma"), "sim", "run", "--seeds", f"{first}..{first + SEEDS - 1}",
             "--budget", str(seconds), "--jobs", str(jobs), "--report"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = [json.loads(l) for l in done.stdout.splitlines() if l.startswith("{")]
    if not lines or "cluster_hours_per_wall_hour" not in lines[-1]:
        raise SystemExit(f"ledger: no totals: {done.stderr[-500:]}")
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    kept = {k: lines[-1][k] for k in ("seeds", "failed", "cluster_hours", "catalogue_50", "faults")}
    return {"first": first, "commit": commit.stdout.strip(), "on": time.strftime("%Y-%m-%d", time.gmtime()),
            "failed_seeds": [l["seed"] for l in lines[:-1]], **kept}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1500)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--slice", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    until, slices = time.monotonic() + args.minutes * 60, load()
    while totals(counted(slices))["cluster_hours"] < args.hours and time.monotonic() < until:
        slices.append(run_slice(max((s["first"] // SEEDS for s in slices), default=0) + 1, args.slice, args.jobs))
        store(slices)
        print(f"ledger: {totals(counted(slices))['cluster_hours']:.1f} of {args.hours:.0f} hours; this slice {slices[-1]['cluster_hours']:.1f},"
              f" failed seeds {slices[-1]['failed_seeds'] or 'none'}", flush=True)
        if slices[-1]["failed"]:
            break
    print(json.dumps(totals(counted(slices)), separators=(",", ":")))
    return 1 if slices and slices[-1]["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
