#!/bin/sh
# Train umxhq as published: ./train.sh MUSDB18-HQ OUTPUT [SEED]. Started again, it goes on.
# The model is then in OUTPUT/model.
set -eu
exec "$(dirname "$0")/../umx/train.sh" "$1" "$2" "${3:-42}" --is-wav
