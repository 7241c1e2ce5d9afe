#!/bin/sh
# Train umxses: ./train.sh DATA OUTPUT [STEPS]. Started again, it goes on where it was.
# Each network has a process of its own, as they do not see each other.
set -eu
data=$1 output=$2 steps=${3:-6000}

# Larger blocks from the allocator spare page faults.
export MALLOC_MMAP_THRESHOLD_=8589934592 MALLOC_TRIM_THRESHOLD_=8589934592 \
  MALLOC_TOP_PAD_=268435456

train() {
  python "$(dirname "$0")/train.py" "$data" "$output/$1" --targets "$1" --steps "$steps"
}

train speech &
train noise
wait $!
cp "$output"/speech/speech.* "$output"/noise/noise.* "$output"/speech/separator.json "$output"
