# Shared by the scripts in tools/: where things are, how to say what is being done. Sourced, never run.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
cache=${SOMA_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/somastack}

# All talk goes to stderr: stdout belongs to `soma` and to ctest.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "error: $*"; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "needs root or sudo to run: $*"; fi
}

# Runs a command silently; shows the end of what it said only if it fails.
quietly() {
  local log; log=$(mktemp)
  # Without our locks: a service that a package starts must not hold them for ever.
  if "$@" >"$log" 2>&1 </dev/null 7>&- 8>&-; then rm -f "$log"; return 0; fi
  tail -n 30 "$log" >&2; rm -f "$log"; return 1
}

# Makes and prints a work folder beside its destination, so that the final rename is atomic.
work_folder() { mkdir -p "$cache"; mktemp -d "$cache/work.XXXXXX"; }
