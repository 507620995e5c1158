"""Runs gates: each command once, then the figures of all gates that read it. Usage: see tools/gates."""

import concurrent.futures
import glob
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time

import beside
import page
import table

ROOT = table.ROOT
LOGS = os.path.join(ROOT, "build", "gates", "logs")
LIMIT_S = {"T1": 1800, "T2": 6 * 3600}
BACKGROUND_LIMIT_S = {"T1": 2700, "T2": 12 * 3600}  # what runs beside others gets what they leave
# What the drivers under tests/ start.
DRIVERS_NEED = ("soma", "soma-verify", "scripted_upstream", "journal_commands", "sync_recorder", "changed_soma", "failing_new",
                "judge_images")
ENVIRONMENT = {"SOMA_SIM_SEED_FILE": os.path.join(ROOT, "tests", "simulation", "seeds.txt"),
               "SOMA_BUILD": os.path.join(ROOT, "build", "release")}


def say(text):
    print(f"gates: {text}", file=sys.stderr, flush=True)


def split(command):
    """(environment, argv) of a row's command."""
    words, env = shlex.split(command), dict(ENVIRONMENT)
    while re.match(r"[A-Z][A-Z0-9_]*=", words[0]):
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    if words[0].endswith(".py"):
        words = [sys.executable, "-B", *words]
    return env, words


def targets(rows):
    """What to build for them."""
    wanted = set()
    for gate in rows:
        _, words = split(gate.command)
        if words[0] == sys.executable and words[2].startswith("tests/system/"):
            wanted.update(DRIVERS_NEED)
        elif words[0] == sys.executable and words[2].startswith(("tests/bench/", "tools/gate/")):
            wanted.update(("soma", "restart_bench"))
        elif words[0] == "ctest":
            wanted.update(os.path.splitext(os.path.basename(f))[0] for f in glob.glob(os.path.join(ROOT, "tests/fuzz/*_fuzz.cpp")))
        elif words[0].startswith("build/release/"):
            wanted.add(os.path.basename(words[0]))
    return sorted(wanted & known if (known := ninja_targets()) else wanted)


def ninja_targets():
    """What this tree can build; none before it was configured. A program that is not among them fails its gate alone."""
    folder = os.path.join(ROOT, "build", "release")
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        return set()
    out = subprocess.run(["ninja", "-C", folder, "-t", "targets", "all"], capture_output=True, text=True, check=False).stdout
    return {line.rpartition(":")[0] for line in out.splitlines()}


def run(command, limit_s, idle=False):
    """(output of both streams, None or why it counts as failed, seconds). `idle`: with what others leave of the processors."""
    env, words = split(command)
    if idle:  # not nice: what another wakes for must not wait for a time slice of this
        words = ["chrt", "--idle", "0", *words]
    os.makedirs(LOGS, exist_ok=True)
    began, failed = time.monotonic(), None
    with tempfile.NamedTemporaryFile("w+", errors="replace", prefix="running-", dir=LOGS) as output:  # to be looked at
        try:
            done = subprocess.run(words, cwd=ROOT, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=output,
                                  stderr=subprocess.STDOUT, timeout=limit_s, check=False)
            if done.returncode:
                failed = "skipped: something it needs is missing" if done.returncode == 77 else f"exit {done.returncode}"
        except subprocess.TimeoutExpired:
            failed = f"not done within {limit_s} s"
        except OSError as error:
            failed = str(error)
        output.seek(0)
        return output.read(), failed, time.monotonic() - began


def judge(gate, output, failed):
    """A row of the result."""
    figure = gate.figure(output)
    passed = figure is not None and not failed and gate.meets(figure)
    return {"id": gate.id, "tier": gate.tier, "what": gate.what, "bar": gate.bar, "full": gate.full, "command": gate.command,
            "measured": figure, "unit": gate.unit(), "verdict": "PASS" if passed else "FAIL",
            "why": failed or (None if figure is not None else "printed no figure")}


def todo(gate, tier):
    return {"id": gate.id, "tier": gate.tier, "what": gate.what, "bar": gate.bar, "full": gate.full, "command": gate.command,
            "measured": None, "unit": "", "verdict": ("not run" if gate.tier == tier else "T2") if gate.command else "TODO", "why": None}


def number(figure):
    return "none" if figure is None else f"{figure:.6g}" if figure != int(figure) else str(int(figure))


def line(result, gate):
    return f"GATE {result['id']} {number(result['measured'])} {gate.short_bar()} {result['verdict']}"


def measure(rows, tier, commit, tell=lambda results: None):
    """Results in the rows' order; each line is printed as soon as it is known, and all there are so far are told then."""
    runs = [g for g in rows if g.command and (tier == "T2" or g.tier == "T1")]
    results = {id(g): todo(g, tier) for g in rows if g not in runs}
    for gate in rows:
        if id(gate) in results:
            print(line(results[id(gate)], gate), flush=True)

    def take(command, outcome):
        output, failed, seconds = outcome
        gates = [g for g in runs if g.command == command]
        with open(os.path.join(LOGS, gates[0].id + ".log"), "w", encoding="utf-8") as f:
            f.write(output)
        for gate in gates:
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            results[id(gate)] = {**judge(gate, output, failed), "seconds": round(seconds, 1), "when": when, "commit": commit}
            if results[id(gate)]["verdict"] == "FAIL":
                say(f"{gate.id} {results[id(gate)]['why'] or 'misses its bar'}; its output: build/gates/logs/")
            print(line(results[id(gate)], gate), flush=True)
        tell([results[id(g)] for g in rows if id(g) in results and results[id(g)]["verdict"] in ("PASS", "FAIL")])

    background, counted, timed = beside.schedule(runs)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        long = {command: pool.submit(run, command, BACKGROUND_LIMIT_S[tier], idle=True) for command in background}
        for command in counted:
            say(command)
            take(command, run(command, LIMIT_S[tier]))
        for command, outcome in long.items():
            say(command)
            take(command, outcome.result())
    for command in timed:
        say(command)
        take(command, run(command, LIMIT_S[tier]))
    return [results[id(g)] for g in rows]


def kept(path, tier, measured):
    """Of the rows that were not measured now: what an earlier run found, where the row still asks for the same; else why there is nothing."""
    earlier = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            earlier = {(g["id"], g["tier"]): g for g in json.load(f)["gates"] if g["verdict"] in ("PASS", "FAIL")}
    done = {(g["id"], g["tier"]) for g in measured}
    for gate in table.chosen(table.load(), tier):
        if (gate.id, gate.tier) not in done:
            old = earlier.get((gate.id, gate.tier))
            yield old if old and (old["command"], old["bar"]) == (gate.command, gate.bar) else todo(gate, tier)


def about(tier):
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = next((l.split(":", 1)[1].strip() for l in f if l.startswith("model name")), "unknown processor")
    return {"tier": tier, "commit": commit.stdout.strip(), "machine": f"{os.cpu_count()} x {cpu}, Linux {os.uname().release}",
            "load": round(os.getloadavg()[0], 1), "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def main(words):
    options = {w for w in words if w.startswith("-")}
    if options & {"-h", "--help"}:
        os.execvp("sed", ["sed", "-n", r"2,/^[^#]/{/^#/s/^# \{0,1\}//p}", os.path.join(ROOT, "tools", "gates")])
    if options - {"--no-build", "--list", "--page"}:
        raise ValueError(f"unknown option {sorted(options)[0]} (see tools/gates --help)")
    names = [w for w in words if not w.startswith("-")]
    tier = next((n for n in names if n in ("T1", "T2")), "T1")
    ids = [n for n in names if n not in ("T1", "T2")]
    rows = table.chosen(table.load(), tier, ids)
    if "--list" in options:
        for g in rows:
            print("\t".join((g.id, g.tier if g.command else "TODO", g.what, g.bar, g.command)))
        return 0
    runs = [g for g in rows if g.command and (tier == "T2" or g.tier == "T1")]
    if "--no-build" not in options and runs:
        built = subprocess.run([os.path.join(ROOT, "tools", "build"), *targets(runs)], stdout=sys.stderr, check=False)
        if built.returncode:
            return built.returncode
    report, began = about(tier), time.monotonic()
    name = os.path.join(ROOT, "docs", "gates" if tier == "T1" else "gates_t2")

    def write(measured, others):
        """After each command: a run that is broken off leaves what it has found."""
        if ids and "--page" not in options:
            return
        report["seconds"] = round(time.monotonic() - began)
        report["gates"] = sorted([*measured, *(kept(name + ".json", tier, measured) if others else ())], key=lambda g: table.order(g["id"]))
        page.write(report, name)

    measured = measure(rows, tier, report["commit"], lambda found: write(found, others=True))
    write(measured, others=bool(ids))
    return 1 if any(g["verdict"] == "FAIL" for g in measured) else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ValueError as error:
        say(f"error: {error}")
        sys.exit(2)
