"""
What the Wiener filter does
===========================

The networks estimate magnitudes only. The multichannel Wiener filter turns them into signals
that sum to the mixture, in steps of expectation and maximisation (EM). Here every step is scored
and drawn.
"""

# %%
# Magnitudes from the networks
# ----------------------------
# The song is an excerpt of "Falcon 69" by The Easton Ellises, with its stems, from the package
# ``stempeg`` (CC BY-NC-SA 3.0 as MUSDB18 states).

from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from openunmix import umxs
from openunmix.audio import STEM_MP4_STREAMS, read_audio
from openunmix.evaluate.metrics import sdr_mdx21
from openunmix.filtering.gaussian import spatial_covariance, wiener
from openunmix.transforms.fourier import istft, stft
from openunmix.web import show

(song,) = Path(find_spec("stempeg").origin).parent.glob("data/*.stem.mp4")
mixture, sample_rate = read_audio(song, stream=0)
separator = umxs()
X = stft(mixture, 4096, 1024)  # (channels, bins, frames)
with torch.inference_mode():
    magnitudes = {
        name: network(X.abs()[None])[0] for name, network in separator.target_models.items()
    }
print(tuple(X.shape), list(magnitudes))

# %%
# Step by step
# ------------
# With no iteration, each estimate has its magnitude and the phase of the mixture. An iteration
# estimates power spectral densities and spatial covariances from the estimates, and from these
# the posterior mean of each source given the mixture. In ``gaussian.py`` frames come first.

targets = list(magnitudes)
stems = torch.stack(
    [read_audio(song, stream=STEM_MP4_STREAMS.index(name)).waveform for name in targets]
)
x = X.permute(2, 1, 0)  # frames, bins, channels


def step(magnitudes, iterations):
    """Filter magnitudes (sources, channels, bins, frames); return STFTs and waveforms."""
    y = wiener(magnitudes.permute(3, 2, 1, 0), x, iterations=iterations)
    return y, istft(y.permute(3, 2, 1, 0), 4096, 1024, length=mixture.shape[-1])


def sdr(waveforms):
    """SDR of each target in dB."""
    return [float(sdr_mdx21(*pair)) for pair in zip(stems, waveforms, strict=True)]


estimated = torch.stack(list(magnitudes.values()))
steps = [step(estimated, iterations) for iterations in range(4)]
scores = [sdr(waveforms) for _, waveforms in steps]
for iterations, (_, waveforms) in enumerate(steps):
    gap = (waveforms.sum(dim=0) - mixture).square().sum() / mixture.square().sum()
    numbers = "".join(f"{name} {score:6.2f}  " for name, score in zip(targets, scores[iterations]))
    print(f"{iterations}: {numbers} dB; sum to the mixture within {10 * gap.log10():.0f} dB")

# %%
# The first iteration makes the estimates sum to the mixture. It helps where magnitudes are good, as
# those of the drums are, and spreads errors where they are not. With the magnitudes of the true
# stems, on the right, it adds what phases and panning are worth: something for drums, bass and
# other, nothing for this voice. Further iterations take their statistics from the estimates, so
# that errors confirm themselves, and the curves fall. Hence the default of one.

truth = [sdr(step(stft(stems, 4096, 1024).abs(), iterations)[1]) for iterations in range(4)]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for axis, curves, title in zip(axes, (scores, truth), ("umxs", "true magnitudes"), strict=True):
    axis.plot(range(4), curves, marker="o")
    axis.set(title=title, xlabel="iterations", ylabel="SDR in dB", xticks=range(4))
    axis.grid(alpha=0.3)
for name, *gain in zip(targets, *truth[:2]):
    print(
        f"{name:8} with true magnitudes: {gain[0]:5.2f} dB, after one iteration {gain[1]:5.2f} dB"
    )
figure.legend(targets, loc="outside lower center", ncols=4, frameon=False)

# %%
# What is left of the vocals' error
# ---------------------------------
# The spectrogram of the estimate minus the true stem, before the filter and after one and three
# steps.

figure, axes = plt.subplots(1, 3, sharey=True, figsize=(10, 3.6), layout="constrained")
vocals = targets.index("vocals")
true_stft = stft(stems[vocals], 4096, 1024).mean(dim=0)
for axis, iterations in zip(axes, (0, 1, 3), strict=True):
    error = steps[iterations][0][..., vocals].mean(dim=-1).T - true_stft
    picture = axis.imshow(
        20 * (error.abs() + 1e-5).log10().numpy(),
        origin="lower",
        aspect="auto",
        vmin=-40,
        vmax=40,
        cmap="magma",
        extent=(0, mixture.shape[-1] / sample_rate, 0, sample_rate / 2000),
    )
    axis.set(title=f"{iterations} iterations", ylim=(0, 5), xlabel="seconds")
axes[0].set(ylabel="kHz")
figure.colorbar(picture, label="dB")

# %%
# Where the sources are
# ---------------------
# The spatial covariance of a source says how it is panned. Its off-diagonal, normalised, is 1 for
# a source in the middle and smaller for a wide one.

covariance = spatial_covariance(steps[1][0])  # bins, channels, channels, sources
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
kilohertz = torch.arange(covariance.shape[0]) * sample_rate / 4096 / 1000
for j, name in enumerate(targets):
    R = covariance[..., j]
    coherence = R[:, 0, 1].abs() / (R[:, 0, 0].real * R[:, 1, 1].real + 1e-12).sqrt()
    smooth = torch.nn.functional.avg_pool1d(coherence[None], 15, 1, 7)[0]
    axis.plot(kilohertz.numpy(), smooth.numpy(), label=name)
axis.set(xlim=(0, 8), ylim=(0, 1.02), xlabel="kHz", ylabel="coherence of the channels")
axis.legend(frameon=False, ncols=4, loc="lower right")

# %%
# Listen to the vocals
# --------------------
# Before the filter, after one step, after three, and the true stem. Solo them one after the other.

show(
    {f"{n} iterations": steps[n][1][vocals] for n in (0, 1, 3)} | {"stem": stems[vocals]},
    sample_rate,
    mixture=mixture,
    title="Vocals, step by step",
)
