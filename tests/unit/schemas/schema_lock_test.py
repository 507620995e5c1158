#!/usr/bin/env python3
"""The lock of the schemas: every breaking edit of a copy is refused, and what old bytes survive is let through.

The judge is the one of `tools/check --schemas`: buf.yaml against schemas/released.binpb.
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
CACHE = os.environ.get("SOMA_CACHE_DIR") or os.path.join(
    os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "somastack")
BUF = os.path.join(CACHE, "bin", "buf")
ADDED = "message Added { int64 amount = 1; }"
REQUESTED = "  string reason = 7 [(pii) = \"decided_by\"];\n"
DONE = "  SETTLEMENT_DONE = 1;    // it took effect\n"
# What is done, to which file (or all), and how: pairs of old text, which stands there once, and new.
BREAKING = (
    ("a field has another number", "counter", (ADDED, "message Added { int64 amount = 2; }")),
    ("a field has another type", "counter", (ADDED, "message Added { string amount = 1; }")),
    ("a number has no sign any more", "counter", (ADDED, "message Added { uint64 amount = 1; }")),
    ("an integer became a double", "counter", (ADDED, "message Added { double amount = 1; }")),
    ("a field has another name", "counter", (ADDED, "message Added { int64 sum = 1; }")),
    ("a field has another name in JSON", "counter", (ADDED, "message Added { int64 amount = 1 [json_name = \"sum\"]; }")),
    ("a field became repeated", "counter", (ADDED, "message Added { repeated int64 amount = 1; }")),
    ("a field is gone, its number not reserved", "counter", (ADDED, "message Added { reserved \"amount\"; }")),
    ("a field is gone, its name not reserved", "counter", (ADDED, "message Added { reserved 1; }")),
    ("a number is used for another field", "counter", (ADDED, "message Added { string note = 1; int64 amount = 2; }")),
    ("a field moved into a oneof", "counter", (ADDED, "message Added { oneof what { int64 amount = 1; } }")),
    ("two fields changed their numbers", "approval", ("requested_ms = 10", "requested_ms = 11"), ("expires_ms = 11", "expires_ms = 10")),
    ("an identifier became bytes", "effect", ("  string effect_id = 1;", "  bytes effect_id = 1;")),
    ("a field holds another message", "approval", ("  ActorRef requester = 13;", "  Failure requester = 13;")),
    ("a map holds other values", "counter", ("map<string, int64> timers = 2;", "map<string, string> timers = 2;")),
    ("a map has other keys", "counter", ("map<string, int64> timers = 2;", "map<int64, int64> timers = 2;")),
    ("an event's case is gone", "counter", ("    Transferred transferred = 2;\n", "")),
    ("an event's case has another number", "counter", ("    CallPlaced call_placed = 5;", "    CallPlaced call_placed = 15;")),
    ("two events changed their numbers", "counter", ("TimerArmed timer_armed = 3;\n    TimerFired timer_fired = 4;",
                                                     "TimerArmed timer_armed = 4;\n    TimerFired timer_fired = 3;")),
    ("an event's case left its oneof", "counter", ("    CallResolved call_resolved = 7;\n  }", "  }\n  CallResolved call_resolved = 7;")),
    ("a oneof has another name", "counter", ("message CounterEvent {\n  oneof kind {", "message CounterEvent {\n  oneof what {")),
    ("an enum's value has another number", "effect", (DONE, "  SETTLEMENT_DONE = 4;\n")),
    ("an enum's value has another name", "effect", (DONE, "  SETTLEMENT_HAPPENED = 1;\n")),
    ("an enum's value is gone", "effect", (DONE, "")),
    ("two values of an enum changed their numbers", "approval", ("  PENDING = 1;\n  APPROVED = 2;", "  PENDING = 2;\n  APPROVED = 1;")),
    ("an enum became a number", "effect", ("  Settlement outcome = 2;", "  int32 outcome = 2;")),
    ("a message is gone", "counter", ("message CounterReply { int64 value = 1; }", "")),
    ("a message has another name", "counter", ("message CounterReply {", "message CounterAnswer {")),
    ("the package has another name", "*", ("package soma.v1;", "package soma.v2;")),
    ("a file's own package has another name", "idempotency", ("package soma.v1;", "package soma.v1.keys;")),
)
HARMLESS = (
    ("a new field", "counter", (ADDED, "message Added { int64 amount = 1; string note = 2; }")),
    ("a new message", "counter", (ADDED, ADDED + " message Doubled { int64 amount = 1; }")),
    ("a new case of an event", "counter", ("    CallResolved call_resolved = 7;", "    CallResolved call_resolved = 7;\n    Added again = 8;")),
    ("a new value of an enum", "effect", (DONE, DONE + "  SETTLEMENT_LATER = 4;\n")),
    ("another comment", "effect", ("// it took effect", "// it happened")),
    ("a field is gone, its number and name reserved", "approval", (REQUESTED, "  reserved 7;\n  reserved \"reason\";\n")),
)


def refused(edits, folder):
    """What buf says of the schemas with these edits, empty when nothing breaks."""
    schemas = os.path.join(folder, "schemas")
    shutil.rmtree(schemas, ignore_errors=True)
    shutil.copytree(os.path.join(ROOT, "schemas"), schemas, ignore=lambda _, names: [n for n in names if n.endswith((".cpp", ".h"))])
    for files, old, new in edits:
        for path in glob.glob(os.path.join(schemas, "soma", "v1", files + ".proto")):
            with open(path, encoding="utf-8") as f:
                text = f.read()
            if text.count(old) != 1:
                sys.exit(f"{path} holds {text.count(old)} times, not once: {old}")
            with open(path, "w", encoding="utf-8") as f:
                f.write(text.replace(old, new))
    if (done := buf(folder, "build", "-o", os.devnull)).returncode != 0:  # then it is no edit that the lock has to judge
        sys.exit(f"buf: {done.stdout}{done.stderr}")
    done = buf(folder, "breaking", "--against", "schemas/released.binpb")
    if done.returncode not in (0, 100):  # 100: it found something
        sys.exit(f"buf: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def buf(folder, *arguments):
    return subprocess.run([BUF, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def main():
    if not os.access(BUF, os.X_OK):
        print("skipped: buf is missing (tools/setup --tests)")
        sys.exit(77)
    wrong, stopped = [], 0
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(os.path.join(ROOT, "buf.yaml"), folder)
        if said := refused((), folder):
            wrong.append(f"the schemas as they are break: {said}")
        for what, file, *edits in BREAKING:
            said = refused([(file, *e) for e in edits], folder)
            stopped += bool(said)
            print(f"{what}: {said.splitlines()[0] if said else 'LET THROUGH'}", flush=True)
            if not said:
                wrong.append(f"let through: {what}")
        for what, file, *edits in HARMLESS:
            if said := refused([(file, *e) for e in edits], folder):
                wrong.append(f"refused, though old bytes survive it ({what}): {said}")
    for problem in wrong:
        print("wrong:", problem)
    print(f"GATE R19.edits {stopped} of {len(BREAKING)} breaking edits refused, {len(HARMLESS)} harmless ones let through", flush=True)
    sys.exit(1 if wrong else 0)


main()
