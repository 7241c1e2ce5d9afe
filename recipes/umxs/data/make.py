"""Make the data that freely licensed packages can give: `make.py CACHE OUTPUT [PART ...]`."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from accompaniment import make_accompaniment
from bassing import make_bass
from drumming import make_drumming
from guitars import make_guitars
from output import Output
from packages import Cache
from tunes import make_tunes

_PARTS = {
    "drumming": make_drumming,
    "guitars": make_guitars,
    "accompaniment": make_accompaniment,
    "tunes": make_tunes,
}


def main() -> None:
    """Make the parts asked for; what is there already is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path, help="folder for unpacked packages")
    parser.add_argument("output", type=Path, help="folder for the data")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(_PARTS)}; all if none is given")
    parser.add_argument(
        "--bass", type=Path, metavar="DIR", help="recorded notes of a bass guitar, to be played"
    )
    args = parser.parse_intermixed_args()
    unknown = sorted(set(args.parts) - set(_PARTS))
    if unknown:
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(_PARTS)}")
    cache = Cache(args.cache)
    output = Output(args.output, cache)
    makers = {part: _PARTS[part] for part in args.parts or _PARTS}
    if args.bass:
        makers = {"bass": partial(make_bass, folder=args.bass), **makers}
    for part, maker in makers.items():
        for name, seconds in maker(cache, output):
            print(f"{part}: {name}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
