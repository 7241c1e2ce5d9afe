#!/bin/sh
# Train umxses on a GPU: ./train.sh DATA OUTPUT [OPTION ...]. Started again, it resumes.
# DATA is what data.py made. Options are for umx-train, such as --batch-size 8 --device cpu.
set -eu
data=$1 output=$2 here=$(dirname "$0")
shift 2

# Signal-to-noise ratios have a mean of 5 dB and a standard deviation of 5.6 dB: 3.5 dB from --spread,
# the rest as excerpts of a recording differ. What --extra leaves of 100 % are the dry voices and the
# scenes in train/.
train() {
  name=$1
  shift
  umx-train --root "$data" --output "$output/$name" --targets speech noise \
    --sample-rate 16000 --nb-channels 1 --nfft 1024 --nhop 512 --bandwidth 8000 \
    --hidden-size 256 --compression 0.25 --seq-dur 2 --batch-size 64 \
    --schedule cosine --ema-decay 0.999 --equalise 4 \
    --level -27 --balance noise=-5 --spread 2.5 --silent 0.04 --effects noise=layers \
    --transpose-source speech=3 --transpose-source noise=4.3 \
    --extra speech="$data/reverberant=75%" --extra noise="$data/babble=14%" \
    --extra noise="$data/hum=6%" --extra noise="$data/white=5%" --extra noise="$data/pink=7%" "$@"
}

# Each network for itself, then both for what the Wiener filter makes of them.
train networks --steps 5000 --loss normalized-mse-sqrt "$@"
train filtered --model "$output/networks" --steps 10000 --loss wiener-sqrt --dropout 0.1 "$@"

# The filter would take away more of the speech than a listener can spare: with 1.3 times its
# estimates, training voices are understood better at 10 and 15 dB, where there is little noise.
python "$here/scale.py" "$output/filtered" speech 1.3 "$output/umxses"
