"""The packages that data comes from: `sources.py CACHE > SOURCES.md` lists their licences."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["SOURCES", "Source"]


class Source(NamedTuple):
    """What a package gives.

    Attributes
    ----------
    use : str
        What is taken from it.
    licence : str
        Its licence, as its copyright file states it.
    authors : str
        Whom to name.
    packaged : bool
        Whether it is a Debian package.
    """

    use: str
    licence: str
    authors: str
    packaged: bool = True


SOURCES = {
    "openttd-openmsx": Source("31 tunes (MIDI)", "GPL-2.0", "the OpenMSX authors"),
    "simutrans-data": Source("53 tunes (MIDI)", "Artistic-1.0", "the Simutrans team"),
    "freedoom": Source("60 tunes (MIDI)", "BSD-3-Clause", "contributors to the Freedoom project"),
    "planetblupi-music-midi": Source(
        "10 tunes (MIDI)", "GPL-3.0-or-later", "Daniel Roux, EPSITEC SA, Mathieu Schroeter"
    ),
    "mma": Source(
        "accompaniment styles (MIDI by the program)", "GPL-2.0-or-later", "Bob van der Poel"
    ),
    "musescore-general-soundfont": Source(
        "sound font", "MIT", "S. Christian Collins, Frank Wen, Michael Cowgill and others"
    ),
    "fluid-soundfont-gm": Source("sound font", "MIT", "Frank Wen"),
    "fluidr3mono-gm-soundfont": Source("sound font", "MIT", "Frank Wen, Michael Cowgill"),
    "timgm6mb-soundfont": Source("sound font", "GPL-2.0", "Tim Brechbill, David Bolton"),
    "avldrums.lv2-soundfont": Source("two sampled drum kits", "CC-BY-SA-3.0", "Glen MacArthur"),
    "hydrogen-drumkits": Source(
        "drum kits",
        "GPL-2.0; CC-BY-SA-3.0 (BJA Pacific); CC-BY-3.0 (Rumpf); CC0-1.0 (Audiophob)",
        "Artemiy Pavlov, Emiliano Grilli, Marcos Guglielmetti, Luc Tanguay, Glen MacArthur, "
        "Vladimir Sadovnikov, Alexander Belokurov, Emanuel Rumpf, Audiophob",
    ),
    "hydrogen-data": Source("drum kits", "GPL-2.0-or-later", "the Hydrogen development team"),
    "fretsonfire-songs-muldjord": Source(
        "guitars of 4 songs", "CC-BY-SA-3.0", "El Senator (Muldjord)"
    ),
    "fretsonfire-songs-sectoid": Source(
        "guitars of 4 songs", "MIT", "Carlos Viola Iborra (Sectoid)"
    ),
    "growlybass": Source("single notes of a bass guitar", "CC0-1.0", "Karoryfer Samples", False),
}


def table(versions: dict[str, str]) -> str:
    """Write the sources as a table in Markdown.

    Parameters
    ----------
    versions : dict of str to str
        Versions of the packages.

    Returns
    -------
    str
        The table.
    """
    rows = [
        [name, versions.get(name, ""), source.use, source.licence, source.authors]
        for name, source in sorted(SOURCES.items())
    ]
    head = ["package", "version", "what is used", "licence", "by"]
    lines = [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    files = Path(sys.argv[1]).glob("*/version")
    print("# What the training data is made of\n")
    print("Debian 12's packages, but for those without a version. Written by `data/sources.py`.\n")
    print(table({file.parent.name: file.read_text().strip() for file in files}), end="")
