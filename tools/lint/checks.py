"""The checks: each takes a Tree and yields (rule, file, line, what is wrong). The rules are in rules.py."""

import os
import re
import subprocess

import rules
from tree import layer_of, room_of, without_comments

CPP = (".h", ".cpp")


def check_layers(tree):
    """A test may name a fixture beside it without its folder; nobody else includes that."""
    for name in tree.named(*CPP):
        layer = layer_of(name)
        if layer not in rules.LAYERS:
            continue
        for line, quoted, header in tree.includes(name):
            target = layer_of(header)
            if header.startswith(rules.VOCABULARY) or target == layer:
                continue
            if target in rules.LAYERS and "/" in header:
                if target not in rules.LAYERS[layer]:
                    allowed = ", ".join(sorted(rules.LAYERS[layer])) or "nothing"
                    yield "layer", name, line, f"{layer}/ includes {header}; it may include: {allowed}"
            elif quoted and not (layer == "tests" and f"{name.rpartition('/')[0]}/{header}" in tree.files):
                yield "include-root", name, line, f'"{header}" does not begin with a layer\'s folder'


def check_third_party(tree):
    for name in tree.named(*CPP):
        for line, quoted, header in tree.includes(name):
            for prefix, homes in rules.THIRD_PARTY.items():
                if not quoted and header.startswith(prefix) and not name.startswith(homes + ("tests/",)):
                    yield "third-party", name, line, f"<{header}> belongs in {' or '.join(homes)}"


def check_heavy_headers(tree):
    """A header with a heavy include is fine as long as only its own room includes it."""
    heavy = {}
    for name in tree.named(".h"):
        for line, _, header in tree.includes(name):
            if header.startswith(rules.HEAVY) and not name.startswith("tests/"):
                heavy.setdefault(name, (line, header))
    for user in tree.named(*CPP) if heavy else ():
        for _, quoted, header in tree.includes(user):
            if quoted and header in heavy and room_of(user) != room_of(header):
                line, library = heavy[header]
                yield "heavy-header", header, line, f"brings <{library}> into {user}"


def check_pure_actors(tree):
    for name in tree.named(*CPP):
        if layer_of(name) != "actors":
            continue
        for line, quoted, header in tree.includes(name):
            pure = header in rules.PURE_HEADERS or header.startswith(rules.PURE_PREFIXES)
            if not quoted and not pure:
                yield "pure-actors", name, line, f"<{header}> is not among the headers for deciders"
        for line, code in enumerate(without_comments(tree.text(name)).splitlines(), 1):
            match = re.search(rules.IMPURE_CALLS, code)
            if match:
                yield "pure-actors", name, line, f"{match[0].strip()} is not pure"


def check_sizes(tree):
    for name in tree.named(".h", ".cpp", ".py", ".sh"):
        limit = rules.HEADER_LINES if name.endswith(".h") else rules.SOURCE_LINES
        count = len(tree.lines(name))
        if count > limit:
            yield "size", name, limit + 1, f"{count} lines; at most {limit}"
    for name in tree.named(*CPP):
        yield from long_functions(tree, name)


def long_functions(tree, name):
    """A function at namespace scope begins and ends in the first column, as clang-format leaves it."""
    begin = None
    for line, text in enumerate(tree.lines(name), 1):
        if begin is None and re.match(r"[A-Za-z_~].*[^;]$", text) and not re.match(
                r"(namespace|class|struct|enum|union|extern|using|template <.*>$)\b", text):
            begin = line
        elif text.startswith("}"):
            if begin is not None and line - begin + 1 > rules.FUNCTION_LINES:
                count = line - begin + 1
                yield "size", name, begin, f"a function of {count} lines; at most {rules.FUNCTION_LINES}"
            begin = None
        elif text.rstrip().endswith(";") and not text.startswith(" ") or not text.strip() and begin and line - begin == 1:
            begin = None


def check_first_lines(tree):
    for name in tree.named(*CPP, ".proto", ".sql"):
        first = (tree.lines(name) or [""])[0]
        if not re.match(r"(//|--)\s*\S.{8,}", first):
            yield "first-line", name, 1, "does not begin with a comment that says what the file is for"
    for name in tree.named(".h"):
        if not re.search(r"^#pragma once$", tree.text(name), re.M):
            yield "pragma-once", name, 1, "has no #pragma once"


def check_sleeps(tree):
    pattern = re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep|time\.sleep)\b|(?<![\w.:])sleep\s*\(|^\s*sleep\s+[\d$]")
    for name in tree.named(*CPP, ".py", ".sh"):
        if layer_of(name) != "tests" or name.startswith("tests/system/"):
            continue
        for line, code in enumerate(without_comments(tree.text(name)).splitlines(), 1):
            match = pattern.search(code)
            if match:
                yield "no-sleep", name, line, f"{match[0].strip()} in a test"


def check_json_reading(tree):
    pattern = re.compile(r"\bjson::(?:parse\s*\(|(?:stream_)?parser\b)")
    for name in tree.named(*CPP):
        if name.startswith(rules.BOOST_PARSER):
            continue
        for line, code in enumerate(without_comments(tree.text(name)).splitlines(), 1):
            if pattern.search(code):
                yield "json-reading", name, line, "reads JSON by Boost's own parser"


def check_shell(tree):
    for name in tree.named(*CPP):
        if not name.startswith(rules.NO_SHELL):
            continue
        for line, code in enumerate(without_comments(tree.text(name), strings=True).splitlines(), 1):
            match = re.search(rules.SHELL_NAMES, code) or re.search(rules.SHELL_CALLS, re.sub(r'"(?:\\.|[^"\\])*"', '""', code))
            if match:
                yield "no-shell", name, line, f"{match[0].strip()} starts a shell, or looks in PATH"


def check_random(tree):
    for name in tree.named(*CPP):
        if not name.startswith(rules.NO_WEAK_RANDOM) or name.startswith(rules.SEEDED):
            continue
        whole = without_comments(tree.text(name))
        for match in re.finditer(f"{rules.WEAK_RANDOM}|{rules.UNCHECKED_RANDOM}", whole):
            yield "secure-random", name, whole.count("\n", 0, match.start()) + 1, f"{match[0].strip()} is not OpenSSL's, or not checked"
        for line, code in enumerate(without_comments(tree.text(name), strings=True).splitlines(), 1):
            if re.search(rules.RANDOM_FILES, code):
                yield "secure-random", name, line, "reads the system's random file"


def check_rooms(tree):
    rooms = {room_of(name) for name in tree.files if name.endswith((*CPP, ".py", ".sh", ".proto", ".sql"))}
    for room in sorted(r for r in rooms if "/" in r and layer_of(r) in rules.LAYERS):
        readme = f"{room}/README.md"
        sources = [n for n in tree.files if room_of(n) == room and n.endswith(CPP)]
        if layer_of(room) == "actors" and len(sources) <= 2 and readme not in tree.files:
            continue  # one header and one source: the header's first lines say it
        if readme not in tree.files:
            yield "room-readme", room, 1, "has no README.md"
        elif len(tree.lines(readme)) > rules.README_LINES:
            yield "room-readme", readme, rules.README_LINES + 1, f"more than {rules.README_LINES} lines"


def check_names(tree):
    for name in tree.files:
        if layer_of(name) in rules.LAYERS and re.search(r"\.(h|hpp|hh|cpp|cc|cxx)$", name):
            if not re.fullmatch(r"[a-z0-9_]+\.(h|cpp)", name.rsplit("/", 1)[-1]):
                yield "file-name", name, 1, "is not snake_case.h or snake_case.cpp"


def check_scripts(tree):
    for name in tree.files:
        if "." in name.rsplit("/", 1)[-1] and not name.endswith((".sh", ".py")):
            continue
        first = (tree.lines(name) or [""])[0]
        if first.startswith("#!") and not os.access(tree.root / name, os.X_OK):
            yield "script", name, 1, "begins with #! and is not executable"
        if name.endswith(".py") or "python" in first[:40]:
            try:
                compile(tree.text(name), name, "exec")
            except SyntaxError as error:
                yield "script", name, error.lineno or 1, f"Python: {error.msg}"
        elif name.endswith(".sh") or first.startswith("#!") and first.endswith("sh"):
            parsed = subprocess.run(["bash", "-n", tree.root / name], capture_output=True, text=True, check=False)
            if parsed.returncode:
                yield "script", name, 1, parsed.stderr.strip().splitlines()[0]


def check_settings(tree):
    """What a row of the settings writes is read somewhere; the path of the YAML file is, by its key, before there is a Config."""
    table = "runtime/config/settings.cpp"
    if table not in tree.files:
        return
    others = [tree.text(name) for name in tree.named(*CPP) if layer_of(name) != "tests" and name not in (table, "runtime/config/config.h")]
    for line, text in enumerate(tree.lines(table), 1):
        for field in re.findall(r"&Config::(\w+)", text):
            if field != "config_file" and not any(re.search(rf"(\.|->){field}\b", other) for other in others):
                yield "dead-setting", table, line, f"Config::{field} is read by nothing"


ALL = (check_layers, check_third_party, check_heavy_headers, check_pure_actors, check_sizes,
       check_first_lines, check_sleeps, check_json_reading, check_shell, check_random, check_rooms, check_names,
       check_scripts, check_settings)


def findings(tree):
    return [finding for check in ALL for finding in check(tree)]
