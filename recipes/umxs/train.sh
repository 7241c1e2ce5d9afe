#!/bin/sh
# Train umxs: ./train.sh DATA OUTPUT [STEPS]. Started again, it goes on where it was.
# DATA has train/ and valid/ (folders of tracks of stems) and vocals/ (solo singing).
set -eu
data=$1 output=$2 steps=${3:-3900}

# Larger blocks from the allocator spare page faults.
export MALLOC_MMAP_THRESHOLD_=8589934592 MALLOC_TRIM_THRESHOLD_=8589934592 \
  MALLOC_TOP_PAD_=268435456

# In four of the songs the bass sounds inside `other` or `drums`: only their voices and drums help.
exec umx-train --root "$data" --output "$output" --steps "$steps" \
  --extra vocals="$data/vocals/gtsinger" \
  --extra vocals="$data/vocals/m4singer" \
  --exclude eif-Hydrogen=bass,other \
  --exclude eif-Potassium=bass,other \
  --exclude eif-Rubidium=bass,other \
  --exclude eif-Caesium=bass,other
