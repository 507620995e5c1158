"""Every verb of the command's tree has a row in the authorization matrix, with the capabilities that its requests need.

A server that answers anything writes down what each verb asks for; the routes' own rows say which capability that is. So a
verb without a row, a row without a verb, and a row that names another right than the verb needs all fail."""

import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading

import harness
from harness import ROOT, SOMA, check, soma

MATRIX = os.path.join(ROOT, "runtime", "api", "authorization.tsv")
PRINT = "--print" in sys.argv  # what the rows should be

# What the answers of a node hold that verbs look into before they ask for more.
ANSWER = {"capabilities": ["slm:infer"], "items": [], "next_cursor": None, "tenant_id": "demo", "subject": "ana", "valid": True, "document": {}, "version": 1,
          "session_id": "ses_x", "status": "completed", "turns": [{"turn": 1, "erasure_id": "ers_x", "decision_id": "dec_x", "status": "completed"}],
          "event_id": "e", "tree_size": 1, "position": "0/1", "events": [], "state": {}, "results": [], "budgets": [], "sequence": 1,
          "enabled": True, "reason": "", "changed_by": "ana", "mode": "test", "turn": 1, "erasure_id": "ers_x", "rebuild": {"done": 0, "failed": 0, "frames_read": 0, "frames_total": 0, "running": False},
          "would_park_again": False}
ANY_TOKEN = {"authenticated", "public"}  # named only where nothing else is needed
# Started by itself they would run a node, a simulation, a benchmark or brokers' clients: nothing of a node's routes.
NOT_RUN = {"dev", "node", "demo", "bench counter", "bench session", "bench infer", "bench workflow", "bench replay",
           "bench projection", "bench timers", "bench actors", "sim run", "sim canaries", "sim shrink", "sim corpus",
           "kafka topics", "kafka lag", "kafka peek"}
# These go on asking: ended once they have asked for so many things.
WAITS = {"chat": 2, "tenant erase-subject": 2, "approval watch": 1, "session tail": 1, "log tail": 1, "projections rebuild": 2}
# Arguments where words will not do, and each way a verb may ask.
ARGUMENTS = {
    "policy explain": [[], ["dec_x"], ["ses_x"]],
    "settings mode": [[], ["test"]],
    "settings set": [["a=b"]],
    "settings rollback": [["1"]],
    "log get": [["0/1"]],
    "actor diff": [["session/x", "--from", "1", "--to", "2"]],
    "constitution sign": [["FILE", "--key", "FILE", "--version", "1"]],
    "approval delegate": [["x", "--to", "bob"]],
    "approval edit": [["x", "--prompt", "y"]],
    "auth revoke": [["--jti", "x"]],
    "kill-switch on": [["--reason", "x"]],
    "kill-switch off": [["--reason", "x"]],
    "service token": [["ci"], ["ci", "--cap", "slm:infer"]],
    "tenant set": [["--display-name", "x"]],
    "replay": [["--actor", "session/x"]],
    "session what-if": [["x", "--model", "m"], ["x"]],
    "audit prove": [["e-1"]],
    "effects resolve": [["x", "--outcome", "done", "--reason", "seen"]],
    "log import": [["--from", "none", "--kafka", "127.0.0.1:1"]],
    "session import": [["FILE"]],
    "log sql": [["select 1"]],
    "policy diff": [["CEDAR", "CEDAR"]],
    "policy rules load": [["CEDAR"]],
}


class Recorder(http.server.BaseHTTPRequestHandler):
    asked = []

    def answer(self):
        self.asked.append((self.command, self.path.split("?")[0]))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass


def matrix():
    routes, verbs = {}, {}
    with open(MATRIX, encoding="utf-8") as file:
        for line in file:
            if line.startswith("#"):
                continue
            method, path, capability, scope = line.rstrip("\n").split("\t")
            if method == "soma":
                check(scope == "verb" and path not in verbs, f"soma {path}: stands once, as a verb")
                verbs[path] = set() if capability == "local" else set(capability.split(","))
            else:
                routes[method, path] = capability
    return routes, verbs


def capability_of(routes, method, path):
    exact = routes.get((method, path))
    if exact:
        return exact
    for (m, pattern), capability in routes.items():
        if m == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path):
            return capability
    raise harness.Failure(f"{method} {path} is no route of the matrix")


def leaves(node, path=()):
    if not node.get("commands"):
        yield " ".join(path), node
    for child in node.get("commands") or ():
        yield from leaves(child, (*path, child["name"]))


def words(node, file):
    given = []
    for p in node["positionals"]:
        if p["required"]:
            name = p["names"][0]
            given.append((p.get("choices") or [file if name == "FILE" else "session/x" if name == "ACTOR" else "x"])[0])
    return [given]


def asks(server, folder, verb, arguments):
    """What the verb asked for. One that watches is ended once it has asked."""
    Recorder.asked = []
    done = subprocess.Popen([SOMA, "--server", server, "--token", "t", *verb.split(), *arguments], cwd=folder,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        done.stdin.write(b"hello\n")  # what is said in a chat
        done.stdin.close()
    except BrokenPipeError:
        pass  # it read nothing
    done.stdin = None
    try:
        if verb in WAITS:
            harness.wait_until(f"{verb} asks", 20, lambda: len(set(Recorder.asked)) >= WAITS[verb] or done.poll() is not None)
        else:
            done.wait(60)
    finally:
        done.kill()
        _, err = done.communicate()
    return set(Recorder.asked), err.decode()


def run():
    routes, rows = matrix()
    code, out, err = soma("--help", "-o", "json")
    check(code == 0, err)
    tree = dict(leaves(json.loads(out)))
    if not PRINT:
        check(not set(tree) - set(rows), f"verbs without a row in runtime/api/authorization.tsv: {sorted(set(tree) - set(rows))}")
        check(not set(rows) - set(tree), f"rows without a verb: {sorted(set(rows) - set(tree))}")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "file.json")
        with open(file, "w", encoding="utf-8") as f:
            json.dump({"rules": {}, "cases": []}, f)
        cedar = os.path.join(folder, "rules.cedar")
        with open(cedar, "w", encoding="utf-8") as f:
            f.write("@id(\"none\") forbid(principal, action, resource) unless { true };\n")
        for verb, node in sorted(tree.items()):
            if verb in NOT_RUN:
                continue
            needed = set()
            for arguments in ARGUMENTS.get(verb, words(node, file)):
                arguments = [{"FILE": file, "CEDAR": cedar}.get(a, a) for a in arguments]
                if any("--yes" in o["names"] for o in node["options"]):
                    arguments = [*arguments, "--yes"]
                asked, err = asks(url, folder, verb, arguments)
                check(PRINT or asked or not rows[verb], f"{verb} {arguments} asked for nothing: {err[:300]}")
                needed |= {capability_of(routes, *one) for one in asked}
            needed = needed - ANY_TOKEN or needed
            if PRINT:
                print(f"soma\t{verb}\t{','.join(sorted(needed)) or 'local'}\tverb")
            else:
                check(rows[verb] == needed, f"soma {verb} needs {sorted(needed)}, its row says {sorted(rows[verb])}")
    server.shutdown()
    print(f"GATE S3 verbs {len(tree)} all PASS", flush=True)


harness.main(run)
