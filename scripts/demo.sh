#!/usr/bin/env bash
# Zebra parallelism beside expert parallelism on six A40 and six V100, then over GPU counts and sequence lengths.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib.sh

install_packages
build release --target zebroid
mkdir -p demo

run() {
  echo "\$ zebroid $*" >&2
  build/release/zebroid "$@"
}
mixtral=(--model mixtral-d1 --cluster o1 --strategy zebra --strategy ep)

run simulate "${mixtral[@]}" --sequence-length 16384 --svg demo/step.svg --trace demo/step.trace.json |
  tee demo/table.txt
run simulate "${mixtral[@]}" --sequence-length 16384 --json >demo/result.json
run sweep "${mixtral[@]}" --vary cluster.A40=2:8:2 --vary cluster.V100-16GB=2:8:2 \
  --vary training.sequence_length=4096,8192,16384,32768 --output demo/sweep.ndjson --svg demo/sweep.svg

echo
echo "Left in demo/ (open the trace in https://ui.perfetto.dev):"
wc -c demo/*
