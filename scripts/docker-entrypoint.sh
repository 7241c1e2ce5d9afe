#!/bin/sh
# `docker run IMAGE song.mp3` and `docker run IMAGE umx song.mp3` do the same; so does every other
# command of the package by its name. A file called umx is separated as ./umx.
set -eu
case "${1-}" in
    umx | umx-*) exec "$@" ;;
    *) exec umx "$@" ;;
esac
