#!/usr/bin/env python3
"""What a node recorded, killed in the middle of its work, is the beginning of simulated worlds: all invariants hold over it, and its sessions,
calls and timers come to their end there. A build that decides otherwise is found at the first command of the journal that it decides otherwise."""

import json
import os
import subprocess

import harness
from harness import check, wait_until
from workload import Workload

CHANGED = os.path.join(harness.BUILD, "tests", "system", "changed_soma")


def simulate(program, *words, **env):
    done = subprocess.run([program, "sim", "run", *words, "-o", "json"], capture_output=True, text=True, timeout=300, check=False,
                          env={**os.environ, **env})
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test():
    with harness.Folder() as folder, harness.Upstream() as upstream:
        node = folder.node(*upstream.flags, "--postgres", harness.NO_POSTGRES).wait_ready()
        client = harness.Client(node.url)
        check(client.call("POST", "/v1/bench/counter/seen/add", {"amount": 3}, "seen").status == 200, "a counter")
        workload = Workload(os.path.join(folder.path, "acked"), clients=4)
        workload.start(node.url)
        wait_until("enough is acknowledged", 60, lambda: len(workload.acked) > 150)
        node.kill()
        workload.stop()
        journal = harness.verify_deep(folder.data)
        code, worlds, err = simulate(harness.SOMA, "--from", folder.data, "--seeds", "1..6", "--steps", "3000")
        check(code == 0 and len(worlds) == 6, f"exit {code}: {err} {[w.get('violation') for w in worlds]}")
        for world in worlds:
            check(world["ok"] and world["events"] > journal["events"], f"a world without the journal: {world}")
        check(len({world["trace"] for world in worlds}) == 6, "seeds that are the same world")
        again = simulate(harness.SOMA, "--from", folder.data, "--seed", "3", "--steps", "3000")[1]
        check(again[0]["trace"] == worlds[2]["trace"], "the same seed over the same journal is another world")
        code, changed, err = simulate(CHANGED, "--from", folder.data, "--seed", "1", SOMA_CHANGE="counter:add:alter_event")
        check(code == 9 and changed[0]["violation"]["invariant"] == "I14", f"exit {code}: {changed} {err}")
        check("counter/seen" in changed[0]["violation"]["what"] and f"--from {folder.data}" in err, f"{changed} {err}")
        code, none, err = simulate(harness.SOMA, "--from", folder.path, "--seed", "1")
        check(code == 3 and not none and "no journal" in err, f"exit {code}: {none} {err}")
    print(f"six worlds began with {journal['events']} recorded events and ended well")


if __name__ == "__main__":
    harness.main(test)
