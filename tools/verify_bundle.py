#!/usr/bin/env python3
"""Checks an audit bundle or an event's proof: a second implementation, of the standard library alone.

Written from the description in docs/audit.md, not from the C++ of soma-verify, so that an auditor can compare two
answers. One file; read it before you trust it. Prints what soma-verify --json prints.
Exit: 0 verified, 9 not, 2 wrong usage, 1 the file cannot be read.
"""

import argparse
import base64
import functools
import hashlib
import json
import os
import re
import sys

MOST_LINE = 8 << 20
RECORD = re.compile(rb'\{"at":"([^"]*)","entry":"([^"]*)","spine":\[((?:"[0-9a-f]{64}"(?:,"[0-9a-f]{64}")*)?)\]\}')
AT = re.compile(rb"((?:(?:0|[1-9][0-9]*) ){7})[0-9a-f]{64}")


class Bad(Exception):
    """What is wrong, where; `record` is (partition, index) or nothing."""
    def __init__(self, reason, detail, line=0, record=(None, None)):
        super().__init__(detail)
        self.reason, self.detail, self.line, self.record = reason, detail, line, record


P = 2**255 - 19  # Ed25519 (RFC 8032, section 6), verification only
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(a, b):
    x = (a[1] - a[0]) * (b[1] - b[0]) % P
    y = (a[1] + a[0]) * (b[1] + b[0]) % P
    z = 2 * a[3] * b[3] * D % P
    w = 2 * a[2] * b[2] % P
    e, f, g, h = y - x, w - z, w + z, y + x
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(n, point):
    out = (0, 1, 1, 0)
    while n:
        if n & 1:
            out = add(out, point)
        point = add(point, point)
        n >>= 1
    return out


def point_of(raw):
    number = int.from_bytes(raw, "little")
    y, sign = number & (2**255 - 1), number >> 255
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def signed_by(raw, text, signature):
    if len(raw) != 32 or len(signature) != 64:
        return False
    key, r, s = point_of(raw), point_of(signature[:32]), int.from_bytes(signature[32:], "little")
    if key is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + raw + text).digest(), "little") % L
    base = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
    a, b = times(s, base), add(r, times(h, key))
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def unbase64(text):
    """Base64url without padding, one text for one value; None when it is anything else."""
    if isinstance(text, str):
        text = text.encode()
    if not re.fullmatch(rb"[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        return None
    out = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    return out if base64.urlsafe_b64encode(out).rstrip(b"=") == text else None


def json_object(text):
    try:
        value = json.loads(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def text_of(o, name):
    value = o.get(name)
    return value if isinstance(value, str) else ""


def number_of(o, name):
    value = o.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def unhex(text):
    return bytes.fromhex(text) if isinstance(text, str) and re.fullmatch(r"[0-9a-f]{64}", text) else None


def thumbprint(raw):
    x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    digest = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def key_of(jwk):
    """(raw, thumbprint) of an Ed25519 JWK whose kid is its own thumbprint."""
    wanted = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig"}
    if not isinstance(jwk, dict) or any(text_of(jwk, k) != v for k, v in wanted.items()):
        return None
    raw = unbase64(text_of(jwk, "x"))
    if raw is None or len(raw) != 32 or text_of(jwk, "kid") != thumbprint(raw):
        return None
    return raw, thumbprint(raw)


def trusted_ids(given):
    if not os.path.isfile(given):
        raw = unbase64(given)
        return [given] if raw is not None and len(raw) == 32 else []
    with open(given, "rb") as f:
        text = f.read(256 * 1024)
    o = json_object(text) or {}
    keys = [o] + (o["keys"] if isinstance(o.get("keys"), list) else [])
    return [key[1] for key in map(key_of, keys) if key]


def open_document(jws, kind, key):
    """The payload of a compact JWS of this type by this key, or None."""
    parts = jws.split(".")
    if len(parts) != 3:
        return None
    header, payload, signature = (unbase64(p) if p.isascii() else None for p in parts)
    if header is None or payload is None or signature is None:
        return None
    o = json_object(header)
    if not o or (text_of(o, "alg"), text_of(o, "typ"), text_of(o, "kid")) != ("EdDSA", kind, key[1]):
        return None
    if not signed_by(key[0], ".".join(parts[:2]).encode(), signature):
        return None
    return json_object(payload)


def read_head(jws, key, tenant):
    """{time_ms, parts: [(partition, records, root)]} or None."""
    payload = open_document(jws, "soma-audit-head", key)
    if not payload or text_of(payload, "tenant") != tenant or number_of(payload, "time_ms") is None:
        return None
    parts = []
    given = payload.get("partitions")
    for part in given if isinstance(given, list) else [None]:
        if not isinstance(part, dict):
            return None
        one = (number_of(part, "partition"), number_of(part, "records"), unhex(part.get("root")))
        if None in one or (parts and one[0] <= parts[-1][0]):
            return None
        parts.append(one)
    return {"time_ms": payload["time_ms"], "parts": parts}


def sha256(data):
    return hashlib.sha256(data).digest()


def node(left, right):
    return sha256(b"\1" + left + right)


def leaf(at, entry):
    return sha256(b"\0soma-audit-1 " + at + b"\n" + entry)


def split(n):
    return 1 << ((n - 1).bit_length() - 1)


def root_of_path(hashed, index, size, path):
    """None when the path has another length than the place asks for."""
    if size == 1:
        return hashed if not path else None
    if not path:
        return None
    middle = split(size)
    right = index >= middle
    below = root_of_path(hashed, index - middle * right, size - middle if right else middle, path[:-1])
    if below is None:
        return None
    return node(path[-1], below) if right else node(below, path[-1])


class Frontier:
    """Root of the leaves so far."""
    def __init__(self):
        self.size, self.full = 0, []

    def add(self, hashed):
        n = self.size
        while n & 1:
            hashed = node(self.full.pop(), hashed)
            n >>= 1
        self.full.append(hashed)
        self.size += 1

    def root(self):
        return functools.reduce(lambda right, left: node(left, right), reversed(self.full)) if self.full else sha256(b"")


class Spines:
    """Leaves in a row against a root."""
    def __init__(self, root, size):
        self.index, self.size, self.right = 0, size, [(size, root)]

    def next(self, hashed, spine):
        to, wanted = self.right.pop()
        ends = []
        while to - self.index > 1:
            ends.append(to)
            to = self.index + split(to - self.index)
        if len(ends) != len(spine):
            return False
        for sibling in reversed(spine):
            hashed = node(hashed, sibling)
        if hashed != wanted:
            return False
        self.right.extend(zip(ends, spine))
        self.index += 1
        return True


class Bundle:
    """Fed with lines in order; raises Bad."""
    def __init__(self, trusted, kept):
        self.kept, self.trusted, self.number, self.digest = kept, trusted, 0, hashlib.sha256()
        self.tenant, self.key, self.head, self.older_heads, self.older = "", ("", ""), None, [], {}
        self.part, self.spines, self.frontier, self.records = 0, None, None, 0
        self.stage = self.first

    def line(self, text):
        self.number += 1
        if len(text) > MOST_LINE:
            text = b"\1"
        if self.stage in (self.record, self.ended):
            self.stage(text)
        else:
            o = json_object(text)
            if o is None:
                raise Bad("malformed", "the line is not a JSON object", self.number)
            self.stage(o)
        self.digest.update(text + b"\n")

    def first(self, o):
        self.tenant = text_of(o, "tenant")
        if number_of(o, "soma_audit_bundle") != 1 or not self.tenant:
            raise Bad("malformed", "this is no audit bundle of format 1", self.number)
        self.stage = self.take_key

    def take_key(self, o):
        key = key_of(o.get("key"))
        if not key:
            raise Bad("key", "the line holds no Ed25519 key with its own thumbprint", self.number)
        self.key = key
        self.stage = self.schemas
        if key[1] not in self.trusted:
            raise Bad("key", f"the bundle is signed by {key[1]}, which is not a key you named", self.number)

    def schemas(self, o):
        if not text_of(o, "schemas"):
            raise Bad("malformed", "the schemas are missing", self.number)
        self.stage = self.heads

    def heads(self, o):
        name = "older_head" if "older_head" in o else "head"
        head = read_head(text_of(o, name), self.key, self.tenant)
        if not head:
            raise Bad(name, "the head's form, tenant or signature is not right", self.number)
        if name == "older_head":
            self.older_heads.append((self.number, head))
            return
        self.head = head
        for jws in self.kept:
            self.older_heads.append((0, read_head(jws, self.key, self.tenant)))
            if not self.older_heads[-1][1]:
                raise Bad("older_head", "a head that you kept is of another tenant or another key", 0)
        now = {partition: records for partition, records, _ in head["parts"]}
        for number, older in self.older_heads:
            for partition, records, root in older["parts"]:
                if records > now.get(partition, -1):
                    raise Bad("older_head", "an older head knew of more records than this one", number)
                self.older.setdefault((partition, records), []).append((number, root))
        self.stage = self.record
        self.begin_part()

    def waiting(self):
        return self.part < len(self.head["parts"])

    def begin_part(self):
        while self.waiting():
            partition, records, root = self.head["parts"][self.part]
            self.frontier, self.spines = Frontier(), Spines(root, records)
            self.check_older(partition)
            if records:
                return
            if root != self.frontier.root():
                raise Bad("head", "the root of a partition without records is not that of nothing", self.number)
            self.part += 1

    def check_older(self, partition):
        for number, root in self.older.get((partition, self.frontier.size), ()):
            if root != self.frontier.root():
                raise Bad("older_head", "an older head is not the root of the records before it", number)

    def here(self):
        return (self.head["parts"][self.part][0], self.spines.index) if self.waiting() else (None, None)

    def record(self, text):
        if text.startswith(b'{"end":'):
            return self.end(text)
        if not self.waiting():
            raise Bad("record_unexpected", "the head does not know of this record", self.number)
        found = RECORD.fullmatch(text)
        at = AT.fullmatch(found[1]) if found else None
        entry = unbase64(found[2]) if found else None
        if not at or entry is None or any(int(n) >= 2**64 for n in at[1].split()):
            raise Bad("malformed", "the line is not a record", self.number, self.here())
        partition, index = (int(n) for n in at[1].split()[:2])
        if (partition, index) != self.here():
            raise Bad("record_missing", "another record stands in its place", self.number, self.here())
        hashed = leaf(found[1], entry)
        spine = [bytes.fromhex(h.decode()) for h in found[3].replace(b'"', b"").split(b",") if h]
        if not self.spines.next(hashed, spine):
            raise Bad("record_changed", "the record or its spine is not what the head was signed over", self.number,
                      self.here())
        self.records += 1
        self.frontier.add(hashed)
        self.check_older(partition)
        if self.spines.index == self.spines.size:
            self.part += 1
            self.begin_part()

    def end(self, text):
        if self.waiting():
            raise Bad("record_missing", "the bundle ends before this record", self.number, self.here())
        o = json_object(text)
        end = open_document(text_of(o, "end"), "soma-audit-end", self.key) if o else None
        if not end or number_of(end, "lines") != self.number - 1 or text_of(end, "sha256") != self.digest.hexdigest():
            raise Bad("end", "the bytes before the end are not those it was signed over", self.number)
        self.stage = self.ended

    def ended(self, _):
        raise Bad("trailing", "there is more after the end", self.number)

    def finish(self, whole):
        if self.stage == self.ended and whole:
            return
        self.number += 1
        if self.stage == self.ended:
            raise Bad("end", "the last line has no end", self.number)
        if self.stage == self.record and self.waiting():
            raise Bad("record_missing", "the bundle ends before this record", self.number, self.here())
        raise Bad("truncated", "the bundle has no end", self.number)


def wire_fields(data):
    """(field, bytes) of length-delimited fields of a protobuf message; ValueError when it is none."""
    at = 0

    def varint():
        nonlocal at
        out, shift = 0, 0
        while shift < 64 and at < len(data):
            byte = data[at]
            at += 1
            out |= (byte & 127) << shift
            if byte < 128:
                return out
            shift += 7
        raise ValueError("cut")

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            varint()
            continue
        if tag & 7 not in (1, 2, 5):
            raise ValueError("wire type")
        length = {1: 8, 5: 4}.get(tag & 7) or varint()
        if at + length > len(data):
            raise ValueError("cut")
        if tag & 7 == 2:
            yield tag >> 3, data[at:at + length]
        at += length


def holds_event(entry, event_id):
    try:
        events = [value for field, value in wire_fields(entry) if field == 5]
        return event_id.encode() in [v for e in events for f, v in wire_fields(e) if f == 1]
    except ValueError:
        return False


def check_proof(o, trusted, report):
    report.update(kind="proof", tenant=text_of(o, "tenant"), event_id=text_of(o, "event_id"))
    key = key_of(o.get("key"))
    if not key:
        raise Bad("key", "the proof holds no Ed25519 key with its own thumbprint")
    report["key"] = key[1]
    if key[1] not in trusted:
        raise Bad("key", f"the proof is signed by {key[1]}, which is not a key you named")
    head = read_head(text_of(o, "head"), key, report["tenant"])
    if not head:
        raise Bad("head", "the head's form, tenant or signature is not right")
    report.update(head_time_ms=head["time_ms"], partitions=len(head["parts"]))
    where, path = text_of(o, "at").encode(), o.get("path")
    at, entry = AT.fullmatch(where), unbase64(text_of(o, "entry"))
    if not at or entry is None or not isinstance(path, list):
        raise Bad("malformed", "the record's place, bytes or path is not in its form")
    partition, index, offset = (int(n) for n in at[1].split()[:3])
    if text_of(o, "position") != f"{partition}/{offset}":
        raise Bad("malformed", "the position is not that of the record")
    hashes = [unhex(h) for h in path]
    if None in hashes:
        raise Bad("malformed", "the path holds something that is no hash")
    size, root = next(((n, r) for p, n, r in head["parts"] if p == partition), (0, b""))
    if index >= size or root_of_path(leaf(where, entry), index, size, hashes) != root:
        raise Bad("record_changed", "the record is not what the head was signed over")
    if not report["event_id"] or not holds_event(entry, report["event_id"]):
        raise Bad("event", "the record holds no such event")
    report["records"] = 1


def kept_head(path):
    with open(path, "rb") as f:
        text = f.read()
    return text_of(json_object(text) or {"head": text.decode().strip()}, "head")


def check(stream, trusted, kept=()):
    report = {"ok": True, "kind": "", "tenant": "", "key": "", "records": 0, "partitions": 0, "older_heads": 0,
              "head_time_ms": 0, "bad": None}
    bundle, whole = Bundle(trusted, kept), False
    try:
        for n, text in enumerate(stream):
            whole = text.endswith(b"\n")
            o = json_object(text) if n == 0 else None
            if n == 0 and not (o and "soma_audit_bundle" in o):
                proof = json_object(text + stream.read())
                if proof and number_of(proof, "soma_audit_proof") == 1:
                    check_proof(proof, trusted, report)
                    return report
                stream = ()
            bundle.line(text[:-1] if whole else text)
        bundle.finish(whole)
    except Bad as bad:
        report["ok"] = False
        report["bad"] = {"line": bad.line, "partition": bad.record[0], "index": bad.record[1], "reason": bad.reason,
                         "detail": bad.detail}
    if report["kind"] != "proof":
        head = bundle.head or {"time_ms": 0, "parts": []}
        report.update(kind="bundle" if bundle.stage != bundle.first else "", tenant=bundle.tenant, key=bundle.key[1],
                      records=bundle.records, partitions=len(head["parts"]), head_time_ms=head["time_ms"],
                      older_heads=len(bundle.older_heads) if bundle.head else 0)
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="a bundle or a proof; - for stdin")
    parser.add_argument("--key", action="append", required=True, help="thumbprint, or a file (JWK, JWKS)")
    parser.add_argument("--head", action="append", default=[], help="file with a head that you were given earlier")
    given = iter(sys.argv[1:])  # a thumbprint may begin with "-", which argparse would take for an option
    words = parser.parse_args([f"{w}={next(given, '')}" if w in ("--key", "--head") else w for w in given])
    trusted = []
    for given in words.key:
        if not (ids := trusted_ids(given)):
            parser.error(f"{given} is no thumbprint and no file with a key")
        trusted += ids
    with (sys.stdin.buffer if words.file == "-" else open(words.file, "rb")) as stream:
        report = check(stream, trusted, [kept_head(path) for path in words.head])
    print(json.dumps(report, separators=(",", ":")))
    return 0 if report["ok"] else 9


if __name__ == "__main__":
    sys.exit(main())
