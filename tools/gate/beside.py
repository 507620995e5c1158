"""What runs beside what. The simulator's long run takes the processors that gates leave which count something; nothing runs beside those that measure time."""

import re

TIMED = re.compile(r"^(|[mu]?s|%|[KM]iB|bytes|times.*|of .*|.*/s)$")  # units of bars; none: a share


def is_long(command):
    return " sim run " in command or "ledger.py" in command


def schedule(rows):
    """The commands of these rows, each once: (in the background, beside it, when it has ended), each in the rows' order."""
    units = {}
    for gate in rows:
        units.setdefault(gate.command, set()).add(gate.unit())
    background = [c for c in units if is_long(c)]
    timed = [c for c, found in units.items() if c not in background and any(map(TIMED.match, found))]
    return background, [c for c in units if c not in background and c not in timed], timed
