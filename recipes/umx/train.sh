#!/bin/sh
# Train umx as published: ./train.sh MUSDB18 OUTPUT [SEED] [OPTION ...]. Started again, it goes on.
# The model is then in OUTPUT/model.
set -eu
root=$1 output=$2 seed=${3:-42}
shift "$(($# < 3 ? $# : 3))"

mkdir -p "$output/model"
for target in vocals drums bass other; do
  umx-train --dataset musdb --root "$root" --target "$target" --output "$output/$target" \
    --hidden-size 512 --nfft 4096 --nhop 1024 --bandwidth 16000 --nb-channels 2 \
    --seq-dur 6 --batch-size 16 --samples-per-track 64 --source-augmentations gain channelswap \
    --loss mse --lr 0.001 --weight-decay 0.00001 --schedule plateau --lr-decay-patience 80 \
    --lr-decay-gamma 0.3 --patience 140 --epochs 1000 --nb-workers 4 --seed "$seed" "$@"
  cp "$output/$target/$target".* "$output/$target/separator.json" "$output/model"
done
