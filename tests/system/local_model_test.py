#!/usr/bin/env python3
"""End to end with the real local models: a governed session, killed in the middle of its tokens, comes to its end after
the restart; what was remembered is found by meaning; the log verifies.
"""

import http.client
import json
import os
import sys
import time
import urllib.parse

import harness
from children_test import CACHE
from harness import BROKEN, Client, check, gate, wait_until


def stream(url, path, last_event_id=None):
    """Yields (id, name, data) until the stream ends or breaks."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    connection.request("GET", path, headers={"Last-Event-ID": last_event_id} if last_event_id else {})
    response = connection.getresponse()
    check(response.status == 200, f"stream: {response.status}")
    event = {}
    while True:
        try:
            line = response.readline().decode().rstrip("\n")
        except BROKEN:
            return
        if not line and not event and response.isclosed():
            return
        name, _, value = line.partition(": ")
        if not line:
            if "event" in event:
                yield event.get("id"), event["event"], json.loads(event["data"])
            event = {}
            if response.isclosed():
                return
        elif name in ("id", "event", "data"):
            event[name] = value


def run():
    for name in ("bin/llama-server", "models/smollm2-135m-instruct-q4_1.gguf", "models/all-minilm-l6-v2-f16.gguf"):
        if not os.path.exists(os.path.join(CACHE, name)):
            print("skipped: tools/setup has made no", name)
            sys.exit(77)
    with harness.Folder() as folder:
        began = time.monotonic()
        node = folder.node().wait_ready(60)
        client = Client(node.url, timeout=120)
        wait_until("both models run", 60, lambda: len(client.call("GET", "/v1/models").json["data"]) == 2, 0.1)
        with_models = time.monotonic() - began
        fact = client.call("POST", "/v1/remember", {"text": "Our office cat is called Ludwig."}, "fact")
        check(fact.status == 200, fact.body)
        started = client.call("POST", "/v1/sessions/start", {
            "prompt": "Which city is the capital of France? Answer first, then tell a long story about it."}, "session")
        check(started.status == 202, started.body)
        path = "/v1/sessions/" + started.json["session_id"]
        last, tokens = None, 0
        for event_id, name, _ in stream(node.url, path + "/stream"):
            last = event_id or last
            tokens += name == "token"
            if tokens == 3:
                node.kill()
                break
        check(tokens == 3, f"{tokens} tokens came")
        harness.verify_deep(folder.data)
        node = folder.node().wait_ready(60)
        client = Client(node.url, timeout=120)
        names = [name for _, name, _ in stream(node.url, path + "/stream", last)]
        check("restarted" in names and names[-1] == "session.completed", f"after the restart the stream said {names[-5:]}")
        turn = client.call("GET", path).json["turns"][0]
        check(turn["status"] == "completed" and "Paris" in turn["answer"], f"the turn: {turn}")
        check(turn["decision_id"] and turn["usage"]["completion_tokens"] > 5, f"the turn: {turn}")
        found = client.call("POST", "/v1/recall", {"query": "What is the name of the pet at work?", "top_k": 3})
        check(any(r["memory_id"] == fact.json["memory_id"] and "vector" in r["retriever"]
                  for r in found.json["results"]), f"not found by meaning: {found.body}")
        again = client.call("POST", "/v1/remember", {"text": "Our office cat is called Ludwig."}, "fact")
        check(again.body == fact.body and again.headers.get("Idempotent-Replayed") == "true", again.body)
        code, seconds = node.terminate()
        check(code == 0, f"exit {code}")
        harness.verify_deep(folder.data)
        gate("local-model", f"killed at token 3, told `restarted`, answered: {turn['answer'][:60]!r}; models ready in "
             f"{with_models:.1f} s; stopped in {seconds:.1f} s", "completed", True)


if __name__ == "__main__":
    harness.main(run)
