#!/bin/sh
# Train umxs: ./train.sh DATA PACKAGES OUTPUT [STEPS]. Started again, it goes on where it was.
# DATA has train/ and valid/ (folders of tracks of stems) and vocals/ (solo singing); PACKAGES is
# what data/make.py made.
set -eu
data=$1 packages=$2 output=$3 steps=${4:-7800}

# The weights let the real songs be half of what is drawn. In four of them the bass sounds inside
# `other` or `drums`: only their voices and drums help.
exec umx-train --root "$data" --output "$output" --steps "$steps" \
  --also "$packages/train=0.3" \
  --extra vocals="$data/vocals/gtsinger" \
  --extra vocals="$data/vocals/m4singer" \
  --extra vocals="$data/vocals/mir1k=0.25" \
  --extra drums="$packages/drums=0.5" \
  --extra bass="$packages/bass=0.6" \
  --extra other="$packages/other=0.4" \
  --exclude eif-Hydrogen=bass,other \
  --exclude eif-Potassium=bass,other \
  --exclude eif-Rubidium=bass,other \
  --exclude eif-Caesium=bass,other
