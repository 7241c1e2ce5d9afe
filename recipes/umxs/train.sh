#!/bin/sh
# Train umxs: ./train.sh DATA PACKAGES OUTPUT. Started again, it goes on where it was.
# DATA has train/ and valid/ (folders of tracks of stems) and vocals/ (solo singing); PACKAGES is
# what data/make.py made.
set -eu
data=$1 packages=$2 output=$3 here=$(dirname "$0")
. "$here/exclude.sh"

train() {
  umx-train --root "$data" "$@" \
    --extra vocals="$data/vocals/gtsinger" \
    --extra vocals="$data/vocals/m4singer"
}

train_all() {
  train "$@" $exclude
}

# All networks on the songs alone.
train_all --output "$output/first" --steps 3900

# Bass and other, which need more than the songs. The weights let the songs be most of what is drawn.
train_all --output "$output/rest" --model "$output/first" --targets bass other --steps 3800 \
  --also "$packages/train=0.3" \
  --extra vocals="$data/vocals/mir1k=0.25" \
  --extra drums="$packages/drums=0.5" \
  --extra bass="$packages/bass=0.6" \
  --extra other="$packages/other=0.4"

python "$here/join.py" "$output/first" "$output/rest" "$output/before"

# All of them further: the rate falls to zero, equalisers are drawn, and the loss is of what is in
# phase with the mixture.
better="--loss phase-sensitive --equalise 3 --schedule cosine"
more() {
  train_all --model "$output/before" $better "$@" \
    --also "$packages/train=0.3" \
    --extra vocals="$data/vocals/mir1k=0.25" \
    --extra drums="$packages/drums=0.5" \
    --extra other="$packages/other=0.4"
}
train --model "$output/before" $better --output "$output/vocals" --targets vocals --steps 4000 --lr 5e-4
more --output "$output/other" --targets other --steps 4500 --lr 5e-4
more --output "$output/beat" --targets drums bass --steps 2600 --lr 4e-4

# Averages of the weights before and after score best on the validation songs.
python "$here/average.py" "$output/before" "$output/vocals" 0.75 "$output/vocals-mean"
python "$here/average.py" "$output/before" "$output/beat" 0.5 "$output/beat-mean"
python "$here/join.py" "$output/before" "$output/vocals-mean" "$output/other" "$output/beat-mean" \
  "$output/joined"

# What is in phase is less than the magnitudes that the filter wants: the vocals of training songs
# gain 0.4 to 0.5 dB by a factor of 1.2 to 1.4.
python "$here/scale.py" "$output/joined" vocals 1.3 "$output/scaled"

# Vocals on stems that are never heard together and are changed as in a studio, so that the songs
# are not learnt by heart.
apart() {
  train --targets vocals --lr 5e-4 --schedule cosine --equalise 3 --levels recorded --coherent 0 \
    --transpose 0 --studio vocals=voice --studio other=band "$@"
}
apart --model "$output/scaled" --output "$output/apart" --steps 3000
python "$here/join.py" "$output/scaled" "$output/apart" "$output/linear"

# All but other with the fourth root of magnitudes, to which levels matter less: vocals as before,
# drums and bass only a little, half of their weights being those that were fitted.
python "$here/compress.py" "$output/linear" 0.25 "$data" "$output/root"
apart --model "$output/root" --output "$output/root-vocals" --steps 4000
more --model "$output/root" --output "$output/root-beat" --targets drums bass --steps 350 \
  --warmup 20 --lr 2e-4
python "$here/average.py" "$output/root" "$output/root-beat" 0.5 "$output/root-beat-mean"
python "$here/join.py" "$output/linear" "$output/root-vocals" "$output/root-beat-mean" "$output/umxs"
