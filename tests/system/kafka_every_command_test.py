#!/usr/bin/env python3
"""Every command of the tree against a node whose journal is on a real broker: the rows of every_command_test, column by column.

usage: kafka_every_command_test.py
"""

import every_command_test
import harness
from every_command_test import ROWS

# They read the journal itself, beside the node: it is named.
READERS = ("audit export", "replay", "session what-if", "verify")


def run():
    with harness.Brokers() as brokers:
        for command in READERS:
            arguments, *codes = ROWS[command]
            ROWS[command] = (f"{arguments} --kafka {brokers.bootstrap}", *codes)
        every_command_test.test("--kafka", brokers.bootstrap)


if __name__ == "__main__":
    harness.main(run)
