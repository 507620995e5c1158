"""The table of gates: rows, bars, and how a figure is read from what a command printed."""

import dataclasses
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TABLE = os.path.join(ROOT, "tools", "gate", "gates.tsv")
TIERS = ("T1", "T2", "-")
BAR = re.compile(r"^(>=|<=|=) ([0-9.]+)(?: (\S.*))?$")
READS = {"last": lambda v: v[-1], "sum": sum, "max": max, "min": min, "count": len}


@dataclasses.dataclass
class Gate:
    """One row. A row of tier `-` has no command: TODO."""

    id: str
    tier: str
    what: str
    bar: str
    full: str  # the bar of the long form, where this one asks for less
    reads: str
    command: str

    def number(self):
        return float(BAR.match(self.bar).group(2))

    def meets(self, figure):
        return {">=": figure >= self.number(), "<=": figure <= self.number(),
                "=": figure == self.number()}[BAR.match(self.bar).group(1)]

    def unit(self):
        return BAR.match(self.bar).group(3) or ""

    def short_bar(self):
        """One word, for the GATE line."""
        return re.sub(r"^([<>=]+) ", r"\1", self.bar).replace(" ", "_")

    def figure(self, output):
        """The measured number, or None when the output holds none."""
        how, _, pattern = self.reads.partition(":")
        if how not in READS:
            how, pattern = "last", self.reads
        found = [float(m.group(1).replace(",", "")) if how != "count" else 1
                 for m in re.finditer(pattern, output, re.MULTILINE)]
        return float(READS[how](found)) if found else None


def load(path=TABLE):
    """All rows; raises ValueError naming the line of a bad one."""
    gates, seen = [], set()
    with open(path, encoding="utf-8") as f:
        for n, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            cells = [c.strip() for c in line.split("\t")]
            if len(cells) == 4 and cells[1] == "-":
                cells += ["", "", ""]
            if len(cells) != 7:
                raise ValueError(f"{path}:{n}: {len(cells)} cells, not 7 (or 4 of a TODO)")
            gate = Gate(*cells)
            if gate.tier not in TIERS or (gate.tier == "-") != (not gate.command):
                raise ValueError(f"{path}:{n}: tier {gate.tier!r} with command {gate.command!r}")
            if gate.tier != "-" and not BAR.match(gate.bar):
                raise ValueError(f"{path}:{n}: bar {gate.bar!r}")
            if (gate.id, gate.tier) in seen:
                raise ValueError(f"{path}:{n}: {gate.id} {gate.tier} stands twice")
            if gate.tier != "-":
                re.compile(gate.reads)
            seen.add((gate.id, gate.tier))
            gates.append(gate)
    return gates


def chosen(gates, tier, ids=()):
    """Rows of a tier's run: its own; in T2 also the T1 row of what has no T2 row; TODOs."""
    long = {g.id for g in gates if g.tier == "T2"}
    short = {g.id for g in gates if g.tier == "T1"}
    rows = [g for g in gates if g.tier in (tier, "-") or (tier == "T2" and g.tier == "T1" and g.id not in long)]
    if tier == "T1":  # what has only a long form is told, and not run
        rows += [g for g in gates if g.tier == "T2" and g.id not in short]
    wanted = {i.upper() for i in ids}
    if wanted:
        unknown = [i for i in wanted if not any(matches(g, i) for g in gates)]
        if unknown:
            raise ValueError("no such gate: " + ", ".join(sorted(unknown)))
        read = {g.command for g in rows if g.command and any(matches(g, i) for i in wanted)}
        rows = [g for g in rows if g.command in read or any(matches(g, i) for i in wanted)]  # with all that a run tells
    return sorted(rows, key=lambda g: order(g.id))


def matches(gate, wanted):
    return gate.id.upper() == wanted or gate.id.upper().startswith(wanted + ".")


def order(gate_id):
    letter, number, rest = re.match(r"([A-Z]+)(\d+)(.*)", gate_id).groups()
    return ("RMSBGUX".find(letter[0]), letter, int(number), rest)
