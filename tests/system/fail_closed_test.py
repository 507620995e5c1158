#!/usr/bin/env python3
"""Whatever security rests on is taken away, made slow, or spoilt: then nothing is allowed that needs it.

A cell is one dependency in one condition. It passes when the node does not serve, or refuses what needs the dependency.
"""

import os
import shutil
import subprocess
import tempfile
import time

import harness
from constitution import Signer
from harness import BROKEN, Client, check, gate, soma, wait_until

CELLS = {}
MODE = ("--mode", "test")


def cell(dependency, condition, closed, why=""):
    CELLS[dependency, condition] = bool(closed)
    print(f"{dependency}, {condition}: {'closed' if closed else 'OPEN'} {why}", flush=True)


def token(data, tenant="acme", person="ana", capabilities="*"):
    code, out, err = soma("auth", "token", "--tenant", tenant, "--sub", person, "--cap", capabilities, "--force", data=data)
    check(code == 0, f"soma auth token: {code} {err}")
    return out.strip()


def spoiled(folder, name, good=None):
    """Files that stand for one that is missing, one that never gives its bytes, one that holds other bytes."""
    path = os.path.join(folder, name)
    os.mkfifo(path + ".slow")
    with open(path + ".corrupt", "wb") as f:
        f.write(good or b"\x00\x01{[garbage: ]}\xff")
    return {"absent": path + ".absent", "slow": path + ".slow", "corrupt": path + ".corrupt"}


def start_with(folder, flags=(), env=None):
    """A start that should not serve: (closed, why). Given the time that a good one takes ten times over."""
    node = folder.node("--slm-local", "off", "--slm-embedding", "off", "--postgres", harness.NO_POSTGRES, *flags, env=env)
    try:
        wait_until("ready or ended", 5, lambda: node.ready_line or node.process.poll() is not None)
    except harness.Failure:
        node.kill()
        return True, "does not come up"
    if node.process.poll() is not None:
        last = [line for line in node.log().splitlines() if line.strip()][-1:]
        return node.process.poll() != 0, f"exit {node.process.poll()}: {last}"
    try:
        client = Client(node.url)
        statuses = [client.call("POST", "/v1/sessions/start", {"prompt": "x"}).status,
                    client.call("POST", "/v1/remember", {"text": "x"}).status]
        return all(s in (401, 403, 503) for s in statuses), f"serves, answers {statuses}"
    finally:
        node.kill()


def files(outside):
    """Keys and settings that a start reads."""
    jwks, secret = spoiled(outside, "jwks"), spoiled(outside, "secret", b"short")
    trusted, config = spoiled(outside, "trusted.pem"), spoiled(outside, "config.yaml", b"identity: [unclosed\n\tx")
    for condition in ("absent", "slow", "corrupt"):
        for dependency, flags, env in (
                ("identity.jwks", (*MODE, "--identity-jwks", jwks[condition]), None),
                ("identity.hs256_secret", MODE, {"SOMA_IDENTITY_HS256_SECRET_FILE": secret[condition]}),
                ("constitution.trusted_keys", (*MODE, "--constitution-trusted-keys", trusted[condition]), None),
                ("config", ("--config", config[condition]), None)):
            with harness.Folder() as folder:
                cell(dependency, condition, *start_with(folder, flags, env))


def own_keys():
    """The node's own signing keys: a token of the lost or spoilt key opens nothing."""
    for condition in ("absent", "slow", "corrupt"):
        with harness.Folder() as folder:
            node = folder.node(*MODE, "--slm-local", "off", "--slm-embedding", "off", "--postgres", harness.NO_POSTGRES).wait_ready()
            old = token(folder.data)
            check(Client(node.url, old).call("GET", "/v1/whoami").status == 200, "the token works before")
            node.kill()
            keys = os.path.join(folder.data, "keys")
            for name in os.listdir(keys):
                path = os.path.join(keys, name)
                if os.path.isdir(path):
                    continue
                os.remove(path)
                if condition == "slow":
                    os.mkfifo(path)
                if condition == "corrupt":
                    with open(path, "wb") as f:
                        f.write(b"-----BEGIN PRIVATE KEY-----\ngarbage\n")
            node = folder.node(*MODE, "--slm-local", "off", "--slm-embedding", "off", "--postgres", harness.NO_POSTGRES)
            try:
                wait_until("ready or ended", 5, lambda: node.ready_line or node.process.poll() is not None)
            except harness.Failure:
                cell("own keys", condition, True, "does not come up")
                continue
            if node.process.poll() is not None:
                cell("own keys", condition, node.process.poll() != 0, f"exit {node.process.poll()}")
                continue
            status = Client(node.url, old).call("GET", "/v1/whoami").status
            cell("own keys", condition, status == 401, f"the old token: {status}")


class Guarded:
    """A node on which every guard says no to something, and the requests that show it."""

    def __init__(self, folder, upstream, signer):
        self.folder, self.upstream = folder, upstream
        self.flags = (*upstream.flags, *MODE, "--postgres", harness.NO_POSTGRES, "--constitution-trusted-keys", signer.public)
        node = folder.node(*self.flags).wait_ready()
        self.admin = Client(node.url, token(folder.data, person="root"))
        self.ok("POST", "/v1/constitution/load", signer.bundle("v1", {}))
        issued = self.ok("POST", "/v1/tokens/issue", {"user_id": "carl", "tenant_id": "acme", "capabilities": ["tenant:read"]})
        self.revoked = issued["token"]
        check(Client(node.url, self.revoked).call("GET", "/v1/whoami").status == 200, "before it was revoked")
        self.ok("POST", "/v1/tokens/revoke", {"token": self.revoked})
        self.ok("PUT", "/v1/users/dan", {"user_id": "dan", "capabilities": ["tenant:read"], "active": True})
        self.inactive = self.ok("POST", "/v1/tokens/issue", {"user_id": "dan", "tenant_id": "acme",
                                                             "capabilities": ["tenant:read"]})["token"]
        self.ok("PUT", "/v1/users/dan", {"user_id": "dan", "capabilities": ["tenant:read"], "active": False})
        self.ticket = self.ok("POST", "/v1/tokens/ticket", None)["ticket"]
        # Tenants of their own for the limits.
        self.poor, self.busy = token(folder.data, "poor"), token(folder.data, "busy")
        for who in (self.poor, self.busy):
            self.ok("POST", "/v1/constitution/load", signer.bundle("v1", {}), Client(node.url, who))
        self.ok("PUT", "/v1/tenants/poor", {"budgets": [{"scope": "tenant", "unit": "requests", "hard": 1, "window": "total"}]},
                Client(node.url, self.poor))
        self.ok("POST", "/v1/infer_sync", {"prompt": "the only one"}, Client(node.url, self.poor))
        self.ok("PUT", "/v1/tenants/busy", {"rate_limits": {"tenant": {"requests": 2, "seconds": 3600}}}, Client(node.url, self.busy))
        session = self.ok("POST", "/v1/sessions/start", {"prompt": "ask a person", "metadata": {"requires_human": True}})
        self.session = "/v1/sessions/" + session["session_id"]
        wait_until("it waits for a person", 10, lambda: self.ok("GET", self.session, None)["status"] == "waiting_approval")
        self.ok("POST", "/v1/admin/kill-switch", {"enabled": True, "reason": "a test"})
        self.chats = self.calls()

    def ok(self, method, path, body, client=None):
        answer = (client or self.admin).call(method, path, body)
        check(answer.status in (200, 201, 202), f"{method} {path}: {answer.status} {answer.body}")
        return answer.json

    def calls(self):
        return Client(self.upstream.base_url.removesuffix("/v1")).call("GET", "/control/stats").json["chats"]

    def spoil(self, condition):
        snapshots = os.path.join(self.folder.data, "snapshots")
        if condition == "absent":
            shutil.rmtree(snapshots)
        if condition == "corrupt":
            for name in os.listdir(snapshots):
                path = os.path.join(snapshots, name)
                size = os.path.getsize(path) if os.path.isfile(path) else 0
                with open(path, "r+b") if size else open(os.devnull, "wb") as f:
                    f.write(os.urandom(min(size, 4096)))

    def judge(self, condition):
        """Kills the node, spoils what it kept beside the log, starts it, and asks from the first moment on."""
        self.folder.nodes[-1].kill()
        self.spoil(condition)
        node = self.folder.node(*self.flags)
        if condition == "slow":  # partitions are still being read back: ask as soon as anything listens
            wait_until("ready", 30, lambda: node.ready_line)
        node.wait_ready()
        ask = lambda who, method, path, body=None: self.first(node, who, method, path, body)
        admin = self.admin._token  # pylint: disable=protected-access
        for dependency, who, request, allowed in (
                ("revocations", self.revoked, ("GET", "/v1/whoami"), (401,)),
                ("users", self.inactive, ("GET", "/v1/whoami"), (401, 403)),
                ("kill switch", admin, ("POST", "/v1/sessions/start", {"prompt": "x"}), (503,)),
                ("budgets", self.poor, ("POST", "/v1/infer_sync", {"prompt": "one more"}), (429, 503))):
            status = ask(who, *request)
            cell(dependency, condition, status in allowed, f"{request[1]}: {status}")
        passed = [ask(self.busy, "GET", "/v1/whoami") for _ in range(6)]
        cell("rate limits", condition, passed.count(200) <= 2 and 429 in passed, f"{passed}")
        status = ask(None, "GET", f"{self.session}/stream?ticket={self.ticket}")
        cell("tickets", condition, status == 401, f"a ticket of before: {status}")
        state = Client(node.url, admin).call("GET", self.session)
        waits = state.status == 503 or state.json["status"] == "waiting_approval"
        cell("approvals", condition, waits and self.calls() == self.chats, f"{state.json.get('status')}, {self.calls()} calls")

    def first(self, node, who, method, path, body):
        """The first status that is not `wait a moment`."""
        end = time.monotonic() + 20
        while True:
            try:
                answer = Client(node.url, who).call(method, path, body)
                waiting = answer.status == 503 and "kill-switch" not in answer.body
            except BROKEN:
                waiting = True
            if not waiting or time.monotonic() > end:
                return 503 if waiting else answer.status


def constitution(upstream, signer):
    """None, one signed by nobody known, and one that still waits for its second person."""
    with harness.Folder() as folder:
        flags = (*upstream.flags, "--postgres", harness.NO_POSTGRES, "--constitution-trusted-keys", signer.public)
        node = folder.node(*flags, env={"SOMAGENT_DEPLOYMENT_MODE": "production"}).wait_ready()
        ana = Client(node.url, token(folder.data))
        refused = lambda: (lambda a: (a.status in (403, 503), f"{a.status} {a.json.get('code')}"))(
            ana.call("POST", "/v1/sessions/start", {"prompt": "x"}))
        cell("constitution", "absent", *refused())
        bundle = signer.bundle("v1", {})
        bundle["document"]["rules"] = {"maximum_risk": 1}
        loaded = ana.call("POST", "/v1/constitution/load", bundle)
        closed, why = refused()
        cell("constitution", "corrupt", closed and loaded.status in (400, 403, 409, 422), f"load {loaded.status}; {why}")
        proposed = ana.call("POST", "/v1/constitution/load", signer.bundle("v2", {}))
        closed, why = refused()
        cell("constitution", "slow", closed and proposed.status == 202, f"load {proposed.status}; {why}")
        node.terminate()


def journal(upstream):
    """Where everything must be recorded before it is answered."""
    for condition in ("absent", "corrupt", "slow"):
        with harness.Folder() as folder:
            flags = (*upstream.flags, "--postgres", harness.NO_POSTGRES)
            node = folder.node(*flags).wait_ready()
            check(Client(node.url).call("POST", "/v1/remember", {"text": "x"}, "k").status == 200, "remember")
            node.terminate()
            log = os.path.join(folder.data, "log")
            if condition == "slow":
                delay_s = 1.5
                node = folder.node(*flags, wrap=("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e",
                                                 f"inject=fdatasync,fsync:delay_enter={int(delay_s * 1e6)}:when=20+")).wait_ready(60)
                client, statuses, early = Client(node.url, timeout=60), [], 0
                for n in range(12):
                    began = time.monotonic()
                    statuses.append(client.call("POST", "/v1/remember", {"text": f"x{n}"}, f"n{n}").status)
                    took = time.monotonic() - began
                    early += n >= 8 and statuses[-1] == 200 and took < delay_s * 0.9
                node.kill()
                held = harness.journal(folder.data)
                told = [n for n, s in enumerate(statuses) if s == 200]
                cell("journal", condition, early == 0 and all(f"demo:n{n}" in held for n in told), f"{early} answered before the sync")
                continue
            if condition == "absent":
                shutil.rmtree(log)
                with open(log, "wb"):
                    pass
            else:
                name = os.path.join(log, sorted(os.listdir(log))[0])
                with open(name, "r+b") as f:
                    f.seek(200)
                    f.write(b"\xff" * 16)
            cell("journal", condition, *start_with(folder))


def run():
    with harness.Upstream() as upstream, tempfile.TemporaryDirectory() as outside:
        signer = Signer(outside)
        files(outside)
        own_keys()
        constitution(upstream, signer)
        if subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0:
            journal(upstream)
        with harness.Folder() as folder:
            guarded = Guarded(folder, upstream, signer)
            for condition in ("absent", "slow", "corrupt"):
                guarded.judge(condition)
    opened = [c for c, closed in CELLS.items() if not closed]
    gate("S14", f"{len(CELLS) - len(opened)} cells of {len(CELLS)} closed, {len({d for d, _ in CELLS})} dependencies", "all",
         not opened)


if __name__ == "__main__":
    harness.main(run)
