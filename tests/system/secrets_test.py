#!/usr/bin/env python3
"""Secrets: canaries go in wherever a secret may come in, and are looked for in all that a node writes and answers: logs at
the finest level, metrics, answers, events, the data folder with PostgreSQL's files, the support bundle. As they are, in
base64, in hex, reversed, and in pieces of eight bytes. A marker in a key must be found, else nothing was looked at.
"""

import base64
import json
import os
import random
import socket
import string
import subprocess
import tempfile
import urllib.parse

import harness
from harness import BROKEN, Client, check, gate, soma, wait_until

PIECE = 8


class Canaries:
    """Unique secrets by where they went in."""

    def __init__(self):
        self.by_value = {}

    def new(self, where):
        value = "".join(random.choices(string.ascii_letters + string.digits, k=40))
        self.by_value[value] = where
        return value

    def patterns(self):
        """Text to look for, and whose it is."""
        found = {}
        for value, where in self.by_value.items():
            pieces = [value[i:i + PIECE] for i in range(len(value) - PIECE + 1)]
            pieces += [p[::-1] for p in pieces]
            pieces += [value[i:i + PIECE].encode().hex() for i in range(0, len(value) - PIECE)]
            pieces += [p.upper() for p in pieces if all(c in string.hexdigits for c in p)]
            for shift in range(3):  # whatever stands before it
                coded = base64.b64encode(b"x" * shift + value.encode()).decode()[4:48]
                pieces += [coded[i:i + 12] for i in range(0, 32, 4)]
            for p in pieces:
                found[p] = where
        return found


def sweep(folder, patterns):
    """{where: files} of every canary that stands in a file of the folder."""
    with tempfile.NamedTemporaryFile("w", suffix=".patterns") as file:
        file.write("\n".join(patterns) + "\n")
        file.flush()
        done = subprocess.run(["grep", "-rabohF", "-f", file.name, folder], capture_output=True, text=True, errors="replace",
                              env={**os.environ, "LC_ALL": "C"}, check=False)
        check(done.returncode in (0, 1), f"grep: {done.stderr}")
        hits = {line.split(":", 1)[1] for line in done.stdout.splitlines() if ":" in line}
        return {patterns[h]: h for h in hits if h in patterns}


class Talk:
    """Requests with canaries in them; every answer is kept, as it came."""

    def __init__(self, url, canaries, kept):
        self.client, self.url, self.canaries, self.kept = Client(url), url, canaries, kept

    def call(self, *args, **named):
        try:
            answer = self.client.call(*args, **named)
        except BROKEN:
            return None
        self.kept.write(json.dumps([answer.status, answer.headers, answer.body]) + "\n")
        return answer


ROUTES = (("GET", "/v1/whoami", None), ("POST", "/v1/sessions/start", {"prompt": "x"}), ("POST", "/v1/remember", {"text": "x"}),
          ("POST", "/v1/infer_sync", {"prompt": "x"}), ("GET", "/v1/sessions", None), ("GET", "/v1/nothing", None),
          ("GET", "/v1/audit/events", None), ("POST", "/v1/evaluate", {}))


def through_headers(talk):
    for method, path, body in ROUTES:
        for name, form in (("Authorization", "Bearer {}"), ("Cookie", "session={}"), ("X-Api-Key", "{}")):
            talk.call(method, path, body, headers={name: form.format(talk.canaries.new(f"{name} of {path}"))})
    for form in ("Basic {}", "Bearer a.{}.b", "Digest {}", "{}"):
        talk.call("GET", "/v1/whoami", headers={"Authorization": form.format(talk.canaries.new("Authorization " + form))})
    talk.call("GET", "/v1/whoami", headers={"Proxy-Authorization": "Basic " + talk.canaries.new("Proxy-Authorization")})


def through_addresses(talk):
    for name in ("token", "access_token", "api_key", "ticket", "password"):
        for path in ("/v1/whoami", "/v1/sessions/none/stream", "/v1/nothing", "/v1/sessions"):
            talk.call("GET", f"{path}?{name}={talk.canaries.new(f'?{name}= of {path}')}")


def through_bodies(talk):
    new = talk.canaries.new
    for path in ("/v1/tokens/verify", "/v1/tokens/revoke"):
        talk.call("POST", path, {"token": new("token of " + path)})
        talk.call("POST", path, {"token": f"a.{new('token like a JWT of ' + path)}.b"})
    for path in ("/v1/sessions/start", "/v1/remember", "/v1/infer_sync", "/v1/evaluate"):
        talk.call("POST", path, {"prompt": 5, "text": 5, "api_key": new("a wrong body of " + path)})
        talk.call("POST", path, {"prompt": "x", "text": "x", "api_key": new("an unknown field of " + path)})
    for path in ("/v1/remember", "/v1/sessions/start"):
        raw = ('{"password": "' + new("a body that is not JSON, of " + path) + '"').encode()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
        talk.kept.write(raw_answer(talk.url, head.encode() + raw) + "\n")
    talk.kept.write(raw_answer(talk.url, f"GET /{new('a line that is not HTTP')}".encode() + b"\r\n\r\n") + "\n")


def raw_answer(url, data):
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as s:
        s.sendall(data)
        s.settimeout(0.5)
        got = b""
        try:
            while piece := s.recv(65536):
                got += piece
        except (TimeoutError, OSError):
            pass
    return got.decode(errors="replace")


def through_tokens(talk, folder, env):
    """Real tokens: their signatures are secrets too."""
    for number, capability in enumerate(("*", "session:*,slm:*,memory:*", "none:none")):
        code, out, err = soma("auth", "token", "--tenant", "acme", "--sub", f"p{number}", "--cap", capability, data=folder.data)
        check(code == 0, err)
        token = out.strip()
        talk.canaries.by_value[token.rsplit(".", 1)[1][:40]] = f"a valid token ({capability})"
        mine = Client(talk.url, token)
        for method, path, body in ROUTES:
            answer = mine.call(method, path, body)
            talk.kept.write(json.dumps([answer.status, answer.body]) + "\n")
        answer = mine.call("POST", "/v1/tokens/ticket")
        if answer.status == 200:  # the answer is its own; nobody else may show it
            talk.canaries.by_value[answer.json["ticket"][:40].ljust(20, "=")] = "a ticket"
            mine.call("GET", f"/v1/sessions/none/stream?ticket={answer.json['ticket']}")


def through_the_provider(talk, upstream, api_key):
    """A provider that repeats the key it was given, as some do."""
    for status in (401, 403, 400, 500):
        upstream.script({"otherwise": {"status": status, "text": f"Incorrect API key provided: {api_key}."}})
        talk.call("POST", "/v1/infer_sync", {"prompt": f"status {status}"})
        talk.call("POST", "/v1/embedding", {"text": f"status {status}"})
        started = talk.call("POST", "/v1/sessions/start", {"prompt": f"status {status}"})
        path = "/v1/sessions/" + started.json["session_id"]
        wait_until("the turn ends", 90, lambda: talk.client.call("GET", path).json["status"] not in ("accepted", "running"), 0.2)
        for more in ("", "/events", "/stream"):
            talk.call("GET", path + more)
    upstream.script({"otherwise": {}})


def look_around(talk):
    for path in ("/metrics", "/health/ready", "/v1/audit/events?limit=200", "/v1/admin/effects", "/v1/admin/status", "/openapi.json",
                 "/v1/sessions?limit=200", "/v1/actors?limit=200"):
        talk.call("GET", path)


def run():
    canaries = Canaries()
    with harness.Upstream() as upstream, harness.Folder() as folder, tempfile.TemporaryDirectory() as outside:
        marker = "".join(random.choices(string.ascii_letters, k=40))
        api_key = canaries.new("the upstream's key")
        from_file = os.path.join(outside, "secret")
        with open(from_file, "w", encoding="ascii") as f:
            f.write(canaries.new("identity.hs256_secret from a file") + canaries.new("its second half"))
        env = {"SOMA_SLM_OPENAI_API_KEY": api_key, "SOMA_IDENTITY_HS256_SECRET_FILE": from_file,
               "SOMA_CLUSTER_SECRET": canaries.new("cluster.secret"), "SOMA_SOMETHING_ELSE": canaries.new("an unknown variable"),
               "SOMA_KAFKA_CLIENT": "sasl.password=" + canaries.new("kafka.client")}
        node = folder.node(*upstream.flags, "--log-level", "debug", "--http-access-log", "all", env=env).wait_ready()
        with open(os.path.join(folder.path, "answers"), "w", encoding="utf-8") as kept:
            talk = Talk(node.url, canaries, kept)
            check(talk.call("POST", "/v1/sessions/start", {"prompt": marker}, key=marker).status == 202, "the marker")
            through_headers(talk)
            through_addresses(talk)
            through_bodies(talk)
            through_tokens(talk, folder, env)
            through_the_provider(talk, upstream, api_key)
            look_around(talk)
            bundle = subprocess.run([harness.SOMA, "bundle", "--data-dir", folder.data, "--out", os.path.join(folder.path, "bundle")],
                                    capture_output=True, text=True, env={**os.environ, **env}, check=False)
            kept.write(bundle.stdout + bundle.stderr)
            settings = subprocess.run([harness.SOMA, "doctor", "--data-dir", folder.data], capture_output=True, text=True,
                                      env={**os.environ, **env}, check=False)
            kept.write(settings.stdout + settings.stderr)
        node.kill()
        again = folder.node(*upstream.flags, env=env).wait_ready()
        check(again.terminate()[0] == 0, "exit code")
        seen = sweep(folder.path, {marker[:16]: "marker"})
        check(seen, "the sweep does not find the marker in a key: it would not find a canary")
        hits = sweep(folder.path, canaries.patterns())
        for where, piece in sorted(hits.items()):
            files = subprocess.run(["grep", "-ralF", piece, folder.path], capture_output=True, text=True, check=False).stdout
            print(f"found: {where} ({piece!r}) in {files.split()}")
        check(len(canaries.by_value) >= 60, f"only {len(canaries.by_value)} canaries")
        gate("S10", f"{len(hits)} of {len(canaries.by_value)} canaries found", "0 hits", not hits)


if __name__ == "__main__":
    harness.main(run)
