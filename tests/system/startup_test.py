#!/usr/bin/env python3
"""How soon a node serves, and what it takes: first start, start on existing data, resident memory.

Times are the best of three starts. Where more processes want to run than there are processors, the wall clock says
nothing about the node: then the CPU seconds that soma took until it was ready count.
Memory is the resident set of soma and of every PostgreSQL process, pages that they share counted once (the sum of Pss in
/proc/PID/smaps_rollup), after load.
"""

import os

import harness
from harness import check, children_of, gate
from workload import Workload

COMMANDS = 5000


def tree(pid):
    found, front = {pid}, [pid]
    while front:
        parent = front.pop()
        for child, _ in children_of("/nowhere", parent):
            if child not in found:
                found.add(child)
                front.append(child)
    return found


def resident_mb(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except OSError:
            pass
    return total / 1024


def start_gate(name, starts, bar):
    """`starts`: (wall, CPU) seconds of each."""
    busy = os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
    best = min(s[busy] for s in starts)
    text = ", ".join(f"{wall:.2f} (cpu {cpu:.2f})" for wall, cpu in starts)
    gate(name, f"{best:.2f} s{' of CPU, the machine is busy' if busy else ''}: {text}", f"{bar} s", best <= bar)


def run():
    with harness.Upstream() as upstream:
        first = []
        for _ in range(3):
            with harness.Folder() as empty:
                node = empty.node(*upstream.flags).wait_ready()
                first.append((node.ready_s, node.ready_cpu_s))
        start_gate("first-start", first, 15)
        with harness.Folder() as folder:
            load = Workload(folder.path + "/acknowledged.log", clients=12)
            node = folder.node(*upstream.flags).wait_ready()
            load.start(node.url)
            harness.wait_until(f"{COMMANDS} commands", 100, lambda: len(load.acked) >= COMMANDS)
            load.stop()
            pids = tree(node.pid)
            memory, own = resident_mb(pids), resident_mb([node.pid])
            check(len(pids) > 5, "PostgreSQL is not among the processes")
            print(f"after {len(load.acked)} commands: soma {own:.0f} MB, with {len(pids) - 1} PostgreSQL processes {memory:.0f} MB")
            code, _ = node.terminate()
            check(code == 0, f"exit {code}")
            for how in ("stopped", "killed"):
                times = []
                for _ in range(3):
                    node = folder.node(*upstream.flags).wait_ready()
                    times.append((node.ready_s, node.ready_cpu_s))
                    if how == "killed":
                        node.kill()
                    else:
                        node.terminate()
                start_gate(f"start-after-{how}", times, 2)
            size = sum(os.path.getsize(os.path.join(folder.data, "log", name)) for name in os.listdir(folder.data + "/log"))
            print(f"log of {size >> 20} MB")
            gate("memory", f"{memory:.0f} MB", "200 MB", memory <= 200)


if __name__ == "__main__":
    harness.main(run)
