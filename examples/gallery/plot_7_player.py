"""
From Python to the player
=========================

The page that ``umx --player`` writes can be made of any audio files: of this package's stems, of
those of another program, or of a multitrack recording.
"""

# %%
# In a notebook
# -------------
# ``show`` takes waveforms and returns a value that a notebook displays, as below. It contains
# its audio, so that it still plays when the notebook is opened again.

# sphinx_gallery_thumbnail_path = "images/player-light.webp"
import html
import tempfile
from pathlib import Path

import numpy as np

from openunmix.audio import AudioWriter
from openunmix.data import synthetic_song
from openunmix.web import show, write_page

song = synthetic_song(np.random.default_rng(11), 6 * 44100)
show(song, 44100, title="Four synthetic stems", details={"tempo": "drawn from the seed 11"})

# %%
# As a page
# ---------
# ``write_page`` takes files and writes one ``index.html`` that needs no server and no network.
# Details are shown below the title; ``downloads`` offers the files themselves.

folder = Path(tempfile.mkdtemp())
files = {}
for name, waveform in song.items():
    files[name] = folder / f"{name}.flac"
    with AudioWriter(files[name], 44100, 2) as writer:
        writer.write(waveform)
page = write_page(
    folder,
    files,
    title="Four synthetic stems",
    downloads={name: path.name for name, path in files.items()},
)
print(
    page.name,
    f"{page.stat().st_size / 1e6:.2f} MB, beside",
    *sorted(p.name for p in files.values()),
)

# %%
# Who may see what
# ----------------
# The page's content security policy blocks all connections and all scripts but the player's own:
# nothing leaves the machine of who listens.

policy = page.read_text("utf-8").split('Content-Security-Policy" content="')[1].split('"')[0]
print(html.unescape(policy).replace("; ", ";\n"))
