#!/usr/bin/env python3
"""Checks the model of the fence with Spin: with all rules no assertion fails; without any one of them one does.

usage: fence_model_test.py [--full]      (--full: three lives of owners too)
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fence.pml")
WITHOUT = ("NO_FENCE", "NO_OFFSET_RULE", "TRUST_ERROR_OFFSET", "CLAIM_UNREAD", "GO_ON", "NO_GAP_READ")
SIZES = (("LIVES=2", "FRAMES=2", "ROOM=6"),)
FULL = (("LIVES=3", "FRAMES=1", "ROOM=5"), ("LIVES=2", "FRAMES=3", "ROOM=6"))


def check(*definitions):
    """(errors, states, the first failed assertion) of the model with these definitions."""
    with tempfile.TemporaryDirectory() as folder:
        def run(*command):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
            return done.returncode, done.stdout + done.stderr
        code, out = run("spin", "-a", *("-D" + d for d in definitions), MODEL)
        if code != 0:
            sys.exit(f"spin: {out}")
        code, out = run("cc", "-O2", "-DSAFETY", "-DCOLLAPSE", "-w", "-o", "pan", "pan.c")
        if code != 0:
            sys.exit(f"cc: {out}")
        _, out = run("./pan", "-E", "-n", "-m100000")
    # A search that was cut short proves nothing.
    if "errors:" not in out or "max search depth too small" in out or "out of memory" in out:
        sys.exit(f"pan did not finish: {out}")
    errors = int(re.search(r"errors: (\d+)", out).group(1))
    states = int(re.search(r"(\d+) states, stored", out).group(1))
    failed = re.search(r"pan:1: (.*)", out)
    return errors, states, failed.group(1) if failed else ""


def main():
    if not shutil.which("spin"):
        print("skipped: spin is missing (tools/setup --tests)")
        sys.exit(77)
    wrong, states = [], 0
    for size in SIZES + (FULL if "--full" in sys.argv else ()):
        errors, seen, failed = check(*size)
        states += seen
        print(f"{' '.join(size)}: {seen} states, {errors} errors {failed}", flush=True)
        if errors:
            wrong.append(f"the model with all rules fails: {failed}")
    found = 0
    for rule in WITHOUT:
        errors, seen, failed = check(*SIZES[0], rule)
        found += bool(errors)
        print(f"{rule}: {'found after ' + str(seen) + ' states: ' + failed if errors else 'NOT FOUND'}", flush=True)
        if not errors:
            wrong.append(f"without a rule ({rule}) the model shows no error")
    print(f"GATE M1 {found} of {len(WITHOUT)} rules missed when taken out; {states} states with all of them")
    for problem in wrong:
        print(problem, file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
