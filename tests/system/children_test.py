#!/usr/bin/env python3
"""The node's children die: PostgreSQL (commands go on, lists say so or wait, the projector catches up) and the local
model (a typed error or the answer of a later attempt, then all is well).
"""

import os
import signal
import time

import harness
from harness import BROKEN, Client, check, children_of, gate, wait_until

CACHE = os.environ.get("SOMA_CACHE_DIR") or os.path.join(
    os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "somastack")
TINY = os.path.join(CACHE, "models", "tiny-test.gguf")


def child(node, name):
    return next((pid for pid, argv in children_of("/nowhere", node.pid) if name in argv), None)


def rebuilds(client):
    state = client.call("GET", "/v1/admin/projections").json["rebuild"]
    check(not state["failed"], f"the rebuild failed: {state['error']}")
    return state["done"]


def sessions_listed(client):
    found, cursor = set(), ""
    while True:
        answer = client.call("GET", "/v1/sessions?limit=200" + (f"&cursor={cursor}" if cursor else ""))
        if answer.status == 503:
            check(answer.headers.get("Retry-After"), "503 without Retry-After")
            return None
        check(answer.status == 200, f"list: {answer.status} {answer.body}")
        found |= {item["session_id"] for item in answer.json["items"]}
        cursor = answer.json["next_cursor"]
        if not cursor:
            return found


def postgres(upstream):
    with harness.Folder() as folder:
        node = folder.node(*upstream.flags).wait_ready()
        client, known, refused, caught_up = Client(node.url), set(), 0, 0.0
        for number in range(3):
            server = wait_until("PostgreSQL runs", 20, lambda: child(node, "postgres"))
            os.kill(server, signal.SIGKILL)
            for n in range(20):  # commands do not notice
                answer = client.call("POST", "/v1/sessions/start", {"prompt": f"hi {n}"}, f"s{number}-{n}")
                check(answer.status == 202, f"a command while PostgreSQL is dead: {answer.status} {answer.body}")
                known.add(answer.json["session_id"])
                refused += sessions_listed(client) is None
            began = time.monotonic()
            wait_until("the lists hold all sessions", 30, lambda: (sessions_listed(client) or set()) >= known, 0.1)
            caught_up = max(caught_up, time.monotonic() - began)
        digest = client.call("GET", "/v1/admin/projections/digest").json["digest"]
        before = rebuilds(client)
        rebuild = client.call("POST", "/v1/admin/projections/rebuild", {})
        check(rebuild.status == 202, f"rebuild: {rebuild.status} {rebuild.body}")
        wait_until("the rebuild is done", 30, lambda: rebuilds(client) > before)
        check(client.call("GET", "/v1/admin/projections/digest").json["digest"] == digest, "rows differ from a rebuild")
        check(node.terminate()[0] == 0, "exit code after PostgreSQL was killed")
        gate("postgres-killed", f"3 kills: commands went on, {refused} lists answered 503, caught up in {caught_up:.1f} s, "
             "rows equal to a rebuild", "30 s", caught_up <= 30)


def model():
    if not os.path.exists(TINY):
        print("no tiny model in the cache: tools/setup makes it; the model's part is left out")
        return
    with harness.Folder() as folder:
        node = folder.node("--slm-local", TINY, "--slm-embedding", "off", "--postgres", harness.NO_POSTGRES).wait_ready()
        client, slowest, statuses = Client(node.url, timeout=60), 0.0, []
        client.call("PUT", "/v1/tenants/demo", {"budgets_tokens": 1_000_000_000}, "budget")
        wait_until("the model answers", 30,
                   lambda: client.call("POST", "/v1/infer_sync", {"prompt": "a", "max_tokens": 4}).status == 200, 0.2)
        for number in range(4):
            os.kill(wait_until("the model runs", 20, lambda: child(node, "llama-server")), signal.SIGKILL)
            try:
                answer = client.call("POST", "/v1/infer_sync", {"prompt": "b", "max_tokens": 4}, f"m{number}")
            except BROKEN as broken:
                raise harness.Failure(f"no answer after the model was killed: {broken!r}") from broken
            statuses.append(answer.status)
            typed = answer.status == 200 or (answer.status == 503 and answer.json["code"] == "model_unavailable")
            check(typed, f"{answer.status} {answer.body}")
            began = time.monotonic()
            wait_until("the model answers again", 30, lambda: client.call(
                "POST", "/v1/infer_sync", {"prompt": "c", "max_tokens": 4}).status == 200, 0.1)
            slowest = max(slowest, time.monotonic() - began)
        check(node.terminate()[0] == 0, "exit code after the model was killed")
        harness.verify_deep(folder.data)
        gate("model-killed", f"4 kills: answers {statuses}, well again within {slowest:.1f} s", "30 s", slowest <= 30)


def run():
    with harness.Upstream() as upstream:
        postgres(upstream)
    model()


if __name__ == "__main__":
    harness.main(run)
