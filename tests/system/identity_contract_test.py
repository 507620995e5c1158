"""Identity, as an outside client meets it: users, tokens and their ends, keys that change."""

import base64
import json
import tempfile
import time

from constitution import Signer
from contract import as_, case, equal, problem, run
from harness import check, gate, soma

FOLDER = tempfile.TemporaryDirectory()
SIGNER = Signer(FOLDER.name)


def bearer(answer):
    return {"Authorization": "Bearer " + answer["token"]}


def issue(w, user="carl", capabilities=("tenant:read",), **named):
    body = {"user_id": user, "tenant_id": "acme", "capabilities": list(capabilities)}
    return w.ok("POST", "/v1/tokens/issue", body, headers=named.pop("headers", as_(w)), **named).json


def kid_of(token):
    head = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]


@case
def users_are_kept_by_version(w):
    ana = as_(w)
    problem(w.call("GET", "/v1/users/bea", headers=ana), 404, "not_found", "User not found")
    body = {"user_id": "bea", "name": "Bea", "email": "bea@example.org", "capabilities": ["session:start"], "active": True}
    made = w.ok("PUT", "/v1/users/bea", body, headers=ana)
    equal({k: made.json[k] for k in body}, body, "as put")
    equal(made.headers["ETag"], f'"{made.json["version"]}-{made.json["hash"]}"', "ETag")
    equal(w.ok("PUT", "/v1/users/bea", body, headers=ana).json["version"], 1, "the same again is no change")
    problem(w.call("PUT", "/v1/users/bea", {**body, "user_id": "cy"}, headers=ana), 422, loc=["body", "user_id"])
    problem(w.call("PUT", "/v1/users/bea", {**body, "capabilities": ["everything"]}, headers=ana), 422)
    changed = w.ok("PUT", "/v1/users/bea", {**body, "name": "B"}, headers={**ana, "If-Match": made.headers["ETag"]})
    equal(changed.json["version"], 2, "version")
    problem(w.call("PUT", "/v1/users/bea", body, headers={**ana, "If-Match": made.headers["ETag"]}), 412)
    equal(w.ok("PUT", "/v1/users", {"user_id": "abe"}, headers=ana).json["active"], True, "active by default")
    equal([u["user_id"] for u in w.ok("GET", "/v1/users", headers=ana).json["items"]], ["abe", "bea"], "list")
    page = w.ok("GET", "/v1/users?limit=1", headers=ana).json
    equal([u["user_id"] for u in w.ok("GET", f"/v1/users?cursor={page['next_cursor']}", headers=ana).json["items"]], ["bea"], "page")
    equal(w.ok("GET", "/v1/users/bea/capabilities", headers=ana).json["capabilities"], ["session:start"], "capabilities")
    rival = as_(w, "mallory", "rival")
    for path in ("/v1/users/{}", "/v1/users/{}/capabilities"):
        theirs, none = (w.call("GET", path.format(i), headers=rival) for i in ("bea", "none"))
        equal((theirs.status, theirs.body), (404, none.body), "another tenant's user is a missing one")
    events = [e for e in w.ok("GET", "/v1/audit/events?type=user.changed", headers=ana).json["items"]]
    equal([e["topic"] for e in events], ["identity.audit"] * 3, "one event a change")


@case
def a_deactivated_user_is_refused_everywhere_at_once(w):
    ana = as_(w)
    w.ok("PUT", "/v1/users/dan", {"capabilities": ["tenant:read", "session:*"]}, headers=ana)
    dan = bearer(issue(w, "dan", ["tenant:read", "session:read"]))
    w.ok("GET", "/v1/tenants/acme", headers=dan)
    problem(w.call("POST", "/v1/tokens/issue", {"user_id": "dan", "tenant_id": "acme", "capabilities": ["memory:read"]},
                   headers=ana), 403)
    w.ok("PUT", "/v1/users/dan", {"capabilities": ["tenant:read", "session:*"], "active": False}, headers=ana)
    problem(w.call("GET", "/v1/tenants/acme", headers=dan), 401, "unauthenticated", "Invalid token")
    problem(w.call("POST", "/v1/tokens/issue", {"user_id": "dan", "tenant_id": "acme", "capabilities": ["tenant:read"]},
                   headers=ana), 403)
    w.ok("PUT", "/v1/users/dan", {"capabilities": ["tenant:read", "session:*"], "active": True}, headers=ana)
    w.ok("GET", "/v1/tenants/acme", headers=dan)


@case
def a_token_is_worth_no_more_than_its_user_may_do_now(w):
    ana = as_(w)
    w.ok("PUT", "/v1/users/fay", {"capabilities": ["tenant:read", "session:*"]}, headers=ana)
    fay, everything = bearer(issue(w, "fay", ["tenant:read", "session:*"])), as_(w, "fay")
    may = lambda headers: sorted(w.ok("GET", "/v1/whoami", headers=headers).json["capabilities"])
    for headers in (fay, everything):  # one that the node issued, and one of everything that was made offline
        equal(may(headers), ["session:*", "tenant:read"], "as issued")
        w.ok("GET", "/v1/tenants/acme", headers=headers)
    w.ok("PUT", "/v1/users/fay", {"capabilities": ["session:read"]}, headers=ana)
    for headers in (fay, everything):
        equal(may(headers), ["session:read"], "less")
        problem(w.call("GET", "/v1/tenants/acme", headers=headers), 403, "forbidden")
    w.ok("PUT", "/v1/users/fay", {"capabilities": ["*"]}, headers=ana)
    equal(may(fay), ["session:*", "tenant:read"], "never more than the token says")


@case
def a_service_acts_while_it_is_registered_and_active(w):
    ana = as_(w)
    offline = as_(w, "svc:ci")  # signed with the folder's key, of a service that nobody has registered
    problem(w.call("GET", "/v1/tenants/acme", headers=offline), 401, "unauthenticated", "Invalid token")
    problem(w.call("GET", "/v1/services/ci", headers=ana), 404, "not_found", "Service not found")
    problem(w.call("POST", "/v1/tokens/issue", {"user_id": "svc:ci", "capabilities": ["tenant:read"]}, headers=ana), 403)
    problem(w.call("PUT", "/v1/users/svc:ci", {"capabilities": []}, headers=ana), 422, loc=["body", "user_id"])
    body = {"description": "builds", "capabilities": ["slm:*", "tenant:read"]}
    problem(w.call("PUT", "/v1/services/ci", body, headers=as_(w, "eve", capabilities="service:write,slm:infer")), 403, "forbidden")
    problem(w.call("PUT", "/v1/services/CI", body, headers=ana), 422, loc=["body", "service_id"])
    problem(w.call("PUT", "/v1/services/ci", {"description": "x"}, headers=ana), 422, loc=["body", "capabilities"])
    problem(w.call("PUT", "/v1/services/ci", {"capabilities": ["all"]}, headers=ana), 422)
    made = w.ok("PUT", "/v1/services/ci", body, headers=ana)
    equal((made.json["subject"], made.json["active"], made.json["version"]), ("svc:ci", True, 1), "made")
    equal(w.ok("PUT", "/v1/services/ci", body, headers=ana).json["version"], 1, "the same again is no change")
    token = bearer(issue(w, "svc:ci", ["tenant:read"]))
    may = lambda headers: sorted(w.ok("GET", "/v1/whoami", headers=headers).json["capabilities"])
    equal((may(token), may(offline)), (["tenant:read"], ["slm:*", "tenant:read"]), "never more than the service has")
    w.ok("GET", "/v1/tenants/acme", headers=token)
    problem(w.call("POST", "/v1/tokens/issue", {"user_id": "svc:ci", "capabilities": ["memory:read"]}, headers=ana), 403)
    changed = w.ok("PUT", "/v1/services/ci", {"capabilities": []}, headers={**ana, "If-Match": made.headers["ETag"]})
    equal((may(token), may(offline)), ([], []), "without capabilities it may nothing")
    problem(w.call("PUT", "/v1/services/ci", body, headers={**ana, "If-Match": made.headers["ETag"]}), 412)
    w.ok("PUT", "/v1/services/ci", {**body, "active": False}, headers={**ana, "If-Match": changed.headers["ETag"]})
    for headers in (token, offline):
        problem(w.call("GET", "/v1/whoami", headers=headers), 401, "unauthenticated", "Invalid token")
    problem(w.call("POST", "/v1/tokens/issue", {"user_id": "svc:ci", "capabilities": ["tenant:read"]}, headers=ana), 403)
    w.ok("PUT", "/v1/services/bot", {"capabilities": []}, headers=ana)
    page = w.ok("GET", "/v1/services?limit=1", headers=ana).json
    equal([s["service_id"] for s in page["items"]], ["bot"], "list")
    equal([s["service_id"] for s in w.ok("GET", f"/v1/services?cursor={page['next_cursor']}", headers=ana).json["items"]], ["ci"], "page")
    rival = as_(w, "mallory", "rival")
    equal(w.ok("GET", "/v1/services", headers=rival).json["items"], [], "a rival sees none")
    told = w.ok("GET", "/v1/audit/events?type=service.changed", headers=ana).json["items"]
    equal([e["topic"] for e in told], ["identity.audit"] * 4, "one event a change")


@case
def nobody_gives_away_what_they_have_not(w):
    small = as_(w, "eve", capabilities="token:issue,session:read")
    for wanted in ("*", "session:*", "tenant:read", "token:*"):
        problem(w.call("POST", "/v1/tokens/issue", {"user_id": "x", "tenant_id": "acme", "capabilities": [wanted]},
                       headers=small), 403)
    problem(w.call("POST", "/v1/tokens/issue", {"user_id": "x", "tenant_id": "rival", "capabilities": ["session:read"]},
                   headers=small), 403)
    answer = issue(w, "x", ["session:read"], headers=small)
    verified = w.ok("POST", "/v1/tokens/verify", {"token": answer["token"]}, headers=as_(w)).json
    equal((verified["valid"], verified["claims"]["jti"]), (True, answer["jti"]), "verify")
    lacking = w.ok("POST", "/v1/tokens/verify", {"token": answer["token"], "required_capabilities": ["slm:infer"]},
                   headers=as_(w)).json
    equal(lacking["valid"], False, "a missing capability")


@case
def a_revoked_token_is_out_at_once_and_after_a_crash(w):
    ana = as_(w)
    first, second = issue(w), issue(w)
    for token in (first, second):
        w.ok("GET", "/v1/tenants/acme", headers=bearer(token))
    problem(w.call("POST", "/v1/tokens/revoke", {}, headers=ana), 422)
    problem(w.call("POST", "/v1/tokens/revoke", {"token": first["token"], "jti": "x"}, headers=ana), 422)
    problem(w.call("POST", "/v1/tokens/revoke", {"token": first["token"]}, headers=as_(w, "mallory", "rival")), 422)
    w.ok("GET", "/v1/tenants/acme", headers=bearer(first))
    equal(w.ok("POST", "/v1/tokens/revoke", {"token": first["token"]}, headers=ana).json["jti"], first["jti"], "by token")
    w.ok("POST", "/v1/tokens/revoke", {"jti": second["jti"]}, headers=ana)
    w.ok("POST", "/v1/tokens/revoke", {"jti": second["jti"]}, headers=ana)

    def out(token):
        problem(w.call("GET", "/v1/tenants/acme", headers=bearer(token)), 401, "unauthenticated", "Invalid token")
        # What the body holds is not looked at first.
        problem(w.call("POST", "/v1/sessions/start", {}, headers=bearer(token)), 401)
        problem(w.call("POST", "/v1/tokens/ticket", headers=bearer(token)), 401)
        equal(w.socket("/v1/sessions/none/ws", bearer(token)).status, 401, "socket")
        verdict = w.ok("POST", "/v1/tokens/verify", {"token": token["token"]}, headers=ana).json
        equal(verdict, {"valid": False, "reason": "Token revoked"}, "verify")

    out(first)
    out(second)
    w.node.kill()
    w.__init__(w.folder.node(*w.flags, env=w.env).wait_ready(30), w.upstream)
    out(first)
    out(second)
    types = [e["type"] for e in w.ok("GET", "/v1/audit/events?type=token.revoked", headers=ana).json["items"]]
    equal(len(types), 2, "one event each")


@case
def a_retry_gets_the_token_that_was_issued(w):
    ana, body = as_(w), {"user_id": "gil", "tenant_id": "acme", "capabilities": ["tenant:read"], "ttl": 600}
    ask = lambda key: w.ok("POST", "/v1/tokens/issue", body, headers={**ana, "Idempotency-Key": key})
    first = ask("issue-1")
    equal(first.headers.get("Idempotent-Replayed"), None, "the first")
    time.sleep(1.1)  # iat counts seconds
    again = ask("issue-1")
    equal((again.json, again.headers.get("Idempotent-Replayed")), (first.json, "true"), "the first answer again")
    w.node.kill()
    w.__init__(w.folder.node(*w.flags, env=w.env).wait_ready(30), w.upstream)
    equal(ask("issue-1").json, first.json, "and after a crash")
    check(ask("issue-2").json["token"] != first.json["token"], "another key, another token")
    problem(w.call("POST", "/v1/tokens/issue", {**body, "ttl": 601}, headers={**ana, "Idempotency-Key": "issue-1"}), 409)
    w.ok("GET", "/v1/tenants/acme", headers=bearer(again.json))
    w.ok("POST", "/v1/tokens/revoke", {"token": first.json["token"]}, headers=ana)
    problem(w.call("GET", "/v1/tenants/acme", headers=bearer(again.json)), 401, "unauthenticated", "Invalid token")


@case
def a_retry_gets_the_ticket_that_was_issued_and_never_a_second_use(w):
    ana, bob = as_(w), as_(w, "bob")
    session = w.ok("POST", "/v1/sessions/start", {"prompt": "x"}, 202, headers=ana).json["session_id"]
    path, key = f"/v1/sessions/{session}/ws?ticket=", {"Idempotency-Key": "ticket-1"}
    first = w.ok("POST", "/v1/tokens/ticket", headers={**ana, **key})
    again = w.ok("POST", "/v1/tokens/ticket", headers={**ana, **key})
    equal((again.json, again.headers.get("Idempotent-Replayed")), (first.json, "true"), "the first answer again")
    problem(w.call("POST", "/v1/tokens/ticket", headers={**bob, **key}), 409, "conflict")
    equal(w.socket(path + first.json["ticket"]).status, 101, "it opens one socket")
    equal(w.ok("POST", "/v1/tokens/ticket", headers={**ana, **key}).json, first.json, "also when it was used")
    equal(w.socket(path + first.json["ticket"]).status, 401, "no second one")
    w.node.kill()
    w.__init__(w.folder.node(*w.flags, env=w.env).wait_ready(30), w.upstream)
    problem(w.call("POST", "/v1/tokens/ticket", headers={**ana, **key}), 409, "conflict")


@case
def open_streams_end_with_the_right_to_them(w):
    ana = as_(w)
    session = w.ok("POST", "/v1/sessions/start", {"prompt": "x"}, 202, headers=ana).json["session_id"]
    path = f"/v1/sessions/{session}/"
    events, sockets = issue(w, "dora", ["session:read"]), issue(w, "dora", ["session:read"])
    other = issue(w, "emil", ["session:read"])
    stream, kept = (w.stream(path + "stream?follow=true", bearer(t)) for t in (events, other))
    socket = w.socket(path + "ws?follow=true", bearer(sockets))
    ticket = w.ok("POST", "/v1/tokens/ticket", headers=bearer(sockets)).json["ticket"]
    ticketed = w.socket(path + f"ws?follow=true&ticket={ticket}")
    equal((stream.status, kept.status, socket.status, ticketed.status), (200, 200, 101, 101), "open")
    for token, ends in ((events, [stream]), (sockets, [socket, ticketed])):
        w.ok("POST", "/v1/tokens/revoke", {"jti": token["jti"]}, headers=ana)
        began, last = time.monotonic(), []
        for one in ends:
            for message in one:
                last = message
            took = time.monotonic() - began
            name, data = (last[1], json.loads(last[2])) if one is stream else (last["event"], last["data"])
            equal((name, data["error"]["message"]), ("error", "Invalid token"), "what is told last")
            gate("revocation cuts a stream", f"{took:.2f} s", "1 s", took <= 1.0)
    # Another's goes on: what happens next is seen, until its user is deactivated.
    w.ok("POST", f"/v1/sessions/{session}/messages", {"content": "more"}, 202, headers=ana)
    seen = []
    for _, name, data in kept:
        seen.append(name)
        if name == "session.completed" and seen.count(name) == 2:
            w.ok("PUT", "/v1/users/emil", {"user_id": "emil", "active": False}, headers=ana)
    equal(seen[-1], "error", "a deactivated user's stream ends")


@case
def a_token_of_an_earlier_constitution_is_stale_everywhere(w):
    ana = as_(w)
    token = bearer(issue(w, "fay", ["tenant:read", "session:*"]))
    w.ok("GET", "/v1/tenants/acme", headers=token)
    retry = {**ana, "Idempotency-Key": "before-the-constitution"}
    before = issue(w, "fay", headers=retry)
    w.ok("POST", "/v1/constitution/load", SIGNER.bundle("1", {}), headers=ana)
    equal(issue(w, "fay", headers=retry), before, "a retry is no way to a token of the next constitution")
    for method, path, body in (("GET", "/v1/tenants/acme", None), ("GET", "/v1/sessions/none", None),
                               ("POST", "/v1/sessions/start", {"prompt": "x"}), ("POST", "/v1/tokens/ticket", None)):
        problem(w.call(method, path, body, headers=token), 401, "unauthenticated", "Constitution hash mismatch")
    w.ok("GET", "/v1/tenants/acme", headers=ana)  # made offline: it carries no hash
    w.ok("GET", "/v1/tenants/acme", headers=bearer(issue(w, "fay")))


@case
def keys_rotate_and_old_tokens_end_by_themselves_or_at_once(w):
    ana = as_(w)
    old, retry = issue(w), {**ana, "Idempotency-Key": "before-the-rotation"}
    equal(issue(w, headers=retry), issue(w, headers=retry), "a retry")
    before = [k["kid"] for k in w.ok("GET", "/.well-known/jwks.json").json["keys"]]
    equal(before, [kid_of(old["token"])], "one key")
    code, out, err = soma("auth", "rotate", "--yes", data=w.node.data)
    check(code == 0, err)
    kids = [k["kid"] for k in w.ok("GET", "/.well-known/jwks.json").json["keys"]]
    equal((len(kids), kids[1]), (2, before[0]), "the new one first, the old one still there")
    new = issue(w)
    equal(kid_of(new["token"]), kids[0], "signs with the new one")
    problem(w.call("POST", "/v1/tokens/issue", {"user_id": "carl", "tenant_id": "acme", "capabilities": ["tenant:read"]}, headers=retry),
            409, "conflict")  # nothing that another key signs is passed off as it
    for token in (old, new):
        w.ok("GET", "/v1/tenants/acme", headers=bearer(token))
    w.node.kill()
    w.__init__(w.folder.node(*w.flags, env=w.env).wait_ready(30), w.upstream)
    for token in (old, new):
        w.ok("GET", "/v1/tenants/acme", headers=bearer(token))
    w.ok("POST", "/v1/tokens/rotate", {"at_once": True}, headers=ana)
    w.tokens.clear()
    equal(len(w.ok("GET", "/.well-known/jwks.json").json["keys"]), 1, "one key")
    for token in (old, new):
        problem(w.call("GET", "/v1/tenants/acme", headers=bearer(token)), 401, detail="Invalid token")
    w.ok("GET", "/v1/tenants/acme", headers=as_(w))
    rotated = w.ok("GET", "/v1/audit/events?type=token.key_rotated", headers=as_(w)).json["items"]
    check(any(e["data"]["at_once"] for e in rotated), rotated)


run("--constitution-trusted-keys", SIGNER.public)
