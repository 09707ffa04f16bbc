#!/usr/bin/env bash
# test.sh [--lint]: from a fresh clone to green tests; with --lint then also headers, format and clang-tidy.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

case "${1-}" in
  "") ;;
  --lint) export ZEBROID_LINT=1 ;;
  *) echo "usage: scripts/test.sh [--lint]" >&2; exit 2 ;;
esac

install_packages
build release
ctest --test-dir build/release --output-on-failure -j 2

[[ ${ZEBROID_LINT-} ]] || exit 0
failed=0
echo "== headers compile on their own"
build release --target all_verify_interface_header_sets || failed=1
echo "== format"
check_format || failed=1
echo "== clang-tidy"
tidy || failed=1
exit $failed
