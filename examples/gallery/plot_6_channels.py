"""
Mono, surround, video
=====================

What is read is what people have: any number of channels, any sample rate, sound tracks of films.
All files here are made by the script, from synthetic music.
"""

# %%
# Three files
# -----------
# A mono WAV at 22.05 kHz, a FLAC with the six channels of 5.1, and a film with a picture.

import tempfile
from pathlib import Path

import av
import matplotlib.pyplot as plt
import numpy as np
import torch

from openunmix import umxs
from openunmix.audio import AudioWriter, probe, read_audio, resample
from openunmix.data import synthetic_song
from openunmix.predict.files import FileOptions, separate_file
from openunmix.web import show

RATE = 44100
song = synthetic_song(np.random.default_rng(5), 4 * RATE)
stereo = sum(song.values())
folder = Path(tempfile.mkdtemp())

with AudioWriter(folder / "mono.wav", 22050, 1) as writer:
    writer.write(resample(stereo.mean(dim=0, keepdim=True), RATE, 22050))

# front left, front right, centre, low frequencies, back left, back right
vocals, band = song["vocals"], stereo - song["vocals"]
surround = torch.stack([*band, vocals.mean(dim=0), 0.3 * song["bass"][0], *(0.3 * band)])
with AudioWriter(folder / "surround.flac", RATE, 6) as writer:
    writer.write(surround)

with av.open(folder / "film.mp4", "w") as film:
    video = film.add_stream("mpeg4", rate=10)
    video.width, video.height, video.pix_fmt = 160, 90, "yuv420p"
    sound = film.add_stream("aac", rate=RATE)
    for number in range(40):
        picture = np.full((90, 160, 3), 6 * number, np.uint8)
        film.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
    samples = np.ascontiguousarray(stereo.numpy())
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
    frame.sample_rate = RATE
    film.mux(sound.encode(frame))
    film.mux(sound.encode(None))
    film.mux(video.encode(None))

# %%
# Separate them
# -------------
# The same call for all. ``residual`` also writes what the targets leave. In a shell it is
# ``umx mono.wav surround.flac film.mp4 --model umxs --residual``.

separator = umxs()
results = {}
for name in ("mono.wav", "surround.flac", "film.mp4"):
    results[name] = separate_file(
        folder / name, folder / Path(name).stem, separator, FileOptions(residual="residual")
    )
    before, after = probe(folder / name), probe(results[name].outputs["vocals"])
    print(
        f"{name:14} {before.channels} channels, {before.sample_rate} Hz, {before.duration:.3f} s"
        f" -> {after.channels} channels, {after.sample_rate} Hz, {after.duration:.3f} s"
    )

# %%
# - A mono file gives mono stems, at its own sample rate and with its exact length.
# - Surround is mixed down to stereo by ITU-R BS.775, and the stems are stereo.
# - Of the film the sound track is read; the picture is left alone.
#
# With the residual, the written files sum to what was separated, to the rounding of the format:

figure, axes = plt.subplots(3, 1, figsize=(8, 5), layout="constrained")
for axis, (name, result) in zip(axes, results.items(), strict=True):
    parts = [read_audio(path).waveform for path in result.outputs.values()]
    total = sum(parts)
    axis.plot(total[0, ::50].numpy(), linewidth=0.6, label="sum of the files")
    axis.plot(parts[0][0, ::50].numpy(), linewidth=0.6, label="vocals")
    axis.set(title=name, xticks=[], ylabel="amplitude")
axes[0].legend(frameon=False, ncols=2, loc="upper right")
mono = read_audio(folder / "mono.wav").waveform
total = sum(read_audio(path).waveform for path in results["mono.wav"].outputs.values())
print(f"mono.wav: largest difference {(total - mono).abs().max():.1e} of full scale")

# %%
# Listen to the sound track of the film
# -------------------------------------

show(
    {name: read_audio(path).waveform for name, path in results["film.mp4"].outputs.items()},
    RATE,
    title="The film",
)
