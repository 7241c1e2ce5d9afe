r"""Augmentation of whole batches, on the device on which the networks are.

A batch comes as mixtures and sources that were recorded together. It is changed in this order:

1. *pitch and tempo*: some items are transposed and played faster or slower, all their sources
   alike, so that they stay in tune and in time;
2. *levels and sides*: each source gets a gain, its channels may be swapped, and mono is panned;
3. *remixing*: some sources move on to the next item, so that part of the mixtures is of sources
   that do not belong together.

What the mixture has beside the sources, such as the interferers of a single target, goes through
the same as one more source. Everything random comes from one generator.

Tempo is changed by a phase vocoder, :func:`stretch`, and pitch by a stretch and resampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Augmented", "BatchAugmentation", "resample_to", "shift", "stretch"]

_WINDOW, _HOP = 2048, 512


class Augmented(NamedTuple):
    """A batch after augmentation.

    Attributes
    ----------
    mixture : Tensor [shape=(batch, channels, samples)], real
        What the networks are given.
    sources : Tensor [shape=(batch, targets, channels, samples)], real
        What they are to estimate.
    bandwidth : Tensor [shape=(batch, targets)], optional
        Frequency in Hz above which a source says nothing.
    """

    mixture: Tensor
    sources: Tensor
    bandwidth: Tensor | None


@dataclass(frozen=True)
class BatchAugmentation:
    """How batches are changed; call it with a batch.

    Attributes
    ----------
    gain : tuple of float
        Least and largest factor of a source.
    swap : float
        Probability that the channels of a source are exchanged.
    pan : float
        How far mono sources are moved from the centre at most: 0 not at all, 1 to the sides.
    remix : float
        Probability that an item is mixed of sources of several items.
    changed : float
        Probability that pitch and tempo of an item are changed.
    semitones : float
        Largest change of pitch, up or down.
    tempo : float
        Largest change of tempo, as a part of it: 0.1 is up to 10 % faster or slower. The excerpts
        of all batches become shorter by this, as the fastest ones need more.
    sample_rate : float
        Hz, for the bandwidth of what is transposed.
    """

    gain: tuple[float, float] = (0.25, 1.25)
    swap: float = 0.5
    pan: float = 0.5
    remix: float = 0.5
    changed: float = 0.2
    semitones: float = 2.0
    tempo: float = 0.1
    sample_rate: float = 44100.0

    @torch.no_grad()
    def __call__(
        self,
        mixture: Tensor,
        sources: Tensor,
        generator: torch.Generator,
        bandwidth: Tensor | None = None,
    ) -> Augmented:
        """Change a batch; the arguments are those of :class:`Augmented` and a CPU generator."""
        rest = mixture - sources.sum(dim=1)
        parts = torch.cat([sources, rest[:, None]], dim=1)
        if bandwidth is not None:
            bandwidth = bandwidth.to(parts.device, copy=True)
        parts, bandwidth = self._change(parts, bandwidth, generator)
        parts = self._place(parts, generator)
        parts, bandwidth = self._remix(parts, bandwidth, generator)
        return Augmented(parts.sum(dim=1), parts[:, :-1], bandwidth)

    def _change(
        self, parts: Tensor, bandwidth: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Change pitch and tempo of some items."""
        if not (self.changed and (self.semitones or self.tempo)):
            return parts, bandwidth
        batch, samples = parts.shape[0], parts.shape[-1]
        drawn = torch.rand(batch, 3, generator=generator).tolist()
        length = math.floor(samples / (1 + self.tempo))
        changed = parts[..., :length].clone()
        for item, (chance, pitch, tempo) in enumerate(drawn):
            if chance >= self.changed:
                continue
            semitones = self.semitones * (2 * pitch - 1)
            faster = 1 + self.tempo * (2 * tempo - 1)
            changed[item] = shift(parts[item], semitones, faster)[..., :length]
            if bandwidth is None and semitones < 0:
                bandwidth = parts.new_full((batch, parts.shape[1] - 1), math.inf)
            if bandwidth is not None:
                # What is transposed downwards lacks what would have been above.
                highest = bandwidth[item].clamp(max=self.sample_rate / 2) * 2 ** (semitones / 12)
                limited = highest < self.sample_rate / 2
                bandwidth[item] = highest.where(limited, torch.full_like(highest, math.inf))
        return changed, bandwidth

    def _place(self, parts: Tensor, generator: torch.Generator) -> Tensor:
        """Draw gain, sides and panorama of every source."""
        drawn = torch.rand(*parts.shape[:2], 3, generator=generator).to(parts)
        low, high = self.gain
        gains = low + (high - low) * drawn[..., 0]
        if parts.shape[2] == 2:
            swapped = (drawn[..., 1] < self.swap)[..., None, None]
            is_mono = (parts[:, :, 0] == parts[:, :, 1]).all(dim=-1)
            angle = math.pi / 4 * (1 + self.pan * (2 * drawn[..., 2] - 1))
            sides = math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], dim=-1)
            sides = sides.where(is_mono[..., None], torch.ones_like(sides))
            parts = parts.flip(2).where(swapped, parts) * sides[..., None]
        return parts * gains[..., None, None]

    def _remix(
        self, parts: Tensor, bandwidth: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Move each source of some items by a number of items of its own."""
        batch, count = parts.shape[:2]
        chosen = torch.nonzero(torch.rand(batch, generator=generator) < self.remix).flatten()
        if len(chosen) < 2:
            return parts, bandwidth
        origin = torch.arange(batch)[:, None].repeat(1, count)
        for part in range(count):
            order = torch.randperm(len(chosen), generator=generator)
            origin[chosen, part] = chosen[order]
        origin = origin.to(parts.device)
        which = torch.arange(count, device=parts.device)
        mixed = parts[origin, which]
        if bandwidth is not None:
            bandwidth = bandwidth[origin[:, :-1], which[:-1]]
        return mixed, bandwidth


def shift(waveform: Tensor, semitones: float, faster: float = 1.0) -> Tensor:
    """Transpose a sound, and change its tempo.

    Parameters
    ----------
    waveform : Tensor [shape=(..., channels, samples)], real
        The sound.
    semitones : float
        By how much to transpose, upwards if positive.
    faster : float > 0
        Factor of the tempo.

    Returns
    -------
    Tensor [shape=(..., channels, samples)], real
        ``round(samples / faster)`` samples.

    Examples
    --------
    >>> shift(torch.zeros(2, 44100), semitones=1.0, faster=1.05).shape
    torch.Size([2, 42000])
    """
    length = round(waveform.shape[-1] / faster)
    ratio = 2 ** (semitones / 12)
    stretched = stretch(waveform, faster / ratio) if faster != ratio else waveform
    return resample_to(stretched, length)


def stretch(waveform: Tensor, faster: float) -> Tensor:
    r"""Change the tempo of a sound but not its pitch, by a phase vocoder [1]_.

    Frame :math:`t` of the result has the magnitudes of the sound at frame :math:`t f`, and goes on
    from the phases of frame :math:`t - 1` by what the sound's phases advance there in a hop. Phases
    are those of the channel that is the loudest at a frequency; what others differ from it by is
    kept, so that sounds stay where they are between left and right.

    Parameters
    ----------
    waveform : Tensor [shape=(..., channels, samples)], real
        The sound.
    faster : float > 0
        Factor :math:`f` of the tempo.

    Returns
    -------
    Tensor [shape=(..., channels, samples)], real
        ``round(samples / faster)`` samples.

    References
    ----------
    .. [1] J. L. Flanagan, R. M. Golden, "Phase vocoder", Bell System Technical Journal 45(9), 1966.
    """
    samples = waveform.shape[-1]
    length = max(1, round(samples / faster))
    window = torch.hann_window(_WINDOW, dtype=waveform.dtype, device=waveform.device)
    padded = torch.nn.functional.pad(waveform.reshape(-1, samples), (0, 2 * _WINDOW))
    spectra = torch.stft(
        padded, _WINDOW, _HOP, window=window, center=True, pad_mode="constant", return_complex=True
    )
    spectra = spectra.reshape(*waveform.shape[:-1], *spectra.shape[1:])
    frames = math.ceil(length / _HOP) + 1
    place = torch.arange(frames, device=waveform.device, dtype=torch.float64) * faster
    first = place.floor().long().clamp(max=spectra.shape[-1] - 2)
    weight = (place - first).to(waveform.dtype)
    before, after = spectra[..., first], spectra[..., first + 1]
    loudest = spectra.abs().square().sum(dim=-1, keepdim=True).argmax(dim=-3, keepdim=True)
    leading = torch.take_along_dim(spectra, loudest, dim=-3)
    begin, end = leading[..., first], leading[..., first + 1]
    advance = torch.angle(end * begin.conj())
    # The first frame keeps its phase; each one after it adds the advance of the one before.
    phase = torch.cat([begin[..., :1].angle(), advance[..., :-1]], dim=-1).cumsum(dim=-1)
    turn = torch.sgn(before * begin.conj()) * torch.polar(torch.ones_like(phase), phase)
    spectra = torch.lerp(before.abs(), after.abs(), weight) * turn
    result = torch.istft(spectra.flatten(0, -3), _WINDOW, _HOP, window=window, length=length)
    return result.reshape(*waveform.shape[:-1], length)


def resample_to(waveform: Tensor, length: int) -> Tensor:
    """Resample a sound to a number of samples, by its Fourier transform.

    Parameters
    ----------
    waveform : Tensor [shape=(..., samples)], real
        The sound.
    length : int > 0
        Samples of the result, which lasts as long as the sound: at a higher sample rate if there
        are more of them, and without what the new rate cannot have if there are fewer.

    Returns
    -------
    Tensor [shape=(..., samples)], real
        The sound, as if what is after its end were before its beginning.
    """
    samples = waveform.shape[-1]
    if samples == length:
        return waveform
    kept = torch.fft.rfft(waveform)[..., : length // 2 + 1]
    result: Tensor = torch.fft.irfft(kept, length) * (length / samples)
    return result
