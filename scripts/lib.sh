# Shared by the scripts beside it; to be sourced from the repository root.

packages="cmake ninja-build g++ ccache python3 libfmt-dev nlohmann-json3-dev libcli11-dev
          libpugixml-dev libsimgrid-dev libxxhash-dev zlib1g-dev libopenblas-dev libopenmpi-dev openmpi-bin libboost-mpi-dev
          libboost-serialization-dev
          libgtest-dev libgmock-dev librapidcheck-dev libvalijson-dev libbenchmark-dev"
lint_packages="clang-16 clang-tidy-16 clang-format-16"
fuzz_packages="clang-16 libclang-rt-16-dev"
jobs=$(nproc)

# Installs what is missing of `packages` (Debian 12, Ubuntu 24.04); with ZEBROID_LINT set, also of
# `lint_packages`, and with ZEBROID_FUZZ of `fuzz_packages`.
install_packages() {
  local package missing=() sudo=()
  if ! command -v apt-get >/dev/null; then
    echo "No apt here; going on as if these were installed:" $packages >&2
    return
  fi
  for package in $packages ${ZEBROID_LINT:+$lint_packages} ${ZEBROID_FUZZ:+$fuzz_packages}; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  echo "Installing ${missing[*]}"
  ((EUID == 0)) || sudo=(sudo)
  "${sudo[@]}" apt-get update -q &&
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install -qy --no-install-recommends "${missing[@]}" && return
  echo "Could not install; offline, or neither root nor sudo? Needed: ${missing[*]}" >&2
  return 1
}

# build PRESET [cmake --build option...]
build() {
  cmake --preset "$1"
  cmake --build --preset "$1" --parallel "$jobs" "${@:2}"
}

sources() {  # sources EXTENSION...: the files of the tree with these extensions
  local extension names=(-false)
  for extension; do names+=(-o -name "*.$extension"); done
  find . \( -path ./build -o -path ./.git \) -prune -o -type f \( "${names[@]}" \) -print | LC_ALL=C sort
}

check_format() { sources hpp cpp cuh cu | xargs -r clang-format-16 --dry-run --Werror; }

# Runs clang-tidy on the product sources of build/release. A file that passed is skipped until it,
# any header, the checks or the build options change.
tidy() {
  export tidy_cache=${ZEBROID_TIDY_CACHE:-$PWD/build/tidy-cache}
  mkdir -p "$tidy_cache"
  tidy_context=$({ echo .clang-tidy CMakeLists.txt; sources hpp cmake; } |
    xargs sha256sum | sha256sum)
  export tidy_context
  sources cpp | grep -vE '^\./(tests|bench|fuzz)/' | xargs -r -P "$jobs" -n 1 bash -c '
    stamp=$tidy_cache/$({ echo "$tidy_context $1"; cat "$1"; } | sha256sum | cut -d " " -f 1)
    [[ -e $stamp ]] && exit
    echo "tidy $1"
    clang-tidy-16 -p build/release --quiet "$1" 2>&1 |
      { grep -vE "^[0-9]+ warnings? (generated|treated)" || true; }
    ((PIPESTATUS[0] == 0)) && touch "$stamp"' tidy
}
