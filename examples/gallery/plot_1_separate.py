"""
Separate a song
===============

From a file to its stems, with the model that is bundled with the package, and how good they are.
"""

# %%
# A song with known stems
# -----------------------
# The package ``stempeg`` contains six seconds of a song (The Easton Ellises, "Falcon 69", CC
# BY-NC-SA 3.0 as MUSDB18 states) as a ``.stem.mp4``: the mixture and four stems in one file.

from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt

from openunmix import predict
from openunmix.audio import STEM_MP4_STREAMS, read_audio
from openunmix.evaluate.metrics import sdr_mdx21
from openunmix.transforms.fourier import stft
from openunmix.web import show

(song,) = Path(find_spec("stempeg").origin).parent.glob("data/*.stem.mp4")
mixture, sample_rate = read_audio(song, stream=0)

# %%
# Separate
# --------
# This is all. Without ``model_str_or_path`` the model is ``umxhq``, which is downloaded once.

estimates = predict.separate(song, model_str_or_path="umxs")
{target: tuple(waveform.shape) for target, waveform in estimates.items()}

# %%
# Listen
# ------
# Solo, mute and compare with the original; the player is part of the package.

show(estimates, sample_rate, mixture=mixture, title="Falcon 69", details={"model": "umxs"})

# %%
# Look
# ----
# The magnitude of the short-time Fourier transform, in dB, on which the networks work.


def draw(axis, waveform, title):
    """Draw a spectrogram up to 8 kHz."""
    magnitude = stft(waveform.mean(dim=0), 4096, 1024).abs() + 1e-5
    axis.imshow(
        20 * magnitude.log10().numpy(),
        origin="lower",
        aspect="auto",
        vmin=-40,
        vmax=40,
        cmap="magma",
        extent=(0, waveform.shape[-1] / sample_rate, 0, sample_rate / 2000),
    )
    axis.set(title=title, ylim=(0, 8), ylabel="kHz")


figure, axes = plt.subplots(len(estimates), 2, sharex=True, figsize=(9, 9), layout="constrained")
stems = {
    target: read_audio(song, stream=STEM_MP4_STREAMS.index(target)).waveform for target in estimates
}
for row, (target, estimate) in zip(axes, estimates.items(), strict=True):
    draw(row[0], estimate[0], f"{target}, estimate")
    draw(row[1], stems[target], f"{target}, true stem")
for axis in axes[-1]:
    axis.set(xlabel="seconds")

# %%
# Measure
# -------
# The ratio of the stem to the error of its estimate in dB, beside that of the mixture taken as
# the estimate. Below 0 dB the error is louder than the stem: of this song the small bundled
# model takes much of the rest for the voice. Six seconds say little about a model; scores
# over many songs are on the page about models.

for target, estimate in estimates.items():
    score = sdr_mdx21(stems[target], estimate[0])
    before = sdr_mdx21(stems[target], mixture)
    print(f"{target:8} {score:6.2f} dB   mixture itself {before:6.2f} dB")
