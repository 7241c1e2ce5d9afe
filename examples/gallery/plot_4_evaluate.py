"""
Evaluate, with oracles beside
=============================

Scores mean little without bounds: below, the mixture itself as every estimate; above, oracles,
which compute their masks from the true stems. ``umx-evaluate`` and this script use the same
functions.
"""

# %%
# A folder of tracks
# ------------------
# A ``.stem.mp4`` for each track, or a folder with one file for each stem. Here it is the one
# song that the package ``stempeg`` contains (The Easton Ellises, "Falcon 69", CC BY-NC-SA 3.0 as
# MUSDB18 states).

import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from openunmix.evaluate import System, evaluate_tracks, find_tracks, median_over_tracks
from openunmix.pretrained import resolve_model

(song,) = Path(find_spec("stempeg").origin).parent.glob("data/*.stem.mp4")
root = Path(tempfile.mkdtemp())
(root / "test").mkdir()
shutil.copy(song, root / "test")
tracks = find_tracks(root)

# %%
# Score systems
# -------------
# ``irm1`` is the ideal ratio mask: what a mask of true magnitudes gives with the phase of the
# mixture. ``mwf`` is the multichannel Wiener filter with true power spectral densities and
# covariances.

systems = [
    System(oracle="mixture"),
    System(resolve_model("umxs")),
    System(oracle="irm1"),
    System(oracle="mwf"),
]
medians = {}
for system in systems:
    result = evaluate_tracks(tracks, system, root / system.name)
    medians[system.name] = median_over_tracks(result.scores)
print(result.scores[0])

# %%
# The table above is that of the last system. All systems, SDR of BSS Eval v4 in dB: the median
# over frames of one second of one excerpt of six seconds, which is an illustration and not a
# measurement.

targets = systems[0].targets
figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
for number, (name, scores) in enumerate(medians.items()):
    values = [scores[target]["SDR"] for target in targets]
    print(f"{name:8}", "  ".join(f"{t} {v:6.2f}" for t, v in zip(targets, values, strict=True)))
    axis.bar(np.arange(len(targets)) + 0.2 * (number - 1.5), values, 0.2, label=name)
axis.set(xticks=range(len(targets)), xticklabels=targets, ylabel="SDR in dB")
axis.axhline(0, color="0.3", linewidth=0.8)
axis.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))

# %%
# What else is there
# ------------------
# JSON that museval reads for every track; with ``umx-evaluate`` also CSV tables and a report of
# one page, with box plots and published systems beside.

sorted(path.relative_to(root / "umxs").as_posix() for path in (root / "umxs").rglob("*.json"))
