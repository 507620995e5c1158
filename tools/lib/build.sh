# Ninja with little output: a line per tenth of the work, everything on failure. Sourced.

# ninja_quietly FOLDER [NINJA ARGUMENTS]: progress on stderr; on failure the compilers' messages.
ninja_quietly() {
  local folder=$1 log status=0; shift
  log=$(mktemp)
  ninja -C "$folder" "$@" </dev/null 2>&1 | tee "$log" | awk -v who="${0##*/}" '
    match($0, /^\[[0-9]+\/[0-9]+\] /) {
      split(substr($0, 2, RLENGTH - 3), step, "/")
      tenth = int(10 * step[1] / step[2])
      if (step[2] >= 10 && tenth > last) { print who ": " step[1] " of " step[2]; fflush(); last = tenth }
      if (step[2] < 10 || step[1] == 1) last = tenth
    }' >&2 || status=1
  [ $status = 0 ] || grep -vE '^(\[[0-9]+/[0-9]+\] |ninja: Entering|(/usr/bin/ccache |: && )?/usr/bin/(cc|c\+\+|g\+\+|clang))' "$log" |
    tail -n 80 >&2
  rm -f "$log"
  return $status
}

# build PRESET [TARGET...]: configures when needed and builds; two builds of a preset wait for each other.
build() {
  local preset=$1 folder=$root/build/$1; shift
  mkdir -p "$folder"
  exec 7>"$folder/.lock"
  flock -n 7 || { say "waiting for another build of $preset"; flock 7; }
  if [ ! -f "$folder/build.ninja" ]; then
    say "configuring $preset"
    (cd "$root" && quietly cmake --preset "$preset") || { rm -f "$folder/build.ninja"; die "configuring $preset failed"; }
  fi
  ninja_quietly "$folder" "$@" || die "the build failed (see above)"
  exec 7>&-
}
