#!/usr/bin/env python3
"""A replay that is stopped with Ctrl-C goes on from its checkpoint, as often as one likes, and ends with what one in a piece says.

So does one that finds differences, whose divergences must be the same whether they stand before the stop or behind it.
"""

import json
import os
import signal
import subprocess

import harness
from harness import check, wait_until

PLANT = os.path.join(harness.BUILD, "tests", "system", "plant_entries")
CHANGED = os.path.join(harness.BUILD, "tests", "system", "changed_soma")
COMMANDS = 240_000  # several batches of each partition's records
OF_A_RUN = ("seconds", "events_per_s", "jobs", "stopped", "ok")


def hears_interrupts(pid):
    """Until its handler is there, a signal would end it at once."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        caught = next(line for line in f if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & (1 << (signal.SIGINT - 1)))


def interrupted(program, data, env, *words):
    """Stopped as soon as it can be: (exit code, its report)."""
    process = subprocess.Popen([program, "--data-dir", data, "replay", *words, "-o", "json"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env={**os.environ, **env})
    wait_until("it hears Ctrl-C", 60, lambda: process.poll() is not None or hears_interrupts(process.pid), 0.001)
    check(process.poll() is None, f"it ended with {process.poll()} before it could be stopped")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    check(out, f"no report: exit {process.returncode} {err}")
    return process.returncode, json.loads(out), err


def run(program, data, env, *words):
    done = subprocess.run([program, "--data-dir", data, "replay", *words, "-o", "json"], capture_output=True, text=True, timeout=300,
                          check=False, env={**os.environ, **env})
    check(done.stdout, f"no report: exit {done.returncode} {done.stderr}")
    return done.returncode, json.loads(done.stdout)


def result(report):
    return {name: value for name, value in report.items() if name not in OF_A_RUN}


def partitions(file):
    with open(file, encoding="utf-8") as f:
        return json.load(f)["partitions"]


def resumed(folder, program, env, name, expected, jobs):
    file = os.path.join(folder.path, f"{name}-{jobs}.json")
    code, whole = run(program, folder.data, env, "--jobs", jobs)
    check(code == expected and not whole["stopped"], f"{name}: exit {code} {whole}")
    check(whole["commands"] > COMMANDS * 0.99, f"{name}: {whole['commands']} commands")
    code, first, err = interrupted(program, folder.data, env, "--jobs", jobs, "--checkpoint", file)
    check(first["stopped"] and not first["ok"] and code in (1, 64), f"{name}: exit {code}, {first}")
    check(code == 64 or f"--resume {file}" in err, f"{name}: it does not say how to go on: {err}")
    check(first["commands"] < whole["commands"], f"{name}: it was at the end already: {first['commands']}")
    kept = partitions(file)
    code, second, _ = interrupted(program, folder.data, env, "--jobs", jobs, "--resume", file)
    check(second["stopped"] and code in (1, 64), f"{name}: the second stop, exit {code}")
    again = partitions(file)
    check(all(b["next"] >= a["next"] for a, b in zip(kept, again)), f"{name}: the second run went back\n{kept}\n{again}")
    code, last = run(program, folder.data, env, "--jobs", jobs, "--resume", file)
    check(code == expected and not last["stopped"], f"{name}: resumed, exit {code} {last}")
    check(result(last) == result(whole), f"{name}: in parts\n{result(last)}\nin a piece\n{result(whole)}")
    return first["commands"], second["commands"]


def test():
    with harness.Folder() as folder, harness.Upstream() as upstream:
        node = folder.node(*upstream.flags, "--postgres", harness.NO_POSTGRES).wait_ready()
        node.terminate()
        done = subprocess.run([PLANT, os.path.join(folder.data, "log"), "adds", "many", str(COMMANDS)], capture_output=True,
                              text=True, check=False)
        check(done.returncode == 0, f"plant_entries: {done.stderr}")
        stops = [resumed(folder, harness.SOMA, {}, "same", 0, jobs) for jobs in ("1", "2")]
        stops.append(resumed(folder, CHANGED, {"SOMA_CHANGE": "counter:add:alter_event"}, "changed", 64, "2"))
    check(any(sum(s) for s in stops), "no run came further than its start before it was stopped")
    print(f"stopped after {stops} of {COMMANDS} commands, and resumed to the same end")


if __name__ == "__main__":
    harness.main(test)
