"""Every route of the authorization matrix as nobody, as somebody without the right, and as another tenant.

The matrix and what the node serves must name the same routes. Another tenant's object and a missing one must answer
alike, byte for byte, apart from the ids that were asked for."""

import re
import tempfile

import contract
from constitution import Signer
from contract import case, equal, run
from harness import check, wait_until
from routes import BODIES, MAKES, NOT_TRIED, ask, matrix, own_objects, served

FOLDER = tempfile.TemporaryDirectory()
SIGNER = Signer(FOLDER.name)


def token(w, tenant, capabilities="*", person="ana"):
    return contract.as_(w, person, tenant, capabilities)


def objects(w):
    """What acme owns, so that a rival can ask for it."""
    w.ok("POST", "/v1/constitution/load", SIGNER.bundle("1", {}), headers=token(w, "rival"))
    return own_objects(w, token(w, "acme"), SIGNER)


@case
def every_route_has_a_row_and_every_row_a_route(w):
    rows, routes = matrix(), served(w.client)
    equal({k: v[0] for k, v in rows.items() if k in routes}, {k: v for k, v in routes.items() if k in rows}, "capabilities")
    missing = sorted(set(routes) - set(rows))
    check(not missing, f"routes without a row in runtime/api/authorization.tsv: {missing}")
    gone = sorted(k for k in set(rows) - set(routes) if not k[1].startswith("/v1/bench/"))  # developer modes only
    check(not gone, f"rows without a route: {gone}")


@case
def without_a_token_nothing_but_what_is_open(w):
    for (method, path), (capability, scope) in matrix().items():
        if path.startswith("/v1/bench/"):
            continue
        at = re.sub(r"\{\w+\}", "x", path)
        status, body = ask(w, method, at, {}, BODIES.get((method, path)))
        if scope == "open":
            check(status in (200, 503), f"{method} {path}: {status}")
        else:
            equal(status, 401, f"{method} {path} without a token")


@case
def without_the_capability_nothing(w):
    tried = 0
    for (method, path), (capability, scope) in matrix().items():
        if scope == "open" or capability == "authenticated" or path.startswith("/v1/bench/"):
            continue
        area, verb = capability.split(":")
        at = re.sub(r"\{\w+\}", "x", path)
        for wrong in (f"{area}:{verb}x", f"{area}x:{verb}", "none:none"):
            status, body = ask(w, method, at, token(w, "acme", wrong), BODIES.get((method, path)))
            equal(status, 403, f"{method} {path} with {wrong}")
            check(path.endswith("/ws") or f"this needs the capability {capability}" in body, body)
            tried += 1
    print(f"GATE S3 refusals {tried} all PASS", flush=True)


@case
def with_the_capability_the_right_is_there(w):
    for (method, path), (capability, scope) in matrix().items():
        if scope == "open" or path.startswith("/v1/bench/") or (method, path) in NOT_TRIED:
            continue
        at = re.sub(r"\{\w+\}", "x", path)
        right = token(w, "own", "none:none" if capability == "authenticated" else capability)
        status, body = ask(w, method, at, right, BODIES.get((method, path)))
        check(status != 401 and "this needs the capability" not in body, f"{method} {path} with {capability}: {status}")


@case
def another_tenants_is_a_missing_one(w):
    ours, tried = objects(w), 0
    wait_until("views", 20, lambda: w.call("GET", "/v1/sessions", headers=token(w, "rival")).status == 200)
    for (method, path), (capability, scope) in sorted(matrix().items(), key=lambda row: row[0] in MAKES):
        if scope not in ("object", "tenant") or path.startswith("/v1/bench/") or path.startswith("/v1/log/"):
            continue
        if scope == "tenant":
            theirs, none = "acme", "nix1"
        else:
            area = next((a for a in ours if path.startswith(a)), None)
            check(area is not None, f"no object to try {method} {path} with: add one to objects()")
            theirs, none = ours[area], "nothing"
        rival = token(w, "rival", capability)
        answers = []
        for name in (theirs, none):
            at = re.sub(r"\{(id|tenant|event_id|erasure_id|call_id)\}", name, path).replace("{type}", "session")
            status, body = ask(w, method, at, rival, BODIES.get((method, path)))
            answers.append((status, body.replace(name, "ID")))
        if (method, path) in MAKES:  # the rival's own, new
            check(all(status == 200 and '"version":1,' in body for status, body in answers), f"{method} {path}: {answers}")
        else:
            equal(answers[0], answers[1], f"{method} {path}")
            equal(answers[0][0], 404, f"{method} {path}")
        tried += 1
    print(f"GATE S3 foreign = missing {tried} all PASS", flush=True)


if __name__ == "__main__":
    run("--constitution-trusted-keys", SIGNER.public, "--mode", "test")
