#!/usr/bin/env python3
"""Gate R6: which lines and branches the unit, component, simulation and conformance tests take, by gcov.

usage: tools/gate/coverage.py [--no-tests] [--jobs N] [--worst N]
  --no-tests   reads what the last run left
  --worst N    names the N files with most branches that no test takes (default: 15)
Builds the preset `coverage` (some 20 minutes on two cores), runs its tests and adds up what gcovr reads. Branches that only an exception takes,
and what the compiler says cannot be reached, are left out. Needs the Debian package gcovr (tools/setup --coverage). A missed bar is no failure: tools/gates
compares by itself. Exit status 77 without gcovr.
"""

import argparse
import dataclasses
import glob
import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build", "coverage")
LAYERS = ("actors", "events", "schemas", "runtime", "projections")
CORE = ("actors/", "events/", "schemas/base/", "runtime/security/")
KINDS = "^(unit|pg|sim|conformance)$"
CONTRACT = "contract_test$|^principals_test$|^authorization_test$|^every_command_test$"  # the same of a whole node, from outside
PLANTED = "canary_sim_test"  # runs programs with bugs


@dataclasses.dataclass
class Sum:
    """Lines and branches of some files."""

    lines: int = 0
    lines_taken: int = 0
    branches: int = 0
    branches_taken: int = 0

    def add(self, file):
        self.lines += file["line_total"]
        self.lines_taken += file["line_covered"]
        self.branches += file["branch_total"]
        self.branches_taken += file["branch_covered"]

    def line_share(self):
        return share(self.lines_taken, self.lines)

    def branch_share(self):
        return share(self.branches_taken, self.branches)


def share(part, whole):
    """Per cent, never rounded up to a hundred."""
    return 100.0 if part == whole else min(round(100 * part / whole, 2), 99.99)


def build_and_test(jobs):
    subprocess.run(["bash", "-c", '. tools/lib/common.sh; . tools/lib/build.sh; build coverage'], cwd=ROOT, stdout=sys.stderr, check=True)
    for counted in glob.glob(os.path.join(BUILD, "**", "*.gcda"), recursive=True):
        os.remove(counted)
    for which in (["-L", KINDS, "-E", PLANTED], ["-R", CONTRACT]):
        subprocess.run(["ctest", "--preset", "coverage", *which, "-j", str(jobs), "--output-on-failure", "--timeout", "900"],
                       cwd=ROOT, stdout=sys.stderr, check=True)


def read(jobs):
    """gcovr's summary, file by file."""
    words = ["gcovr", "--root", ROOT, "--object-directory", BUILD, "-j", str(jobs), "--exclude-throw-branches", "--exclude-unreachable-branches",
             "--json-summary", "-"]
    for layer in LAYERS:
        words += ["--filter", os.path.join(ROOT, layer) + "/"]
    words += [os.path.join(BUILD, layer) for layer in LAYERS]
    files = json.loads(subprocess.run(words, cwd=BUILD, stdout=subprocess.PIPE, check=True).stdout)["files"]
    for file in files:  # headers are seen through links in the build folder
        file["filename"] = os.path.relpath(os.path.realpath(os.path.join(ROOT, file["filename"])), ROOT)
    return files


def tell(files, worst):
    everything, core, folders = Sum(), Sum(), {}
    for file in files:
        everything.add(file)
        if file["filename"].startswith(CORE):
            core.add(file)
        folders.setdefault(os.path.dirname(file["filename"]), Sum()).add(file)
    for name, s in sorted(folders.items()):
        print(f"{name:32} lines {s.line_share():6.2f} %  branches {s.branch_share():6.2f} %  ({s.branches_taken} of {s.branches})")
    for file in sorted(files, key=lambda f: f["branch_covered"] - f["branch_total"])[:worst]:
        print(f"not taken: {file['branch_total'] - file['branch_covered']:4} branches of {file['filename']}")
    print(f"R6 lines {everything.line_share()} % of {everything.lines}")
    print(f"R6 branches {everything.branch_share()} % of {everything.branches}")
    print(f"R6 core branches {core.branch_share()} % of {core.branches}, {core.branches - core.branches_taken} not taken")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-tests", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--worst", type=int, default=15)
    args = parser.parse_args()
    if not shutil.which("gcovr"):
        print("coverage: gcovr is not installed: tools/setup --coverage", file=sys.stderr)
        return 77
    if not args.no_tests:
        build_and_test(args.jobs)
    tell(read(args.jobs), args.worst)
    return 0


if __name__ == "__main__":
    sys.exit(main())
