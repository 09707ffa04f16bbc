#!/usr/bin/env bash
# The verdict on six A40 and six V100, then zebra beside expert parallelism over GPU counts and sequence lengths.
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
mixtral=(--model mixtral-d1 --cluster 6xA40,6xV100-16GB)

run plan "${mixtral[@]}" --sequence-length 16384 --svg demo/step.svg --trace demo/step.trace.json \
  --schedule demo/step.schedule.json | tee demo/verdict.txt
run plan "${mixtral[@]}" --sequence-length 16384 --json >demo/verdict.json
run sweep "${mixtral[@]}" --expert-assignment optimal --vary cluster.A40=2:8:2 --vary cluster.V100-16GB=2:8:2 \
  --vary training.sequence_length=4096,8192,16384,32768 --output demo/sweep.ndjson --svg demo/sweep.svg

echo
echo "Left in demo/ (open the trace in https://ui.perfetto.dev):"
wc -c demo/*
