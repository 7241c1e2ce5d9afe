"""What studios do to recordings, drawn at random: one voice sounds like many.

Singers are few where their stems are free. An overdriven, doubled or reverberant voice is
another one to a network, and so is a choir of two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["STUDIOS", "Studio", "doubled", "overdriven", "produced", "reverberant", "room"]


@dataclass(frozen=True)
class Studio:
    """How likely the recordings of a source are changed, and by how much.

    Attributes
    ----------
    layer : float
        Probability that a second excerpt of the same source is added.
    overdrive : float
        Probability of overdrive.
    drive : float
        Largest drive, see :func:`overdriven`.
    double, double_dry : float
        Probability of a double; of recordings with two equal channels, which nobody has worked on.
    reverb, reverb_dry : float
        The same of reverberation.
    transpose : float
        Largest change of speed and pitch of half of the excerpts, in semitones.
    """

    layer: float = 0.0
    overdrive: float = 0.0
    drive: float = 3.0
    double: float = 0.0
    double_dry: float = 0.0
    reverb: float = 0.0
    reverb_dry: float = 0.0
    transpose: float = 0.0


#: Studios by name: for singing, and for all that is played with it.
STUDIOS = {
    "voice": Studio(
        layer=0.25,
        overdrive=0.25,
        double=0.12,
        double_dry=0.5,
        reverb=0.15,
        reverb_dry=0.7,
        transpose=3.0,
    ),
    "band": Studio(layer=0.3, overdrive=0.2, drive=6.0),
}


def produced(
    recording: Tensor, dry: bool, studio: Studio, sample_rate: float, rng: np.random.Generator
) -> Tensor:
    """Change a recording as a studio might have.

    Parameters
    ----------
    recording : Tensor [shape=(2, samples)], real
        The recording.
    dry : bool
        Whether nobody has worked on it yet.
    studio : Studio
        How likely what is.
    sample_rate : float
        Hz.
    rng : numpy.random.Generator
        What draws.

    Returns
    -------
    Tensor [shape=(2, samples)], real
        The changed recording, about as loud.
    """
    if rng.random() < studio.overdrive:
        recording = overdriven(recording, rng.uniform(0.5, studio.drive))
    if rng.random() < (studio.double_dry if dry else studio.double):
        delay = round(rng.uniform(0.008, 0.035) * sample_rate)
        apart = rng.uniform(0, 0.9) * (rng.random() < 0.5)
        recording = doubled(recording, delay, rng.uniform(0.4, 1.0), apart)
    if rng.random() < (studio.reverb_dry if dry else studio.reverb):
        response = room(rng.uniform(0.3, 1.6), rng.uniform(0, 0.04), sample_rate, rng)
        recording = reverberant(recording, response, rng.uniform(0.1, 0.6))
    return recording


def overdriven(recording: Tensor, drive: float | Tensor) -> Tensor:
    r"""Clip a recording softly, :math:`\tanh(d x / r)`, with its root mean square :math:`r`.

    Parameters
    ----------
    recording : Tensor [shape=(..., channels, samples)], real
        The recording, or several.
    drive : float, or Tensor [shape=(..., 1, 1)]
        The drive :math:`d`.

    Returns
    -------
    Tensor [shape=(..., channels, samples)], real
        As loud as the recording.

    Examples
    --------
    >>> overdriven(torch.tensor([[0.1, -0.1, 0.2, -0.2]]), 6.0)
    tensor([[ 0.1580, -0.1580,  0.1582, -0.1582]])
    """
    level = _level(recording)
    clipped = torch.tanh(drive * recording / level)
    return clipped * level / _level(clipped)


def doubled(recording: Tensor, delay: int, gain: float, apart: float) -> Tensor:
    """Add a recording to itself a little later.

    Parameters
    ----------
    recording : Tensor [shape=(2, samples)], real
        The recording.
    delay : int
        Samples between both.
    gain : float
        Factor of the second one.
    apart : float
        0 for both on both sides, 1 for the first on the left and the second on the right alone.

    Returns
    -------
    Tensor [shape=(2, samples)], real
        Both.
    """
    second = gain * pad(recording, (delay, 0))[:, : recording.shape[1]]
    near = 1 - apart
    return torch.stack([recording[0] + near * second[0], near * recording[1] + second[1]])


def room(seconds: float, gap: float, sample_rate: float, rng: np.random.Generator) -> Tensor:
    """Draw the response of a room: noise that falls by 60 dB.

    Parameters
    ----------
    seconds : float
        Time in which it falls.
    gap : float
        Seconds before the first reflection.
    sample_rate : float
        Hz.
    rng : numpy.random.Generator
        What draws the noise.

    Returns
    -------
    Tensor [shape=(2, samples)], real
        A response for each channel, of power 1, without the direct sound.
    """
    samples = max(round(seconds * sample_rate), 1)
    noise = torch.from_numpy(rng.standard_normal((2, samples), dtype=np.float32))
    response = noise * torch.logspace(0, -3, samples)
    response[:, : min(round(gap * sample_rate), samples - 1)] = 0
    return response / response.square().sum(dim=1, keepdim=True).sqrt()


def reverberant(recording: Tensor, response: Tensor, gain: float | Tensor) -> Tensor:
    """Add what a room answers.

    Parameters
    ----------
    recording, response : Tensor [shape=(..., channels, samples)], real
        The recording, or several, and the response of each one's room.
    gain : float, or Tensor [shape=(..., 1, 1)]
        Factor of the answer.

    Returns
    -------
    Tensor [shape=(..., channels, samples)], real
        As long as the recording.
    """
    samples = recording.shape[-1]
    size = 1 << (samples + response.shape[-1] - 1).bit_length()
    spectrum = torch.fft.rfft(recording, size) * torch.fft.rfft(response, size)
    answer: Tensor = torch.fft.irfft(spectrum, size)
    return recording + gain * answer[..., :samples]


def _level(recording: Tensor) -> Tensor:
    """Root mean square (..., 1, 1); a little more than 0 for silence."""
    return recording.square().mean(dim=(-2, -1), keepdim=True).clamp(min=1e-18).sqrt()
