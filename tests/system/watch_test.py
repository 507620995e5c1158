#!/usr/bin/env python3
"""`--watch` where lines are appended: no frame is lost between looks, a live folder is looked at anew, a restart waited out."""

import json
import signal
import subprocess
import threading

import harness
from harness import check, soma_lines as good, wait_until

BURST = 40


class Watched:
    """A command that goes on until it is told to stop; its lines as they come."""

    def __init__(self, data, *words):
        self.words, self.lines = words, []
        self.process = subprocess.Popen([harness.SOMA, "--data-dir", data, *words, "-o", "json"], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def sees(self, what, condition):
        wait_until(f"soma {' '.join(self.words)}: {what}", 60, lambda: condition(self.lines) or self.process.poll() is not None, 0.05)
        check(condition(self.lines), f"soma {' '.join(self.words)} ended with {self.process.poll()} before {what}: "
              f"{self.process.stderr.read() if self.process.poll() is not None else self.lines[-3:]}")

    def end(self):
        """What it said on stderr."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(30)
        err = self.process.stderr.read()
        check(code == 0, f"soma {' '.join(self.words)}: Ctrl-C gave {code}: {err}")
        self.reader.join(10)
        return err


def positions(lines):
    return [line["position"] for line in lines]


def write(client, name):
    answer = client.call("PUT", f"/v1/users/{name}", {"capabilities": []})
    check(answer.status == 200, answer.body)


def tail_loses_nothing(data, client, *where):
    """More frames than --limit come between two looks, also while it looks."""
    tail = Watched(data, *where, "log", "tail", "--limit", "1", "--watch", "1")
    tail.sees("the first frame", lambda lines: len(lines) == 1)
    for n in range(BURST):
        write(client, f"{'offline' if where else 'node'}{n}")
    first = tail.lines[0]["time"]
    due = {frame["position"] for frame in good(data, "log", "export") if frame["time"] > first and "claim" not in frame}
    check(len(due) >= BURST, f"{len(due)} frames")
    tail.sees(f"all {len(due)} frames", lambda lines: due <= set(positions(lines)))
    tail.end()
    told = positions(tail.lines)
    check(len(told) == len(set(told)), "a frame was told twice")
    times = [line["time"] for line in tail.lines]
    check(times[0] == min(times), "an older frame came later")


def approvals(data, client):
    """`approval watch` follows without being asked to."""
    watch = Watched(data, "approval", "watch")
    started = client.call("POST", "/v1/sessions/start", {"prompt": "x", "metadata": {"requires_human": True}})
    check(started.status == 202, started.body)
    watch.sees("the first approval", lambda lines: len(lines) == 1)
    client.call("POST", "/v1/sessions/start", {"prompt": "y", "metadata": {"requires_human": True}})
    watch.sees("the next approval", lambda lines: len(lines) == 2)
    watch.end()


def a_restart_is_waited_out(folder, node, flags):
    code, out, err = harness.soma("effects", "list", "--watch", "0.2", "--server", "http://127.0.0.1:1", "-o", "json")
    check(code != 0 and out == "" and "error" in err, f"a first look that fails must end it: {code} {out}{err}")
    watch = Watched(folder.data, "status", "--watch", "0.2")
    watch.sees("the node", lambda lines: len(lines) > 0)
    node.kill()
    before = len(watch.lines)
    outage = threading.Event()
    said = []

    def listen():
        for line in watch.process.stderr:
            said.append(json.loads(line))
            outage.set()
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    check(outage.wait(30), "nothing was said of a node that is gone")
    before = len(watch.lines)
    node = folder.node(*flags).wait_ready()
    watch.sees("the node that started anew", lambda lines: len(lines) > before)
    watch.process.send_signal(signal.SIGINT)
    check(watch.process.wait(30) == 0, "Ctrl-C")
    listener.join(10)
    messages = [e["error"]["message"] for e in said]
    check(all(a != b for a, b in zip(messages, messages[1:])), f"the same failure was told again: {messages}")
    return node


def test():
    with harness.Upstream() as upstream, harness.Folder() as folder:
        flags = (*upstream.flags, "--postgres", harness.NO_POSTGRES)
        node = folder.node(*flags).wait_ready()
        client = harness.Client(node.url)
        write(client, "first")
        tail_loses_nothing(folder.data, client)
        tail_loses_nothing(folder.data, client, "--offline")
        approvals(folder.data, client)
        node = a_restart_is_waited_out(folder, node, flags)
        code, _ = node.terminate()
        check(code == 0, f"the node ended with {code}")
    print(f"2 tails over bursts of {BURST} frames, approvals, a restart: nothing lost, nothing twice")


if __name__ == "__main__":
    harness.main(test)
