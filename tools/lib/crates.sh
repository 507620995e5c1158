# The crates of the rules engine (actors/policy/cedar), as its Cargo.lock pins them. Sourced by tools/setup.

# Asks the network only when a crate is missing from cargo's own folder.
fetch_crates() {
  local manifest=$root/actors/policy/cedar/Cargo.toml
  export RUSTC=/usr/bin/rustc
  /usr/bin/cargo fetch --locked --offline --manifest-path "$manifest" >/dev/null 2>&1 && return 0
  say "fetching the crates of the rules engine"
  quietly /usr/bin/cargo fetch --locked --manifest-path "$manifest" || die "the crates could not be fetched (see above)"
}
