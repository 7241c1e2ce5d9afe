#!/bin/sh
# Train on free material alone, to know what that costs: ./free.sh DATA PACKAGES OUTPUT.
# Four networks of hidden size 256, with songs under CC0, CC BY and CC BY-SA and what data/make.py made.
set -eu
data=$(cd "$1" && pwd) packages=$2 output=$3
# In four of the songs the bass sounds inside `other` or `drums`.
exclude="
  --exclude eif-Hydrogen=bass,other
  --exclude eif-Potassium=bass,other
  --exclude eif-Rubidium=bass,other
  --exclude eif-Caesium=bass,other
"

mkdir -p "$output/songs/train"
ln -sfn "$data/valid" "$output/songs/valid"
for song in "$data"/train/eif-* "$data"/train/us-joshua-morin-* "$data"/train/us-karissa-hobbs-*; do
  ln -sfn "$song" "$output/songs/train/"
done

umx-train --root "$output/songs" --output "$output/free" --steps 3900 $exclude \
  --also "$packages/train=0.3" \
  --extra drums="$packages/drums=0.5" \
  --extra bass="$packages/bass=0.6" \
  --extra other="$packages/other=0.4"
