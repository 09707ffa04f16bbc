#!/usr/bin/env bash
# fuzz.sh [SECONDS] [TARGET...]: libFuzzer on every reader of untrusted input, or on these, for so long each [60].
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

if [[ ${1-} == -* ]]; then
  sed -n 2p "$0"
  [[ $1 == -h || $1 == --help ]] && exit
  exit 2
fi
seconds=60
if [[ ${1-} =~ ^[0-9]+$ ]]; then
  seconds=$1
  shift
fi
ZEBROID_FUZZ=1 install_packages
build fuzz
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(find build/fuzz/fuzz -maxdepth 1 -type f -name 'fuzz_*' -perm -u+x -printf '%f\n' |
  sed 's/^fuzz_//' | LC_ALL=C sort)

failed=()
for target in "${targets[@]}"; do
  echo "== $target"
  found=build/fuzz/found/$target
  mkdir -p "$found"
  # What is new goes into the first folder; the corpus stays as it is.
  build/fuzz/fuzz/"fuzz_$target" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="$found-" -print_final_stats=1 "$found" "fuzz/corpus/$target" || failed+=("$target")
done
((${#failed[@]} == 0)) && exit
echo "Failed: ${failed[*]}. Add the files build/fuzz/found/TARGET-* to fuzz/corpus/TARGET once they are mended." >&2
exit 1
