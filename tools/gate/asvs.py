#!/usr/bin/env python3
"""What answers OWASP's ASVS 5.0.0, levels 1 and 2, and its top tens for models and for agents, row by row: checks docs/asvs.tsv.

usage: tools/gate/asvs.py [--table FILE] [--build DIR] [--no-bars]
  --build DIR    the build whose ctest names a proof may be (default: build/release)
  --no-bars      a missed bar is no failure: tools/gates compares by itself

A proof is TEST or TEST/CASE: a name that ctest knows, and a case, suite or function of that test's own sources.
Exit status 1 when the table is malformed, or a bar is missed.
"""

import argparse
import collections
import dataclasses
import glob
import math
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TESTS = os.path.join(ROOT, "tests")
ID = re.compile(r"V\d+\.\d+\.\d+|(LLM|ASI)(0[1-9]|10)")
COUNTS = {"1": 70, "2": 183, "-": 20}  # rows of each level; `-`: the two top tens
WORDS = 14


@dataclasses.dataclass
class Row:
    """One requirement."""

    id: str
    level: str
    what: str
    applies: str
    proof: str
    note: str

    def proofs(self):
        return [p.strip() for p in self.proof.split(",") if p.strip()]

    def answered(self):
        return bool(self.note or (self.applies == "yes" and self.proofs()))


def load(path):
    """(rows, what is wrong with them)."""
    rows, wrong = [], []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if line.startswith("#"):
                continue
            cells = line.rstrip("\n").split("\t")
            if len(cells) != 6:
                wrong.append(f"line {number}: {len(cells)} cells, not 6")
                continue
            rows.append(Row(*(c.strip() for c in cells)))
    return rows, [*wrong, *(f"{row.id}: {what}" for row in rows for what in shape(row)), *whole(rows)]


def shape(row):
    if not ID.fullmatch(row.id):
        yield "no id of a requirement"
    if row.level not in COUNTS or (row.level == "-") != (not row.id.startswith("V")):
        yield f"level {row.level!r}"
    if row.applies not in ("yes", "no"):
        yield f"applies: {row.applies!r}, not yes or no"
    if not 0 < len(row.what.split()) <= WORDS:
        yield f"what: {len(row.what.split())} words, at most {WORDS}"
    if row.applies == "no" and row.proofs():
        yield "does not apply, and has a proof"
    if not row.answered():
        yield "has neither test nor note"


def whole(rows):
    """Each requirement once, and none left out."""
    for name, times in collections.Counter(r.id for r in rows).items():
        if times > 1:
            yield f"{name} stands {times} times"
    for level, wanted in COUNTS.items():
        found = sum(r.level == level for r in rows)
        if found != wanted:
            yield f"{found} rows of level {level}, not {wanted}"


def tests_of(build):
    """Asked from a folder beside it: ctest -N writes a log where it looks, over that of a run that is under way."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "CTestTestfile.cmake"), "w", encoding="utf-8") as f:
            f.write(f'subdirs("{os.path.abspath(build)}")\n')
        done = subprocess.run(["ctest", "--test-dir", folder, "-N"], capture_output=True, text=True, check=False)
    names = set(re.findall(r"^ *Test +#\d+: (\S+)$", done.stdout, re.MULTILINE))
    if done.returncode or not names:
        sys.exit(f"asvs: ctest knows no tests in {build}: {done.stderr.strip() or 'configure it first'}")
    return names


def sources(test):
    """Files that a test is made of: its driver, or what lies beside the CMakeLists.txt that names it."""
    drivers = glob.glob(os.path.join(TESTS, "**", test + ".py"), recursive=True)
    if drivers:
        return drivers
    for listing in glob.glob(os.path.join(TESTS, "**", "CMakeLists.txt"), recursive=True):
        with open(listing, encoding="utf-8") as f:
            if re.search(rf"\bsoma_\w+\({re.escape(test)}\b", f.read()):
                return glob.glob(os.path.join(os.path.dirname(listing), "*.cpp"))
    return []


def cases(test):
    """Names of cases and suites in a test's sources; of a driver, its functions."""
    found = set()
    for path in sources(test):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        found.update(re.findall(r"^def (\w+)\(", text, re.MULTILINE))
        for pair in re.findall(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", text, re.MULTILINE):
            found.update(pair)
    return found


def unknown(rows, names):
    """Proofs that are not there."""
    known = {}
    for row in rows:
        for proof in row.proofs():
            test, _, case = proof.partition("/")
            if test not in names:
                yield f"{row.id}: ctest knows no {test}"
            elif case and case not in known.setdefault(test, cases(test)):
                yield f"{row.id}: {test} has no {case}"


def gate(name, figure, bar, passed):
    print(f"GATE {name} {figure:g} {bar} {'PASS' if passed else 'FAIL'}", flush=True)
    return passed


def judged(rows):
    """Prints the figures; whether all bars are met."""
    standard = [r for r in rows if r.level != "-"]
    applies = [r for r in standard if r.applies == "yes"]
    tested = [r for r in applies if r.proofs()]
    noted = [r for r in applies if not r.proofs() and r.note]
    unanswered = sum(not r.answered() for r in standard)
    answered = sum(r.answered() for r in rows if r.level == "-")
    share = 100 * len(tested) / max(1, len(applies))
    gaps = sum("gap:" in r.note for r in noted)
    print(f"{len(standard)} requirements: {len(applies)} apply, {sum(r.level == '1' for r in applies)} of these of level 1; "
          f"{len(tested)} have a test, {len(noted)} a note alone, {gaps} of which names a gap")
    bars = (gate("S20", math.floor(10 * share) / 10, ">=85", share >= 85),
            gate("S20.unanswered", unanswered, "=0", not unanswered),
            gate("S20.llm", answered, ">=20", answered >= 20))
    return all(bars)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default=os.path.join(ROOT, "docs", "asvs.tsv"))
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--no-bars", action="store_true")
    options = parser.parse_args()
    rows, wrong = load(options.table)
    wrong += unknown(rows, tests_of(options.build))
    for what in wrong:
        print("asvs:", what)
    met = judged(rows)
    return 1 if wrong or not (met or options.no_bars) else 0


if __name__ == "__main__":
    sys.exit(main())
