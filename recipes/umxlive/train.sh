#!/bin/sh
# Train umxlive on one core: ./train.sh DATA PACKAGES OUTPUT. Started again, it resumes.
# DATA and PACKAGES are those of recipes/umxs, and DATA has vocals/pjs as well.
set -eu
data=$1 packages=$2 output=$3 here=$(dirname "$0")
# Songs of four acts, set aside to judge by.
aside="us-karissa-hobbs-lets-go-fishin us-joshua-morin-on-the-run
  x2-wasaru-seculaire x2-projekt-eva-let-it-rain"
# Stems in which the source sounds elsewhere, or hardly at all.
exclude="
  --exclude eif-Hydrogen=bass,other
  --exclude eif-Potassium=bass,other
  --exclude eif-Rubidium=bass,other
  --exclude eif-Caesium=bass,other
  --exclude x2-fabios-te-amo=drums
  --exclude x2-sami-politik-affektif=drums,bass
"
for song in cdoltm gitmo got-one-shoe happiness-blues immaterial-things umbrellas; do
  exclude="$exclude --exclude x2-the-lack-thereof-$song=drums,bass"
done
for song in $aside; do
  exclude="$exclude --exclude $song=vocals,drums,bass,other"
done

# shellcheck disable=SC2086 # names of songs have no spaces
[ -d "$output/start" ] || python "$here/narrow.py" \
  "$data/train" "$here/../../openunmix/weights/umxs" "$output/start" $aside

umx-train --root "$data" --output "$output/run" --model "$output/start" \
  --batch-size 8 --steps 3600 --keep 1350 3600 --lr 1e-3 --validate-every 3600 --seed 13 --equalise 3.5 \
  --levels original --coherent 0.3 --independent vocals --transpose 1.5 --transpose-source vocals=4 \
  --effects vocals=voice --effects other=band $exclude \
  --extra vocals="$data/vocals/gtsinger=12.5%" --extra vocals="$data/vocals/m4singer=6%" \
  --extra vocals="$data/vocals/mir1k=10%" --extra vocals="$data/vocals/pjs=6%" \
  --also "$packages/train=20%" --extra drums="$packages/drums=20%" \
  --extra bass="$packages/bass=20%" --extra other="$packages/other=20%"

python "$here/../umxs/average.py" "$output/umxlive" "$output/run/1350=1" "$output/run/3600=1"
