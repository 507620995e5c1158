"""tools/lint as a test: each rule finds what is planted for it, the sources keep each; two of them are proofs of docs/asvs.tsv."""

import os
import subprocess
import sys

from harness import ROOT, Failure, check

LINT = os.path.join(ROOT, "tools", "lint")
sys.path.insert(0, LINT)

import checks  # noqa: E402
import rules  # noqa: E402
from tree import Tree  # noqa: E402


def ran(program):
    done = subprocess.run([sys.executable, "-B", os.path.join(LINT, program)], capture_output=True, text=True, timeout=120, check=False)
    check(done.returncode == 0, f"tools/lint/{program}:\n{done.stdout}{done.stderr}")


def kept(rule, looked_at, tree, found):
    """That a rule finds nothing, where there is something to look at."""
    check(rule in rules.RULES, f"there is no rule {rule}")
    for folder in looked_at:
        check(any(name.startswith(folder) and name.endswith(".cpp") for name in tree.files), f"{rule} looks at nothing in {folder}")
    check(not found, "\n".join(f"{name}:{line}: {what} [{rule}]" for _, name, line, what in found))


def each_rule_finds_what_is_planted():
    ran("selftest")


def the_sources_keep_each_rule():
    ran("lint")


def no_shell_is_started():
    tree = Tree(ROOT)
    kept("no-shell", rules.NO_SHELL, tree, list(checks.check_shell(tree)))


def what_is_made_up_comes_from_openssl():
    tree = Tree(ROOT)
    kept("secure-random", rules.NO_WEAK_RANDOM, tree, list(checks.check_random(tree)))
    for name in ("runtime/telemetry/trace.cpp", "runtime/privacy/cipher.cpp"):  # from where keys, tokens and tickets have theirs
        check("RAND_bytes(" in tree.text(name), f"{name} makes nothing up by RAND_bytes any more: where is it done now?")


def main():
    failures = 0
    for case in (each_rule_finds_what_is_planted, the_sources_keep_each_rule, no_shell_is_started, what_is_made_up_comes_from_openssl):
        try:
            case()
        except Failure as failure:
            failures += 1
            print(f"FAILED {case.__name__}: {failure}", file=sys.stderr)
    print(f"4 cases, {failures} failed", flush=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
