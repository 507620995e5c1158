"""What documents say, and what the sources say, in forms that can be compared: tables, settings, log events, marked fields, constants."""

import dataclasses
import os
import re

from harness import ROOT, check

NODE = ("runtime", "events", "projections", "actors", "schemas")  # what a node is made of, without the command


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def sources(*folders, but=("runtime/sim/",)):
    """Names of C++ sources in these folders; the simulator is no part of a node."""
    found = []
    for folder in folders:
        for place, _, names in os.walk(os.path.join(ROOT, folder)):
            found += [os.path.relpath(os.path.join(place, n), ROOT) for n in names if n.endswith((".h", ".cpp"))]
    check(found, f"no sources in {folders}")
    return sorted(n for n in found if not n.startswith(but))


def code(name):
    """A source without its comments."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
    return pattern.sub(lambda m: " " if m[0][0] == "/" else m[0], read(name))


def tables(document, *header):
    """Rows, as {column: cell}, of every table of a document whose header begins so."""
    rows, columns = [], None
    for line in read(document).splitlines():
        if not line.startswith("|"):
            columns = None
            continue
        cells = [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if columns is None:
            columns = cells if tuple(cells[:len(header)]) == header else ()
        elif columns and set("".join(cells)) - set("-: "):
            check(len(cells) == len(columns), f"{document}: {len(cells)} cells, not {len(columns)}: {line[:80]}")
            rows.append(dict(zip(columns, cells)))
    check(rows, f"{document} has no table that begins with {header}")
    return rows


def quoted(cell):
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def same(wanted, found, where, what):
    """Both ways: what is missing in the document, and what it names that is not there."""
    missing, gone = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    check(not missing, f"{where} lacks {what}: {missing}")
    check(not gone, f"{where} names {what} that are not there: {gone}")


@dataclasses.dataclass
class Setting:
    """A row of runtime/config/settings.cpp."""

    key: str
    kind: str       # text, listen, url, number, …
    secret: bool
    in_file: bool   # may be given as a file, as a URL with a password
    takes: str      # "HOST:PORT,…"; empty: its kind says
    default: str


def settings():
    text = code("runtime/config/settings.cpp")
    found = []
    for m in re.finditer(r'((?:\b\w+\(\s*)+)row\(\s*"([\w.]+)",\s*"([^"]*)",((?:\s*"(?:\\.|[^"\\])*")+)\s*(?:,\s*"([^"]*)"\s*)?\)', text):
        wrappers = re.findall(r"\w+", m[1])
        found.append(Setting(m[2], wrappers[0], "secret" in wrappers, "secret" in wrappers or "in_file" in wrappers, m[5] or "", m[3]))
    check(len(found) == len(re.findall(r'\brow\(\s*"', text)), "runtime/config/settings.cpp has rows that are not read here")
    return found


def arguments(text, start):
    """Arguments of a call whose parenthesis was opened before `start`."""
    out, depth, begin, at = [], 0, start, start
    while depth >= 0:
        char = text[at]
        if char == '"':
            at = re.compile(r'"(?:\\.|[^"\\])*"').match(text, at).end()
            continue
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(char, 0)
        if depth < 0 or depth == 0 and char == ",":
            out.append(text[begin:at].strip())
            begin = at + 1
        at += 1
    return out


def literals(text):
    """Texts of an expression; neighbours are one."""
    return ["".join(re.findall(r'"((?:\\.|[^"\\])*)"', m)) for m in re.findall(r'(?:"(?:\\.|[^"\\])*"\s*)+', text)]


def log_events():
    """{event: (levels, fields)} of every line that a node may write."""
    found = {}

    def tell(event, level, fields):
        levels, known = found.setdefault(event, (set(), set()))
        levels.add(level)
        known.update(fields)

    for name in sources(*NODE, but=("runtime/sim/", "runtime/telemetry/log.")):
        text = code(name)
        # `const auto tell = … ? log_warn : log_error; tell("…")` writes both.
        named = {m[1]: re.findall(r"\blog_(\w+)", m[2]) for m in re.finditer(r"\bauto (\w+) =([^;]*\blog_(?:debug|info|warn|error)\b(?!\()[^;]*);", text)}
        for m in re.finditer(r"\b(?:log_(debug|info|warn|error)|(%s))\(" % ("|".join(named) or "$^"), text):
            first, *rest = arguments(text, m.end())
            check(literals(first) or (name, first) == ("runtime/node/node.cpp", "n.event"), f"{name}: a log event that cannot be read: {first}")
            for event in literals(first):
                for level in [m[1]] if m[1] else named[m[2]]:
                    tell(event, level, re.findall(r'\{\s*"(\w+)",', "".join(rest)))
        if not name.startswith("projections/"):
            continue
        # notice(problem, event, detail): node.cpp writes it as warn or info, with its detail.
        for m in re.finditer(r"(?<!void )(?<![:.])\bnotice\(", text):
            problem, event = arguments(text, m.end())[:2]
            for i, one in enumerate(literals(event)):
                tell(one, "warn" if problem == "true" or problem != "false" and i == 0 else "info", ["detail"])
    return found


def writers():
    """Sources that write to stdout or stderr, by themselves or for a child."""
    pattern = (r"std::(?:cerr|clog|cout)\b|\bfprintf\(std|(?<![\w.>])(?:std::)?(?:puts|printf|perror|syslog|vprintf)\(|STD(?:ERR|OUT)_FILENO"
               r"|\bspdlog::|::write\([12],|::dup2\([^;]*, [12]\)")
    return {name for name in sources(*NODE) if re.search(pattern, code(name))}


def log_files():
    """Names of files to which somebody writes what happens."""
    return {m for name in sources(*NODE) for m in re.findall(r'"[^"]*?([\w-]+\.log)"', code(name))}


def marked_fields():
    """{(message, field): whose} of fields with (soma.v1.pii); {…: "secret"} of those with (soma.v1.secret)."""
    personal, secret = {}, {}
    folder = os.path.join(ROOT, "schemas", "soma", "v1")
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".proto"):
            continue
        text = re.sub(r"//[^\n]*", "", read(f"schemas/soma/v1/{name}"))
        inside, count = [], 0
        for m in re.finditer(r"\b(message|oneof|enum|extend) (\w[\w.]*) \{|\{|\}|(\w+) = \d+ \[([^\]]*)\]", text):
            if m[3]:
                message = next((n for kind, n in reversed(inside) if kind == "message"), None)
                for option, value in re.findall(r"\((pii|secret|soma\.v1\.\w+)\) = (\"[^\"]*\"|\w+)", m[4]):
                    (secret if option.endswith("secret") else personal)[message, m[3]] = value.strip('"')
                    count += 1
            elif m[0] == "}":
                inside.pop()
            else:
                inside.append((m[1] or "", m[2] or ""))
        options = len(re.findall(r"\((?:soma\.v1\.)?(?:pii|secret)\) =", text))
        check(count == options, f"schemas/soma/v1/{name}: {options} marked fields, and {count} are read here")
    return personal, secret


def value_of(text, name, depth=0):
    """The number that a constant or member of a source stands for."""
    m = re.search(r"\b%s(?:\s*=\s*|\{)([^;,]*?)\}?\s*[;,]" % re.escape(name), text)
    check(m and depth < 5, f"no constant {name}")
    terms = re.sub(r"\bstd::\w+\{(\d+)\}|(?<=\d)'(?=\d)", r"\1", m[1])
    terms = re.sub(r"(?<=\d)(?:ULL|LL|UL|U|L|ull|ll|ul|u|l|s|ms)\b", "", terms)
    terms = re.sub(r"\bk[A-Z]\w*", lambda other: str(value_of(text, other[0], depth + 1)), terms)
    check(re.fullmatch(r"[\d.e+*()<\s-]+", terms), f"{name} = {m[1]}: no number that is read here")
    return eval(terms, {"__builtins__": {}})  # digits and + - * << ( ) alone


def key_file_patterns():
    """Files under DATA_DIR/keys, by docs/keys.md: patterns for fnmatch."""
    lies_in = [name for row in tables("docs/keys.md", "key or secret") for name in quoted(row["lies in"])]
    return [name.removeprefix("keys/") for name in lies_in if name.startswith("keys/")]


UNITS = {"ms": 1, "s": 1000, "min": 60_000, "hour": 3_600_000, "hours": 3_600_000, "day": 86_400_000, "days": 86_400_000}
SIZES = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def told_value(cell):
    """(number, kind) of `31 days`, `64 KiB` or `10,000`: milliseconds, bytes, or a count."""
    m = re.fullmatch(r"([\d,]+)(?: (%s))?" % "|".join([*UNITS, *SIZES]), cell)
    check(m, f"{cell!r} is no number with a unit that is read here")
    number = int(m[1].replace(",", ""))
    if m[2] in UNITS:
        return number * UNITS[m[2]], "time"
    return number * SIZES.get(m[2], 1), "bytes" if m[2] else "count"


def source_value(where):
    """The same of `path:name` or of a setting's default; of what is no time, bytes and counts are alike."""
    path, _, name = where.rpartition(":")
    number = value_of(code(path), name) if path else int(next((s.default for s in settings() if s.key == where), "-1"))
    check(number >= 0, f"there is no setting {where}")
    if re.search(r"Ms$|_ms$|_timeout$", name):
        return number, "time"
    if re.search(r"Seconds$|_s$", name):
        return number * 1000, "time"
    return number, "bytes or count"
