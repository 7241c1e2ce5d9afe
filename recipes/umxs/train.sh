#!/bin/sh
# Train umxs on a GPU: ./train.sh DATA PACKAGES SUNG OUTPUT. Started again, it resumes.
# DATA has train/ and valid/ (folders of tracks of stems) and vocals/ (solo singing); PACKAGES is
# what data/make.py made, SUNG what sing.py made.
set -eu
data=$1 packages=$2 sung=$3 output=$4 here=$(dirname "$0")
# In four of the tracks the bass sounds inside `other` or `drums`.
exclude="
  --exclude eif-Hydrogen=bass,other
  --exclude eif-Potassium=bass,other
  --exclude eif-Rubidium=bass,other
  --exclude eif-Caesium=bass,other
"

umx-train --root "$data" --output "$output/run" --shared --hidden-size 448 --compression 0.25 \
  --batch-size 96 --steps 11000 --keep 5200 7800 11000 --validate-every 11000 --save-every 200 \
  --lr 1.5e-3 --schedule cosine --warmup 200 --dropout 0.3 --ema-decay 0.999 --equalise 3.5 \
  --levels original --coherent 0.3 --independent vocals --transpose 1.5 --transpose-source vocals=4 \
  --effects vocals=voice --effects other=band $exclude \
  --extra vocals="$data/vocals/gtsinger=12.5%" --extra vocals="$data/vocals/m4singer=12.5%" \
  --extra vocals="$data/vocals/mir1k=13%" --extra vocals="$sung=12%" \
  --also "$packages/train=20%" --extra drums="$packages/drums=20%" \
  --extra bass="$packages/bass=20%" --extra other="$packages/other=20%"

# Vocals gain to the end, bass is best early.
run=$output/run
python "$here/average.py" "$output/umxs" "$run/5200=1" "$run/7800=1" "$run/11000=2" "bass:$run/5200"
