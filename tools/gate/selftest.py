"""The gates can fail: a row whose figure misses its bar, is not printed, or comes from a run that ends badly."""

import json
import sys
import tempfile

import beside
import ledger
import run
import table


def gate(bar, reads=r"GATE X1 ([\d.,]+)", command="unused"):
    return table.Gate("X1", "T1", "", bar, "", reads, command)


def verdict(bar, output, failed=None, reads=r"GATE X1 ([\d.,]+)"):
    return run.judge(gate(bar, reads), output, failed)["verdict"]


def kept(**changed):
    """The verdict that a page takes from an earlier run of R3, where that one asked for something else."""
    row = next(g for g in table.load() if (g.id, g.tier) == ("R3", "T1"))
    old = {"id": row.id, "tier": row.tier, "command": row.command, "bar": row.bar, "verdict": "PASS", **changed}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"gates": [old]}, file)
        file.flush()
        return next(g for g in run.kept(file.name, "T1", []) if g["id"] == "R3")["verdict"]


def scheduled():
    """Which of three parts a command goes to, by the units of its bars."""
    rows = [gate(">= 60 hours", command="x sim run y"), gate(">= 30 kills", command="counts"), gate("<= 1 s", command="both"),
            gate(">= 4 cycles", command="both"), gate(">= 0.8", command="a share"), gate("<= 2 times", command="a ratio")]
    return beside.schedule(rows)


def slices(*parts):
    """What a ledger of slices counts, each (cluster-hours, failed seeds)."""
    made = [{"cluster_hours": hours, "failed": failed, "seeds": 1, "commit": "c", "catalogue_50": 1, "faults": {"crash": 30}} for hours, failed in parts]
    counts = ledger.totals(ledger.counted(made))
    return counts["cluster_hours"], counts["kinds_50"]


CASES = [
    ("hours add up over slices", slices((2, 0), (3, 0)), (5, 1)),
    ("a failed seed begins anew", slices((2, 0), (3, 1), (4, 0)), (4, 0)),
    ("what measures time has nothing beside it", scheduled(), (["x sim run y"], ["counts"], ["both", "a share", "a ratio"])),
    ("meets >=", verdict(">= 100 points", "GATE X1 100 points"), "PASS"),
    ("misses >=", verdict(">= 100 points", "GATE X1 8 points"), "FAIL"),
    ("meets <=", verdict("<= 0.1 s", "GATE X1 0.1"), "PASS"),
    ("misses <=", verdict("<= 0.1 s", "GATE X1 0.11"), "FAIL"),
    ("equal", verdict("= 0 hits", "GATE X1 0"), "PASS"),
    ("not equal", verdict("= 0 hits", "GATE X1 1"), "FAIL"),
    ("no figure", verdict("<= 5 s", "nothing here"), "FAIL"),
    ("ended badly", verdict(">= 1 points", "GATE X1 100", "exit 1"), "FAIL"),
    ("the last counts", verdict(">= 2 points", "GATE X1 1\nGATE X1 2"), "PASS"),
    ("the worst counts", verdict("<= 2 s", "GATE X1 3\nGATE X1 2", reads=r"max:X1 ([\d.]+)"), "FAIL"),
    ("lines are counted", verdict(">= 3 bugs", "OK\nOK\n", reads=r"count:^OK"), "FAIL"),
    ("thousands", verdict(">= 1000 x", "GATE X1 1,000"), "PASS"),
    ("a missing program", run.judge(gate(">= 1 x", command="build/none"), *run.run("build/none", 5)[:2])["verdict"], "FAIL"),
    ("its environment", run.split("A_1=x B=y/z build/p --q")[1] == ["build/p", "--q"], True),
    ("skipped", run.run("sh -c 'exit 77'", 5)[1] is None, False),
    ("an earlier run's", kept(), "PASS"),
    ("of another bar", kept(bar=">= 1 seeds"), "not run"),
    ("of another command", kept(command="true"), "not run"),
    ("too late", run.run("sleep 5", 0.1)[1] is None, False),
]


def main():
    wrong = [f"{name}: {got}, not {wanted}" for name, got, wanted in CASES if got != wanted]
    table.load()
    for problem in wrong:
        print(f"tools/gate: {problem}")
    print(f"gates: {len(CASES)} verdicts, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
