"""
Train in a minute
=================

``examples/minimal.py`` trains four networks on one page, without the training code of the
package: data, input statistics, networks, loop, model folder. Here it runs for 40 of its 300
steps, on 12 of its 60 tracks, and its model separates a synthetic song that it has not heard.
"""

# %%
# Train
# -----
# The tracks are synthesised: drums, bass, chords and a voice that sings vowels.

import contextlib
import io
import runpy
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from openunmix import predict
from openunmix.data import synthetic_song
from openunmix.evaluate.metrics import sdr_mdx21
from openunmix.web import show

folder = Path(tempfile.mkdtemp(), "model")
output = io.StringIO()
sys.argv = ["minimal.py", "--steps", "40", "--tracks", "12", "--output", str(folder)]
with contextlib.redirect_stdout(output):
    run = runpy.run_path("../minimal.py")
print(output.getvalue().replace(str(folder), "model"))

# %%
# The model folder has a file of weights for each target, and the settings that a separator needs.

sorted(path.name for path in folder.iterdir())

# %%
# Separate with it
# ----------------
# A new song, from another seed. ``umx song.wav --model model`` is the same as a command.

song = synthetic_song(np.random.default_rng(1234), 8 * 44100)
mixture = sum(song.values())
estimates = predict.separate(mixture, rate=44100, model_str_or_path=str(folder))
scores = {name: float(sdr_mdx21(stem, estimates[name][0])) for name, stem in song.items()}
before = {name: float(sdr_mdx21(stem, mixture)) for name, stem in song.items()}

figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
position = np.arange(len(song))
axis.bar(position - 0.2, before.values(), 0.4, label="the mixture itself", color="0.7")
axis.bar(position + 0.2, scores.values(), 0.4, label="after 40 steps")
axis.set(xticks=position, xticklabels=song, ylabel="SDR in dB")
axis.axhline(0, color="0.3", linewidth=0.8)
axis.legend(frameon=False)

# %%
# Listen
# ------
# Forty steps are enough to hear where this is going. All 300 take two minutes on two cores, and
# ``umx-train`` adds what a long training needs: your own tracks, validation, schedules, averaged
# weights, checkpoints, GPUs.

show(estimates, 44100, mixture=mixture, title="A synthetic song, after 40 steps")
