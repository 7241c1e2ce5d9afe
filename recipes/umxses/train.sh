#!/bin/sh
# Train umxses: ./train.sh DATA OUTPUT [STEPS]. Started again, it goes on where it was.
set -eu
data=$1 output=$2 steps=${3:-6000} here=$(dirname "$0")

# Larger blocks from the allocator spare page faults.
export MALLOC_MMAP_THRESHOLD_=8589934592 MALLOC_TRIM_THRESHOLD_=8589934592 \
  MALLOC_TOP_PAD_=268435456

# Each network has a process of its own, as they do not see each other.
train() {
  python "$here/train.py" "$data" "$output/$1" --targets "$1" --steps "$steps"
}
train speech &
train noise
wait $!
python "$here/join.py" "$output/speech" "$output/noise" "$output/before"

# Both further, for what the filter makes of them.
python "$here/train.py" "$data" "$output/after" --model "$output/before" --steps 4000 \
  --loss wiener-and-root --dropout 0.2

# Both with the fourth root of magnitudes, in which treble and quiet voices are not lost.
python "$here/compress.py" "$output/after" 0.25 "$data" "$output/root"
last() {
  name=$1 model=$2 steps=$3 dropout=$4
  shift 4
  python "$here/train.py" "$data" "$output/$name" --model "$output/$model" --steps "$steps" \
    --dropout "$dropout" --loss wiener-and-root --precision float32 "$@"
}
last fitted root 5000 0.2
last longer fitted 14800 0.1
last longest longer 17000 0.1
last last longest 14000 0.1

# On a GPU, which takes eight minutes for it; on two cores that would be days.
if python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  last best last 7500 0.1 --batch-size 64 --precision bf16 \
    --device cuda --nb-workers 7
else
  ln -sfn last "$output/best"
fi

# The filter would take away more of the speech than a listener can spare: with 1.3 times its
# estimates, training voices are understood better at 10 and 15 dB, where there is little noise.
python "$here/scale.py" "$output/best" speech 1.3 "$output/umxses"
