"""The house rules as data: who may include whom, what may be included where, how large a file may be.

Every rule has an id, the reason for it, and what to do about a finding; checks.py does the looking.
"""

LAYERS = {
    "schemas": set(),
    "events": {"schemas"},
    "actors": {"schemas"},
    "projections": {"events", "schemas"},
    "runtime": {"events", "actors", "projections", "schemas"},
    "tools": {"runtime", "events", "actors", "projections", "schemas"},
    "tests": {"tools", "runtime", "events", "actors", "projections", "schemas"},
}

# Open to everybody: the shared vocabulary (ids, Result, error codes), and what protoc makes of the schemas.
VOCABULARY = ("schemas/base/", "soma/")

# A third-party header belongs to one adapter, so that replacing the library touches one folder.
# Tests may use any of them.
THIRD_PARTY = {
    "caf/": ("runtime/host/", "tools/bench/caf_actors"),  # there it is the peer
    "librdkafka/": ("events/kafka/",),
    "rocksdb/": ("runtime/snapshots/",),
    "libpq": ("projections/postgres/",),
    "boost/beast": ("runtime/http/",),
    "boost/asio": ("runtime/http/",),
    "curl/": ("runtime/effects/",),
    "hnswlib/": ("runtime/memory/",),
    "prometheus/": ("runtime/telemetry/",),
    "spdlog/": ("runtime/telemetry/",),
    "fmt/": ("runtime/telemetry/",),
    "sqlite3.h": ("runtime/query/",),
    "yaml-cpp/": ("runtime/config/",),
    "CLI/": ("tools/",),
    "gtest/": ("tests/",),
    "gmock/": ("tests/",),
    "benchmark/": ("tests/bench/",),
}

# Seconds to compile each: they stay behind their room's own headers.
HEAVY = ("boost/beast", "boost/asio", "caf/", "rocksdb/", "spdlog/", "hnswlib/", "CLI/")

# All that a decider may see besides schemas. No clock, random number, thread, file, socket or log is among
# them, and no container whose order depends on the build. <cstdio> is for snprintf; printf and files are refused below.
PURE_HEADERS = set("""algorithm array bit cassert charconv cmath compare concepts cstddef cstdint cstdio cstring deque
  exception functional initializer_list iterator limits list map memory numeric optional queue ranges set span
  stdexcept string string_view tuple type_traits typeindex utility variant vector version""".split())
PURE_PREFIXES = ("google/protobuf/", "tl/expected")
IMPURE_CALLS = (
    r"std::(?:chrono|this_thread|random_device|mt19937\w*|thread|jthread|mutex|async|cout|cerr|clog|ofstream|ifstream"
    r"|filesystem|getenv|rand|time|clock)\b"
    r"|(?<![\w.>:])(?:std::)?(?:rand|srand|random|getenv|gettimeofday|clock_gettime|usleep|sleep|printf|fprintf|puts|fopen|system)\s*\("
    r"|(?<![\w.>:])(?:std::)?time\s*\(\s*(?:nullptr|NULL|0|&)"
    r"|\bLOG\s*\("
)

# Who may read JSON by Boost's own parser: what foreign servers stream in large amounts (nothing is proved by its numbers),
# programs that stand alone, and the reader itself. Deciders ask json_check.h only, whose answers are recorded.
BOOST_PARSER = ("runtime/effects/", "events/kafka/", "tools/auditor/", "tools/bench/", "tools/sim/", "schemas/json/", "tests/")

# Children are started by a whole path and a list of arguments (execv, execl): no shell reads what came from outside, and no PATH decides.
SHELL_CALLS = (
    r"(?<![\w.>])(?:system|popen|wordexp|execlp|execvp|execvpe|posix_spawnp)\s*\("
    r"|\bboost::process\b|\bboost/process"
)
SHELL_NAMES = r'"(?:/[\w./-]*/(?:env|sh|bash|dash|ash|zsh|ksh|busybox)(?: [^"]*)?|(?:ba|da|a|z|k)?sh|busybox)"'
NO_SHELL = ("runtime/", "actors/", "events/", "projections/")

# What the node makes up (keys, tokens, tickets, ids, salts) is OpenSSL's. The simulator draws from a seed, on purpose.
WEAK_RANDOM = (
    r"(?<![\w.>])(?:rand|srand|rand_r|random|srandom|initstate|[dlmjne]rand48|arc4random\w*|getrandom|getentropy|RAND_pseudo_bytes)\s*\("
    r"|\bstd::(?:random_device|mt19937\w*|minstd_rand0?|default_random_engine|ranlux\w+|knuth_b|shuffle|sample|\w+_distribution)\b"
    r"|#\s*include\s*<random>"
)
RANDOM_FILES = r'"/dev/u?random"'
UNCHECKED_RANDOM = r"\bRAND_(?:priv_)?bytes\s*\((?![^;]*\)\s*[!=]=\s*1\b)"  # it may fail, and then has made up nothing
NO_WEAK_RANDOM, SEEDED = ("runtime/",), ("runtime/sim/",)

HEADER_LINES = 300
SOURCE_LINES = 500
FUNCTION_LINES = 80
README_LINES = 40
COLUMNS = 100

RULES = {
    "layer": (
        "a layer that knows a higher one cannot be tested, replaced or read alone",
        "depend on an interface of your own layer and let the higher one implement it; what all share belongs in "
        "schemas/base/"),
    "include-root": (
        "one way to name a header: from the repository's root",
        'write #include "layer/room/file.h"; <…> is for the system and libraries'),
    "third-party": (
        "each library has one adapter folder, so that a new version or a replacement is one folder's change",
        "use the adapter's own header instead, or extend the adapter"),
    "heavy-header": (
        "this library costs seconds in every file that includes it",
        "keep it in the room: declare your type in the header (forward declaration, pimpl), include it in the .cpp"),
    "pure-actors": (
        "deciders are re-run years later and must give the same bytes: no clock, randomness, thread, file or log",
        "take time and ids from Context; leave I/O to effects; for a new pure header extend PURE_HEADERS"),
    "size": (
        "small rooms: what does not fit on a few screens is not understood whole",
        "split by responsibility into files or functions with names of their own"),
    "first-line": (
        "whoever opens a file should know at once what it is for",
        "begin with a comment of one line that says the purpose"),
    "pragma-once": (
        "a header that is included twice must not be compiled twice",
        "put #pragma once under the first comment"),
    "no-sleep": (
        "a sleep makes a test slow on good days and wrong on bad ones",
        "wait for a state (condition variable, poll with a deadline), or use the virtual clock"),
    "json-reading": (
        "Boost.JSON 1.81 reads some numbers a bit off the nearest double and takes a key twice: a policy score that was read "
        "back was another one",
        "use read_json() or read_json_object() of schemas/json/json_read.h"),
    "no-shell": (
        "what a shell reads can be made to mean another command, and a bare name is looked for in whatever PATH is",
        "fork, and execv or execl with a whole path and a list of arguments, as projections/postgres/account.cpp"),
    "secure-random": (
        "a key, ticket or id that can be guessed opens what it guards",
        "RAND_bytes of OpenSSL, its result compared with 1: random_hex() of runtime/telemetry, random_bytes() of runtime/privacy"),
    "room-readme": (
        "a reader finds purpose, entry points and invariants before the code",
        "write README.md in the folder, at most 40 lines; an actor of one header and one source needs none"),
    "file-name": (
        "names can be guessed when they follow one form",
        "snake_case, .h and .cpp"),
    "dead-setting": (
        "a setting that does nothing is a promise that is not kept, and nobody is told",
        "use it, or remove its row and its member"),
    "script": (
        "a script that does not parse or cannot be started fails at the worst moment",
        "fix the syntax; chmod +x what begins with #!"),
    "format": (
        "no discussion of layout, no noise in differences",
        "run tools/check --fix"),
}
