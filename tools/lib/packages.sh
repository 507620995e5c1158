# The Debian 12 packages that building, running and testing need. Sourced by tools/setup.

# libboost-dev is 1.74 there: the version is named. rustc is 1.63; rustc-web and cargo-web follow browsers. No kafka or java: a broker is the user's own.
build_packages="g++ cmake ninja-build ccache mold pkg-config libcaf-dev librdkafka-dev librocksdb-dev
  libpq-dev libsqlite3-dev libprotobuf-dev protobuf-compiler prometheus-cpp-dev libspdlog-dev libgtest-dev
  libgmock-dev libbenchmark-dev libboost1.81-dev libboost-json1.81-dev libboost-url1.81-dev
  libcurl4-openssl-dev libyaml-cpp-dev libcli11-dev libssl-dev libhnswlib-dev libexpected-dev
  libzstd-dev libedit-dev libjemalloc-dev cargo-web rustc-web"
run_packages="postgresql-15 tzdata python3 python3-pip python3-venv ca-certificates"
test_packages="strace procps openssl tmux clang libclang-rt-14-dev clang-format git python3-yaml systemd spin"
tidy_packages="clang-tidy"
coverage_packages="gcovr"
kafka_packages="openjdk-17-jdk-headless maven"
bench_packages="nodejs npm"

# Prints those of the named packages that are not installed; one dpkg call, about 20 ms.
missing_packages() {
  dpkg-query -W -f='${db:Status-Abbrev} ${Package}\n' "$@" 2>/dev/null |
    awk -v want="$*" '/^ii/ { have[$2] = 1 }
      END { n = split(want, w, " "); for (i = 1; i <= n; i++) if (!(w[i] in have)) print w[i] }'
}

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 "$@"; }

# PostgreSQL's package starts a server of its own at installation. We want the programs only (soma
# runs private clusters), so that is switched off for the time of this installation.
without_default_cluster() {
  local file=/etc/postgresql-common/createcluster.d/somastack-setup.conf
  as_root mkdir -p "${file%/*}"
  echo 'create_main_cluster = false' | as_root tee "$file" >/dev/null
  local status=0; "$@" || status=$?
  as_root rm -f "$file"
  return $status
}

install_packages() {
  # shellcheck disable=SC2046,SC2086
  local missing; missing=$(echo $(missing_packages "$@"))
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || die "this needs Debian 12 (apt-get); missing: $missing"
  say "installing $(wc -w <<<"$missing") packages: $missing"
  local start=$SECONDS
  quietly apt update || die "apt-get update failed (see above)"
  # shellcheck disable=SC2086
  without_default_cluster quietly apt install -y --no-install-recommends $missing ||
    die "apt-get could not install the packages above"
  say "packages installed in $((SECONDS - start)) s"
}
