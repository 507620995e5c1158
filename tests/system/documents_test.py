"""Documents against the sources, both ways: keys, logs, personal fields, connections, ways in, limits. No node is needed.

Each case names what a document lacks, and what it names that is not there (any more). A case's name as argument runs it alone."""

import re
import sys

from documents import (NODE, code, key_file_patterns, log_events, log_files, marked_fields, quoted, read, same, settings, source_value,
                       sources, tables, told_value, writers)
from harness import Failure, check

CASES = []
CLASSES = "docs/privacy.md"


def case(function):
    CASES.append(function)
    return function


def filled(rows, document):
    for row in rows:
        empty = [column for column, cell in row.items() if not cell]
        check(not empty, f"{document}: {next(iter(row.values()))[:60]} says nothing of: {empty}")


@case
def each_key_is_listed_with_its_life():
    """Settings that hold secrets or name files and keys; file names under DATA_DIR/keys; every column of each row."""
    rows = tables("docs/keys.md", "key or secret")
    filled(rows, "docs/keys.md")
    wanted = [s.key for s in settings() if s.in_file or re.search(r"_file$|trusted_keys$|jwks$", s.key)]
    check(len(wanted) > 10, f"only {wanted} are about keys: are the settings read?")
    same(wanted, [key for row in rows for key in quoted(row["setting"])], "docs/keys.md", "settings")


@case
def each_file_of_keys_is_listed():
    rooms = sources("runtime/security", "runtime/privacy", "runtime/erasure", "runtime/audit") + ["runtime/node/first_constitution.cpp"]
    texts = {name: code(name) for name in rooms}
    names = {m for text in texts.values() for m in re.findall(r'"/?([\w.]*\.(?:pem|key|keys|json))"', text)}
    names -= {m for text in texts.values() for m in re.findall(r'prefix \+ "([\w.]+)"', text)}  # of topics
    names |= {m.rsplit("/", 1)[-1] for text in texts.values() for m in re.findall(r'"/keys/([\w./]+\.\w+)"', text)}
    folders = {m for text in texts.values() for m in re.findall(r'"/keys/([\w/]+)"', text)}
    folders |= {m for text in texts.values() for m in re.findall(r'"keys"\)? / "(\w+)"', text)}
    known = key_file_patterns()
    same(names, {pattern.rsplit("/", 1)[-1].lstrip("*") for pattern in known}, "docs/keys.md", "file names")
    told = {pattern.rsplit("/", 1)[0] for pattern in known if "/" in pattern}
    same(folders, told, "docs/keys.md", "folders of keys")


@case
def each_algorithm_is_listed():
    """What OpenSSL and libcurl are called with, wherever the node or the auditor's program calls them."""
    patterns = (r"\b(EVP_(?:sha|md|blake|aes|chacha|des|rc4|ripemd|sm[34])\w*)\(", r'_fetch\(nullptr, "([^"]+)"', r'_keygen\(nullptr, nullptr, "(\w+)"',
                r'EVP_PKEY_is_a\(\w+, "(\w+)"\)', r"\bEVP_PKEY_(ED25519|ED448|X25519|X448|RSA|EC|DSA|DH)\b", r'from_params\("(\w+)"',
                r'PARAM_GROUP_NAME, "([^"]+)"', r'kSuites\w*\[\] = "([^"]+)"', r"\b(TLS1(?:_\d)?_VERSION|SSL3_VERSION|CURL_SSLVERSION_\w+)\b",
                r"\b(HMAC|CMAC|RAND_bytes|RAND_priv_bytes|PKCS5_PBKDF2_HMAC|EVP_PBE_scrypt|SHA\d+|MD5)\(")
    called = {m for name in sources(*NODE, "tools/auditor") for pattern in patterns for m in re.findall(pattern, code(name))}
    check(len(called) > 8, f"only {called} is called")
    rows = tables("docs/keys.md", "algorithm")
    filled(rows, "docs/keys.md")
    same(called, [name for row in rows for name in quoted(row["called as"])], "docs/keys.md", "calls of cryptography")


@case
def each_log_event_is_listed():
    """Events, their levels and fields."""
    rows = tables("docs/logs.md", "event")
    filled(rows, "docs/logs.md")
    told = {quoted(row["event"])[0]: row for row in rows}
    check(len(told) == len(rows), "docs/logs.md names an event twice")
    written = log_events()
    same(written, told, "docs/logs.md", "events")
    for event, (levels, fields) in written.items():
        same(levels, told[event]["level"].split(", "), f"docs/logs.md, `{event}`", "levels")
        same(fields or {"-"}, told[event]["fields"].split(", "), f"docs/logs.md, `{event}`", "fields")


@case
def lines_go_only_where_the_document_says():
    """Who writes to stdout and stderr, for itself or a child, and names of log files."""
    rows = tables("docs/logs.md", "by")
    filled(rows, "docs/logs.md")
    same(writers(), [name for row in rows for name in quoted(row["by"])], "docs/logs.md", "writers")
    same(log_files(), [name.rsplit("/", 1)[-1] for row in rows for name in quoted(row["to"]) if name.endswith(".log")], "docs/logs.md", "log files")


@case
def each_personal_field_has_its_class():
    """Fields with (soma.v1.pii) and whose they are; secrets stand in no schema."""
    personal, secret = marked_fields()
    check(len(personal) > 50, f"only {len(personal)} fields are personal: are the schemas read?")
    check(not secret, f"fields with (soma.v1.secret), and docs/privacy.md says that there are none: {sorted(secret)}")
    told = {}
    for row in tables(CLASSES, "class", "whose"):
        whose = quoted(row["whose"])
        for message, fields in re.findall(r"`(\w+)` \(([\w, ]+)\)", row["messages and fields"]):
            for field in fields.split(", "):
                check((message, field) not in told, f"{CLASSES} classes {message}.{field} twice")
                told[message, field] = row["class"]
                option = personal.get((message, field))
                fits = option is None or option in whose or "itself" in whose and option == field
                check(fits, f"{CLASSES}: {message}.{field} is whose its schema says, `{option}`, not {whose}")
    same({".".join(key) for key in personal}, {".".join(key) for key in told}, CLASSES, "personal fields")


@case
def each_class_has_its_protection():
    classes = {row["class"] for row in tables(CLASSES, "class", "whose")}
    rows = tables(CLASSES, "class", "in the journal")
    filled(rows, CLASSES)
    same(classes, [row["class"] for row in rows], CLASSES, "classes with their protection")


@case
def each_connection_is_named():
    """Settings that are addresses, and sources that open sockets."""
    rows = tables("docs/threat_model.md", "connection")
    filled(rows, "docs/threat_model.md")
    addresses = [s.key for s in settings() if s.kind in ("listen", "url") or s.takes.startswith("HOST:PORT")]
    check(len(addresses) > 5, f"only {addresses} are addresses")
    same(addresses, [key for row in rows for key in quoted(row["setting"]) if not key.startswith("--")], "docs/threat_model.md", "addresses")
    opens = r"::socket\(|make_unique<tcp::acceptor>|async_connect\(|\bPQconnect\w+\(|\bcurl_multi_init\(|\bcurl_easy_perform\(|\brd_kafka_new\("
    openers = [name for name in sources(*NODE) if re.search(opens, code(name))]
    same(openers, [name for row in rows for name in quoted(row["in"])], "docs/threat_model.md", "sources that open sockets")


@case
def each_way_in_is_named():
    """Sources that let somebody in: by a token, a ticket, a trusted record, a node's signature, a certificate."""
    rows = tables("docs/threat_model.md", "way in")
    filled(rows, "docs/threat_model.md")
    doors = r"(?:->|\.)(?:authenticate|redeem)\(|!parts_\.trusted_producers|\bmac = cluster_mac\(|\bset_verify_mode\("
    judges = [name for name in sources(*NODE) if re.search(doors, code(name))]
    same(judges, [name for row in rows for name in quoted(row["judged in"])], "docs/threat_model.md", "sources that let somebody in")
    known = {s.key for s in settings()}
    named = {key for row in rows for key in quoted(row["way in"]) if re.fullmatch(r"\w+(\.\w+)+", key)}
    check(named <= known, f"docs/threat_model.md names settings that are not there: {named - known}")


def limits():
    rows = tables("docs/limits.md", "limit")
    filled(rows, "docs/limits.md")
    return rows


@case
def each_limit_is_what_the_document_says():
    for row in limits():
        where = quoted(row["from"])
        check(len(where) == 1, f"docs/limits.md: {row['limit']}: from {row['from']}")
        (told, kind), (is_now, own) = told_value(row["value"]), source_value(where[0])
        check((kind == "time") == (own == "time"), f"docs/limits.md: {row['limit']}: {row['value']} is a {kind}, {where[0]} is {own}")
        check(told == is_now, f"docs/limits.md: {row['limit']}: {row['value']}, but {where[0]} is {is_now}")


@case
def each_limit_of_the_deciders_is_listed():
    """What bounds tenants and people is decided in actors/."""
    named = [quoted(row["from"])[0] for row in limits()]
    check(len(named) == len(set(named)) + named.count("http.body_limit_bytes") - 1, "docs/limits.md has a limit twice")
    constants = {f"{name}:{m}" for name in sources("actors") for m in re.findall(r"\b(k(?:Max|Most)\w+)\s*=(?!=)", code(name))}
    check(len(constants) > 50, f"only {len(constants)} limits in actors/")
    check(constants <= set(named), f"docs/limits.md lacks limits of the deciders: {sorted(constants - set(named))}")


@case
def each_route_that_takes_more_is_listed():
    """Routes with a body limit of their own, or of bodies that are not parsed first."""
    named = {quoted(row["from"])[0] for row in limits()}
    text = read("docs/limits.md")
    own = {f"{name}:{m}" for name in sources("runtime/api", "runtime/query") for m in re.findall(r"\.body_limit = (\w+)", code(name))}
    check(len(own) > 1 and own <= named, f"docs/limits.md lacks limits of bodies: {sorted(own - named)}")
    raw = [name for name in sources("runtime/api", "runtime/query") if ".raw_body = true" in code(name)]
    check(raw == ["runtime/api/constitution_routes.cpp"], f"docs/limits.md tells of one route whose body is not parsed first; there are {raw}")
    for path in ("/v1/sessions/import", "/v1/audio/transcribe", "/v1/constitution/validate"):
        check(f"`{path}`" in text, f"docs/limits.md does not name {path}")


@case
def the_life_of_tokens_is_stated():
    """Default and longest life, idle time, and the reasons."""
    values = {quoted(row["from"])[0].rsplit(":", 1)[-1]: row["value"] for row in limits()}
    check(values.get("ttl_s") == "1 hour" and values.get("kMaxTtlSeconds") == "31 days", f"docs/limits.md: {values}")
    check('ttl = "1h"' in read("tools/cli/auth_commands.cpp"), "`soma auth token` has another default life than docs/limits.md says")
    text = read("docs/limits.md")
    for said in ("Why so:", "no idle time", "sign-out"):
        check(said in text, f"docs/limits.md does not say: {said}")


def main():
    wanted, failures = sys.argv[1:], 0
    for function in CASES:
        if wanted and function.__name__ not in wanted:
            continue
        try:
            function()
        except Failure as failure:
            failures += 1
            print(f"FAILED {function.__name__}: {failure}", file=sys.stderr, flush=True)
    print(f"{len(CASES)} cases, {failures} failed", flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
