#!/usr/bin/env python3
"""What an error tells: its code and what the caller sent, nothing of the machine behind it. And no log line can be forged.

Every route with bodies, parameters and states that it refuses, with all well and with PostgreSQL and the model away;
then things that break lines, terminals and JSON, in every place that a log line may quote."""

import json
import os
import re
import signal

import contract
import harness
from harness import Client, check, gate, wait_until
from routes import BODIES, NOT_TRIED, served

# What belongs to the machine: paths, SQL, types and functions, sources, libraries and their versions.
TELLS = re.compile(
    r"(?:^|[\s\"'(=:])/(?:tmp|root|home|usr|var|etc|proc|run|opt)/|\.(?:cpp|h|proto|so|sql)\b|std::|soma::|boost|pqxx|libpq|grpc|"
    r"\b(?:SELECT|INSERT|UPDATE|DELETE)\s+\S+|\brelation \"|SQLSTATE|ERROR:  |PostgreSQL[: ]|RocksDB|rocksdb|Kafka|librdkafka|CAF\b|"
    r"\bterminate\b|backtrace|0x[0-9a-f]{6,}|errno|No such file|Permission denied|\b\d+\.\d+\.\d+\b|127\.0\.0\.1:\d+", re.MULTILINE)
SHAPES = [
    None, {}, [], 7, "text", {"unheard_of": 1}, {"prompt": 5, "content": 5, "text": 5, "input": 5, "query": 5},
    {"prompt": "a\u0000b", "content": "\u0000", "text": "\u0000", "query": "select * from pg_shadow"},
    {"prompt": "x" * 1_100_000}, {"limit": -1, "version": "no", "at_sequence": 10 ** 30, "reason": None},
]
QUERIES = ["", "?limit=-1", "?limit=x", "?cursor=%00", "?cursor=' OR 1=1 --".replace(" ", "%20"), "?at=99999999999999999999", "?since=never"]
IDS = ["missing", "0" * 64, "..%2F..%2Fetc%2Fpasswd", "a%00b", "%27%3B--", "x" * 300]

BREAKERS = ["\r\n", "\n", "\r", "\u0085", "\u2028", "\u2029", "\x1b[2J", "\x1b]0;owned\x07", "\x07", "\x08" * 20, "\x00", "\x7f", '"}\n{"event":"forged"', '","event":"forged","x":"',
            "\\", '\\"', "{{forged}}", "%s%n%x", "\u202eforged", "${jndi:forged}"]


class Seen:
    """Errors by route, status and code; what any of them told that it should not have."""

    def __init__(self, folder):
        self.errors, self.told, self.secret = set(), [], [folder.path, "other-tenant-session"]

    def add(self, method, path, answer):
        if answer.status < 400:
            return
        text = answer.body + "\n" + "\n".join(f"{k}: {v}" for k, v in answer.headers.items() if k != "Date")
        code = answer.json.get("code", "?") if answer.body.startswith("{") else "?"
        check(answer.status != 500, f"{method} {path}: 500 {answer.body}")
        check(code != "?" or method == "HEAD", f"{method} {path}: {answer.status} is not a problem: {answer.body[:200]}")
        self.errors.add((method, path, answer.status, code, answer.json.get("detail") if code != "?" else ""))
        found = TELLS.search(text) or next((s for s in self.secret if s in text), None)
        if found:
            self.told.append(f"{method} {path}: {found!r} in {text[:400]}")


def requests(routes):
    """(method, route, path, body) of what should be refused, and some of what is not."""
    for method, route in routes:
        if (method, route) in NOT_TRIED or route.endswith(("/ws", "/stream")):
            continue
        ids = IDS if "{" in route else [""]
        for value in ids:
            path = re.sub(r"\{[^}]+\}", value, route)
            if method in ("GET", "DELETE"):
                for query in QUERIES:
                    yield method, route, path + query, None
            else:
                for body in (*SHAPES, BODIES.get((method, route))) if value == ids[0] else (BODIES.get((method, route), {}),):
                    yield method, route, path, body


def ask_everything(url, headers, seen):
    client = Client(url)
    for method, route, path, body in requests(served(client)):
        try:
            seen.add(method, route, client.call(method, path, body, headers=headers))
        except harness.BROKEN as broken:
            raise harness.Failure(f"{method} {path} {str(body)[:80]}: {broken!r}") from broken


def token(folder, *args):
    code, out, err = harness.soma("auth", "token", *args, data=folder.data)
    check(code == 0, f"soma auth token: {code} {err}")
    return {"Authorization": "Bearer " + out.strip()}


def away(node):
    """PostgreSQL stands still, and is not there: the lists' errors."""
    return next((pid for pid, argv in harness.children_of("/nowhere", node.pid) if "postgres" in argv), None)


def forge(url, headers):
    """The breakers in headers, paths, queries, bodies; how many were sent."""
    client, sent = Client(url), 0
    for text in BREAKERS:
        raw = text.encode()
        quoted = "".join(f"%{b:02X}" for b in raw)
        for body in ({"prompt": text, "metadata": {text: text}}, {"prompt": "x", "tenant_id": text, text: 1}):
            client.call("POST", "/v1/sessions/start", body, headers=headers)
        client.call("GET", f"/v1/sessions/a{quoted}?cursor={quoted}", headers=headers)
        client.call("GET", f"/v1/{quoted}", headers=headers)
        for name in (b"X-Request-ID", b"traceparent", b"Authorization", b"User-Agent", b"Idempotency-Key"):
            contract.raw(url, b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\n" + name + b": a" + raw.replace(b"\r\n", b"\n") + b"b\r\nConnection: close\r\n\r\n")
        sent += 9
    return sent


def run():
    with harness.Upstream({"tokens": ["a ", "scripted ", "answer"]}) as upstream, harness.Folder() as folder:
        node = folder.node("--slm-openai-base-url", upstream.base_url, "--slm-local", "off", "--slm-embedding", "off",
                           "--memory-listen", "127.0.0.1:0", "--http-access-log", "all", "--log-level", "debug", "--log-format", "json").wait_ready()
        seen, ana = Seen(folder), token(folder, "--tenant", "acme", "--sub", "ana", "--cap", "*")
        ask_everything(node.url, ana, seen)
        well = len(seen.errors)
        ask_everything(node.url, token(folder, "--tenant", "acme", "--sub", "bob", "--cap", "nothing:at_all"), seen)
        upstream.process.kill()
        server = wait_until("PostgreSQL runs", 20, lambda: away(node))
        os.kill(server, signal.SIGSTOP)
        try:
            client = Client(node.url)
            for method, path, body in (("GET", "/v1/sessions", None), ("GET", "/v1/audit/decisions", None), ("POST", "/v1/infer_sync", {"prompt": "x"}),
                                       ("POST", "/v1/embedding", {"input": "x"}), ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
                                       ("GET", "/v1/tenants", None), ("GET", "/health/ready", None)):
                seen.add(method, path, client.call(method, path, body, headers=ana))
        finally:
            os.kill(server, signal.SIGCONT)
        sent = forge(node.url, ana)
        node.terminate()
        lines = node.log().split("\n")
        for line in filter(None, lines):
            check(line.startswith("{") and not re.search(r"[\x00-\x1f\x7f\u0085\u2028\u2029\u202e]", line), f"a log line that is not one: {line!r}")
            check(json.loads(line).get("event") != "forged", f"forged: {line}")
        for text in seen.told[:20]:
            print("TELLS", text)
        print(f"{well} kinds of errors with all well")
        gate("S16", f"{len(seen.errors)} errors, {len(seen.told)} tell what they should not", "150 errors, 0", len(seen.errors) >= 150 and not seen.told)
        quoted = sum("http_request" in line and '"status":4' in line for line in lines)
        gate("S16.forged", f"{min(sent, quoted)} of {sent} breakers escaped", "60", min(sent, quoted) >= 60)


if __name__ == "__main__":
    harness.main(run)
