"""The files that the checks look at, read once."""

import re
import subprocess
from pathlib import Path

SKIPPED = {".git", "build", ".soma", "__pycache__", "node_modules"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


class Tree:
    """A checkout: tracked and new files, without what git ignores; or any folder, for the self-test."""

    def __init__(self, root):
        self.root = Path(root)
        self.files = sorted(self._listed())
        self._texts = {}

    def _listed(self):
        git = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-co", "-z", "--exclude-standard"], cwd=self.root,
                             capture_output=True, check=False)
        if git.returncode == 0 and (self.root / ".git").exists():
            names = git.stdout.decode().split("\0")
            return {n for n in names if n and (self.root / n).is_file()}
        return {
            str(p.relative_to(self.root)) for p in self.root.rglob("*")
            if p.is_file() and not SKIPPED & set(p.relative_to(self.root).parts)
        }

    def named(self, *suffixes):
        return [f for f in self.files if f.endswith(suffixes)]

    def text(self, name):
        if name not in self._texts:
            self._texts[name] = (self.root / name).read_text(encoding="utf-8", errors="replace")
        return self._texts[name]

    def lines(self, name):
        return self.text(name).splitlines()

    def includes(self, name):
        """Yields (line, quoted, header)."""
        for number, line in enumerate(self.lines(name), 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match[1] == '"', match[2]


def layer_of(name):
    return name.split("/", 1)[0]


def room_of(name):
    """The second-level folder, or the layer for what lies directly in it."""
    parts = name.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def without_comments(text, strings=False):
    """C++ with comments and, unless `strings`, the insides of strings blanked out; lines stay where they are."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m[0]) if m[0][0] == "/" else m[0] if strings else '""', text)
