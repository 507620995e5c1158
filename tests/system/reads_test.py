"""What reads changes nothing, nothing redirects, and neither sources nor the data folder are served.

Every GET and HEAD of the authorization matrix is asked by somebody who may do everything, of objects that are there, and the
positions of all partitions are as before. What a read may change is outside the journal: a ticket in its query is used up, caches warm."""

import hashlib
import os
import tempfile
import time
import urllib.parse
from fnmatch import fnmatch

import contract
from constitution import Signer
from contract import case, equal, run
from documents import key_file_patterns
from harness import ROOT, Client, check, wait_until
from routes import matrix, own_objects

FOLDER = tempfile.TemporaryDirectory()
SIGNER = Signer(FOLDER.name)
QUIET, LONGEST = 1.0, 60  # seconds without a new frame, and until there are such
# What a session of this test need not have: the read is made, and may answer 404.
NONE_THERE = {"/v1/admin/effects/{id}", "/v1/admin/parked/{type}/{id}", "/v1/admin/parked/{type}/{id}/redrive",
              "/v1/tenants/{id}/erasures/{erasure_id}"}
# Of other programs' folders, of this machine, and of the node's own.
NEVER_SERVED = ("/.git/config", "/.git/HEAD", "/.git/index", "/.git/logs/HEAD", "/.git/", "/.svn/entries", "/.svn/wc.db", "/.hg/store/00manifest.i",
                "/.bzr/branch/branch.conf", "/CVS/Entries", "/.env", "/runtime/api/authorization.tsv", "/etc/passwd", "//etc/passwd", "/../etc/passwd",
                "/../../../../../../etc/passwd", "/..%2f..%2f..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/..;/..;/etc/passwd",
                "/proc/self/environ", "/keys/token_ed25519.pem", "/keys/vault/master.key", "/run/endpoints.json", "/node_id", "/log/")
TOLD_BY = ("[core]", "repositoryformatversion", "ref: refs/", "root:x:0", "PRIVATE KEY", "cmake_minimum_required")


def root(w):
    return contract.as_(w, "root", "acme")


def applied(w):
    """Where each partition stands."""
    return {p["partition"]: p["applied"] for p in w.ok("GET", "/v1/admin/status", headers=root(w)).json["partitions"]}


def at_rest(w):
    """The same, once nothing has moved for a while: what was asked before has ended."""
    seen, since = applied(w), time.monotonic()

    def rested():
        nonlocal seen, since
        now = applied(w)
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since >= QUIET
    wait_until("the node at rest", LONGEST, rested, 0.05)
    return seen


def kept_files(w):
    """What lies in the folders of keys and of signed heads, by name and hash."""
    found = {}
    for folder in ("keys", "audit"):
        for place, _, names in os.walk(os.path.join(w.node.data, folder)):
            for name in names:
                with open(os.path.join(place, name), "rb") as file:
                    found[os.path.relpath(os.path.join(place, name), w.node.data)] = hashlib.sha256(file.read()).hexdigest()
    return found


def objects(w):
    """What acme owns, by the area of a route's path; made once."""
    if not hasattr(w, "theirs"):
        w.theirs = own_objects(w, root(w), SIGNER)
        wait_until("views", 60, lambda: w.call("GET", "/v1/sessions", headers=root(w)).status == 200)
        w.theirs["/v1/log/frames/"] = w.ok("GET", "/v1/log/frames?limit=1", headers=root(w)).json["items"][0]["position"]
        at_rest(w)
    return w.theirs


def place_of(w, path, scope):
    """The path with real names in it."""
    if "{" not in path:
        return path
    names = {"{type}": "session", "{tenant}": "acme", "{erasure_id}": "nothing"}
    if path.startswith("/v1/tenants/"):
        names["{id}"] = "acme"
    elif path == "/v1/log/frames/{partition}/{offset}":
        names["{partition}"], names["{offset}"] = objects(w)["/v1/log/frames/"].split("/")
    elif scope == "object":
        area = next((a for a in objects(w) if path.startswith(a)), None)
        check(area is not None, f"no object to read {path} of: add one to own_objects()")
        names["{id}"] = names["{event_id}"] = objects(w)[area]
    for name, put in names.items():
        path = path.replace(name, put)
    check("{" not in path, f"{path}: a name is missing")
    return path


def streamed(w, path):
    """An event stream, to its end or its hundredth event."""
    stream = w.stream(path, root(w))
    count = 0
    for _ in stream:
        count += 1
        if count == 100 or "follow=true" in path:
            break
    stream.close()
    check(stream.status != 200 or count > 0, f"{path}: a stream without an event")
    return stream.status, stream.headers


def asked(w, method, path):
    """(status, header fields) of one read; what is busy is asked again."""
    if method == "GET" and path.endswith("/ws"):
        sock = w.socket(path, root(w))
        if sock.status == 101:
            sock.frame()
        sock.close()
        return sock.status, {}
    if method == "GET" and ("/stream" in path or path == "/v1/admin/verify"):
        return wait_until(path, 30, lambda: (got := streamed(w, path))[0] != 503 and got)
    answer = wait_until(f"{method} {path}", 30, lambda: (got := w.call(method, path, headers=root(w))).status != 503 and got)
    return answer.status, answer.headers


def read_all(w):
    """Every GET and HEAD route, on what is there: {(method, path): (status, header fields)}; made once."""
    if hasattr(w, "answers"):
        return w.answers
    places = [(path, place_of(w, path, scope)) for (method, path), (_, scope) in sorted(matrix().items()) if method == "GET"]
    places.append(("/v1/sessions/{id}/stream", place_of(w, "/v1/sessions/{id}/stream", "object") + "?follow=true"))
    answers = {}
    for path, place in places:
        for method in ("GET", "HEAD"):
            status, fields = asked(w, method, place)
            wanted = (200, 404) if path in NONE_THERE else (200,) if not path.endswith("/ws") else (101,) if method == "GET" else (426,)
            check(status in wanted, f"{method} {place}: {status}, not {wanted}")
            answers[method, place] = (status, fields)
    check(len(answers) > 100, f"only {len(answers)} reads: is the matrix read?")
    w.answers = answers
    return answers


@case
def no_read_writes(w):
    objects(w)
    before, files = at_rest(w), kept_files(w)
    check(any(before.values()), f"nothing was written before: {before}")
    reads = len(read_all(w))
    equal(at_rest(w), before, "positions after all reads")
    equal(kept_files(w), files, "files of keys and heads after all reads")
    w.ok("POST", "/v1/remember", {"text": "this is a write"}, headers=root(w))
    check(at_rest(w) != before, "a write moved no partition: this test would not see one")
    print(f"{reads} reads, no write", flush=True)


def moved(status, fields):
    return 300 <= status < 400 or "Location" in fields or "Refresh" in fields


@case
def nothing_redirects(w):
    for (method, place), (status, fields) in read_all(w).items():
        check(not moved(status, fields), f"{method} {place}: {status} {fields}")
    asked_for = 0
    ports = [w.client, Client(w.node.ready_line["memory"])]
    for method, path in matrix():
        place = path.replace("{", "").replace("}", "")
        tries = [(method, place, {})] + [(verb, other, fields) for verb in ("GET", "HEAD", "OPTIONS") for fields in ({}, root(w))
                                         for other in (place + "/", "/" + place, place.upper(), place + "?x=//elsewhere.test")
                                         if not fields or "?" not in other]
        for verb, other, fields in tries:
            for client in ports:
                answer = client.call(verb, other, headers={**fields, "X-Forwarded-Proto": "http", "X-Forwarded-Host": "elsewhere.test"})
                check(not moved(answer.status, answer.headers), f"{verb} {other}: {answer.status} {answer.headers}")
                asked_for += 1
    print(f"{asked_for} requests beside them, no redirect", flush=True)


@case
def nothing_of_the_sources_is_served(w):
    here = ["/" + urllib.parse.quote(name) for name in sorted(os.listdir(ROOT))]
    here += [ROOT + "/CMakeLists.txt", w.node.data + "/node_id", w.node.data + "/keys/"]
    ports = [w.client, Client(w.node.ready_line["memory"])]
    equal(w.call("GET", "/health").status, 200, "what is served")
    for place in [*NEVER_SERVED, *("/v1" + p for p in NEVER_SERVED), *("/v1/sessions/.." + p for p in NEVER_SERVED), *here]:
        for method in ("GET", "HEAD"):
            for fields in ({}, root(w)):
                for client in ports:
                    answer = client.call(method, place, headers=fields)
                    check(answer.status in (400, 404), f"{method} {place}: {answer.status} {answer.body[:200]}")
                    check(not any(mark in answer.body for mark in TOLD_BY), f"{method} {place}: {answer.body[:200]}")


@case
def each_file_of_keys_is_documented(w):
    objects(w)
    folder = os.path.join(w.node.data, "keys")
    found = [os.path.relpath(os.path.join(place, name), folder) for place, _, names in os.walk(folder) for name in names]
    check(found, f"no file in {folder}")
    unknown = [name for name in found if not any(fnmatch(name, known) for known in key_file_patterns())]
    check(not unknown, f"files of keys that docs/keys.md does not name: {unknown}")


if __name__ == "__main__":
    run("--constitution-trusted-keys", SIGNER.public, "--mode", "test")
