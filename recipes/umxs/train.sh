#!/bin/sh
# Train umxs on a GPU: ./train.sh DATA PACKAGES SUNG OUTPUT. Started again, it goes on where it was.
# DATA has train/ (folders of tracks of stems) and vocals/ (solo singing); PACKAGES is what
# data/make.py made, SUNG what sing.py made.
set -eu
data=$1 packages=$2 sung=$3 output=$4 here=$(dirname "$0")

python "$here/train.py" "$data" "$packages" "$sung" "$output"

# Vocals gain to the end, bass is best early.
python "$here/average.py" "$output/umxs" "$output/5200=1" "$output/7800=1" "$output/11000=2" \
  "bass:$output/5200"
