"""Every route as each of nine callers, on their own tenant's object, another tenant's, and a missing one.

What must come follows from the authorization matrix alone (S3): nobody gets in without a token, nobody does what the
matrix does not give them, another tenant's object is a missing one byte for byte, and what one may do to one's own is
not refused. Requests that would change what the other rows rest on are sent so that their body is refused after the
right was judged."""

import base64
import hashlib
import hmac
import json
import tempfile
import time

from constitution import Signer
from contract import case, equal, run
from harness import check, wait_until
from routes import BODIES, MAKES, ask, matrix, may, own_objects, roles, tried_on

FOLDER = tempfile.TemporaryDirectory()
SIGNER = Signer(FOLDER.name)
SECRET = "a secret of this test, and of nobody else"

# Sent with a body or query that is wrong: whoever may gets 422, and the node is as before.
SPOILT = {
    ("POST", "/v1/settings/mode"): {"mode": "nonsense"}, ("POST", "/v1/admin/kill-switch"): {},
    ("POST", "/v1/tokens/rotate"): {"at_once": "nonsense"}, ("POST", "/v1/tokens/revoke"): {"token": 7},
    ("POST", "/v1/training/start"): {"tenant_id": 7}, ("POST", "/v1/training/stop"): {"tenant_id": 7},
    ("POST", "/v1/sessions/import"): {"events": 7}, ("PUT", "/v1/policy/rules"): {"rules": 7},
    ("POST", "/v1/constitution/load"): {"version": 7}, ("POST", "/constitution/load"): {"version": 7},
}
# Long or costly, and shown by tests of their own; here as others whose rows are alike.
QUIET = {("DELETE", "/v1/admin/snapshots"), ("POST", "/v1/admin/projections/rebuild")}


def minted(subject, tenant, capabilities, seconds=3600):
    part = lambda data: base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()
    now = int(time.time())
    claims = {"sub": subject, "tenant_id": tenant, "capabilities": capabilities.split(","), "iat": now - 7200, "exp": now + seconds,
              "jti": f"{subject}-{tenant}-{seconds}"}
    text = part({"alg": "HS256", "typ": "JWT"}) + "." + part(claims)
    mac = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()
    return {"Authorization": "Bearer " + text + "." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()}


def principals(w):
    """{name: (headers, capabilities or None, tenant)}; None: nobody."""
    kinds = roles()
    root = minted("root", "acme", kinds["root"])
    w.ok("PUT", "/v1/services/worker", {"capabilities": kinds["service"].split(",")}, headers=root)
    out = {"anonymous": ({}, None, "acme"), "expired": (minted("ana", "acme", "*", -120), None, "acme"),
           "other-tenant admin": (minted("mallory", "rival", kinds["admin"]), kinds["admin"], "rival"),
           "service": (minted("svc:worker", "acme", kinds["service"]), kinds["service"], "acme"),
           "platform-root": (root, kinds["root"], "acme")}
    for name in ("viewer", "operator", "approver", "admin"):
        out[name] = (minted(name, "acme", kinds[name]), kinds[name], "acme")
    return out


def targets(w, path, scope, tenant, theirs):
    """{own, other, missing: the name that the path gets}; of a path that names nothing only `own`."""
    if scope == "tenant":
        return {"own": tenant, "other": "rival" if tenant == "acme" else "acme", "missing": "nix1"}
    if scope == "object" and not path.startswith("/v1/log/"):
        area = next((a for a in theirs[tenant] if path.startswith(a)), None)
        check(area is not None, f"no object to try {path} with")
        other = "rival" if tenant == "acme" else "acme"
        return {"own": theirs[tenant][area], "other": theirs[other][area], "missing": "nothing"}
    return {"own": "x"}


@case
def each_row_holds_for_each_caller(w):
    callers = principals(w)
    mine = {tenant: own_objects(w, minted("root", tenant, "*"), SIGNER, f"zoe-{tenant}", f"bot-{tenant}") for tenant in ("acme", "rival")}
    wait_until("views", 20, lambda: w.call("GET", "/v1/sessions", headers=callers["admin"][0]).status == 200)
    check(len(callers) == 9, str(list(callers)))
    requests = routes = 0
    # What reads goes before what changes, so that what is read is there.
    for (method, path), (capability, scope) in sorted(matrix().items(), key=lambda row: (row[0][0] != "GET", row[0] in MAKES, row[0])):
        if path.startswith("/v1/bench/"):  # developer modes only
            continue
        routes += 1
        for name, (headers, capabilities, tenant) in callers.items():
            answers = {}
            for target, put in targets(w, path, scope, tenant, mine).items():
                at = tried_on(path, put)
                body = SPOILT.get((method, path), BODIES.get((method, path)))
                allowed = scope == "open" or capabilities is not None and may(capabilities, capability)
                if (method, path) in QUIET and allowed:
                    continue
                status, text = ask(w, method, at, headers, body)
                requests += 1
                what = f"{name}: {method} {at} ({target}): {status} {text[:300]}"
                if scope == "open":
                    check(status in (200, 503), what)
                elif capabilities is None:
                    check(status == 401, what)
                elif not allowed:
                    check(status == 403 and (path.endswith("/ws") or f"this needs the capability {capability}" in text), what)
                else:
                    check(status != 401 and "this needs the capability" not in text, what)
                    check((method, path) not in SPOILT or status in (400, 422), what)
                    check(target != "own" or method != "GET" or scope not in ("object", "tenant") or status != 404
                          or (method, path) in EMPTY, what)
                    answers[target] = (status, text.replace(put, "NAME"))
            if "missing" in answers and (method, path) not in MAKES:
                equal(answers["other"], answers["missing"], f"{name}: {method} {path}")
                equal(answers["missing"][0], 404, f"{name}: {method} {path}")
    print(f"GATE S3.matrix {requests} requests to {routes} routes as {len(callers)} callers PASS", flush=True)


# What a session of this test has none of.
EMPTY = {("GET", "/v1/admin/effects/{id}"), ("GET", "/v1/admin/parked/{type}/{id}"), ("GET", "/v1/admin/parked/{type}/{id}/redrive"),
         ("GET", "/v1/tenants/{id}/erasures/{erasure_id}")}

if __name__ == "__main__":
    run("--constitution-trusted-keys", SIGNER.public, "--mode", "test", env={"SOMA_IDENTITY_HS256_SECRET": SECRET})
