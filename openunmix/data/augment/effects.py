"""What augmentation does to waveforms, on whole batches: an implementation of each effect.

Waveforms have the axes (..., channels, samples); amounts are numbers, or tensors with the leading
axes. Nothing is random here but :func:`draw_effects`, :func:`impulse_response`'s noise is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

_WINDOW, _HOP = 2048, 512  # of the phase vocoder
# Half periods of the cosines that an equaliser's curve is made of, from LOWEST Hz to Nyquist.
_WAVES = 5
_LOWEST = 60.0
_LONGEST_REVERB = 1.6  # seconds


def _smooth_numbers(limit: int) -> np.ndarray:
    """Numbers below a limit whose only prime factors are 2, 3, 5 and 7, sorted."""
    found = [1]
    for factor in (2, 3, 5, 7):
        for number in found:  # grows on the way
            if number * factor < limit:
                found.append(number * factor)
    return np.unique(found)


#: Lengths for which the FFT is fast.
FAST_LENGTHS = _smooth_numbers(2**31)


@dataclass(frozen=True)
class Effects:
    """How likely the stems of a source are changed, and by how much.

    Few singers have free stems; an overdriven, doubled or reverberant voice is another one to a
    network, and so is a choir of two. Mono stems are taken to be unprocessed, or dry. All but
    ``drive`` and ``transpose`` are probabilities.
    """

    layer: float = 0.0  # a second excerpt of the same source
    overdrive: float = 0.0
    drive: float = 3.0  # the largest, see openunmix.data.augment.effects.overdrive
    double_tracking: float = 0.0
    double_tracking_dry: float = 0.0
    reverb: float = 0.0
    reverb_dry: float = 0.0
    transpose: float = 0.0  # largest change of pitch and speed in semitones, of half the excerpts


#: Effects by name: for singing, for all that is played with it, and for noises.
EFFECTS = {
    "voice": Effects(
        layer=0.25,
        overdrive=0.25,
        double_tracking=0.12,
        double_tracking_dry=0.5,
        reverb=0.15,
        reverb_dry=0.7,
        transpose=3.0,
    ),
    "band": Effects(layer=0.3, overdrive=0.2, drive=6.0),
    "layers": Effects(layer=0.2),
}


class EffectDraws(NamedTuple):
    """Amounts of effects for every item of a batch, arrays of shape (batch,); 0 for none."""

    drive: np.ndarray
    delay: np.ndarray  # of the double, in seconds
    double_gain: np.ndarray
    width: np.ndarray
    decay: np.ndarray  # time in seconds in which reverberation falls by 60 dB
    pre_delay: np.ndarray  # seconds
    wet: np.ndarray
    seed: np.ndarray  # of the noise that the impulse response is made of

    def take(self, items: np.ndarray) -> EffectDraws:
        """Those of some items."""
        return EffectDraws(*(amounts[items] for amounts in self))


def draw_effects(effects: Effects, is_dry: np.ndarray, rng: np.random.Generator) -> EffectDraws:
    """Draw which effects the items of a batch get; ``is_dry`` has the shape (batch,)."""
    size = len(is_dry)

    def drawn(low: float, high: float, chance: float | np.ndarray = 1.0) -> np.ndarray:
        return rng.uniform(low, high, size) * (rng.random(size) < chance)

    double = np.where(is_dry, effects.double_tracking_dry, effects.double_tracking)
    reverb = np.where(is_dry, effects.reverb_dry, effects.reverb)
    return EffectDraws(
        drive=drawn(0.5, effects.drive, effects.overdrive),
        delay=drawn(0.008, 0.035, double),
        double_gain=drawn(0.4, 1.0),
        width=drawn(0.0, 0.9, 0.5),
        decay=drawn(0.3, _LONGEST_REVERB, reverb),
        pre_delay=drawn(0.0, 0.04),
        wet=drawn(0.1, 0.6),
        seed=rng.integers(2**31, size=size),
    )


def apply_effects(waveforms: Tensor, draws: EffectDraws, sample_rate: float) -> Tensor:
    """Change waveforms (batch, 2, samples) by overdrive, double tracking and reverberation."""
    chosen = [np.flatnonzero(values) for values in (draws.drive, draws.delay, draws.decay)]
    if not any(map(len, chosen)):
        return waveforms
    changed = waveforms.clone()
    driven, doubled, wet = (torch.from_numpy(items).to(waveforms.device) for items in chosen)

    def amounts(values: np.ndarray, items: Tensor) -> Tensor:
        return torch.from_numpy(values).to(waveforms)[items]

    if len(driven):
        changed[driven] = overdrive(changed[driven], amounts(draws.drive, driven))
    if len(doubled):
        delay = (amounts(draws.delay, doubled) * sample_rate).round().long()
        gain, width = amounts(draws.double_gain, doubled), amounts(draws.width, doubled)
        changed[doubled] = double_track(changed[doubled], delay, gain, width)
    if len(wet):
        decay, pre_delay = amounts(draws.decay, wet), amounts(draws.pre_delay, wet)
        noise = _noise(draws.seed[chosen[2]], round(draws.decay.max() * sample_rate), waveforms)
        response = impulse_response(noise, decay, pre_delay, sample_rate)
        changed[wet] = reverberate(changed[wet], response, amounts(draws.wet, wet))
    return changed


def _noise(seeds: np.ndarray, samples: int, like: Tensor) -> Tensor:
    """White noise (batch, 2, samples) that follows from a seed for each item."""
    found = []
    for seed in seeds.tolist():
        generator = torch.Generator(like.device).manual_seed(seed)
        # As columns, so that shorter noise is the beginning of longer one.
        found.append(torch.randn(samples, 2, generator=generator, device=like.device).T)
    return torch.stack(found).to(like)


def _amount(value: float | Tensor) -> float | Tensor:
    """Give amounts (...) axes for channels and samples."""
    return value[..., None, None] if isinstance(value, Tensor) else value


def swap_channels(waveforms: Tensor, swapped: Tensor) -> Tensor:
    """Exchange left and right where ``swapped``, boolean (...), says so."""
    return waveforms.flip(-2).where(swapped[..., None, None], waveforms)


def pan_gains(position: Tensor) -> Tensor:
    r"""Gains (..., 2) of constant power, :math:`\sqrt 2 (\cos a, \sin a)`, for mono sources.

    The position (...) is -1 on the left, 0 in the centre, where both gains are 1, and 1 on the
    right: :math:`a = \pi / 4 (1 + p)`.
    """
    angle = math.pi / 4 * (1 + position)
    return math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], dim=-1)


def overdrive(waveforms: Tensor, drive: float | Tensor) -> Tensor:
    r"""Clip softly, :math:`\tanh(d x / r)`, with the root mean square :math:`r`, which is kept.

    >>> overdrive(torch.tensor([[0.1, -0.1, 0.2, -0.2]]), 6.0)
    tensor([[ 0.1580, -0.1580,  0.1582, -0.1582]])
    """
    level = _level(waveforms)
    clipped = torch.tanh(_amount(drive) * waveforms / level)
    return clipped * (level / _level(clipped))


def _level(waveforms: Tensor) -> Tensor:
    """Root mean square (..., 1, 1); a little more than 0 for silence."""
    return waveforms.square().mean(dim=(-2, -1), keepdim=True).clamp(min=1e-18).sqrt()


def double_track(
    waveforms: Tensor, delay: int | Tensor, gain: float | Tensor, width: float | Tensor
) -> Tensor:
    """Add waveforms (..., 2, samples) to themselves ``delay`` samples later.

    A stereo width of 0 has both in the centre, of 1 the first on the left and the second on the
    right alone.
    """
    delays = torch.as_tensor(delay, device=waveforms.device)[..., None, None]
    time = torch.arange(waveforms.shape[-1], device=waveforms.device) - delays
    second = waveforms.gather(-1, time.clamp(min=0).expand(waveforms.shape)) * (time >= 0)
    second = _amount(gain) * second
    near = 1 - (width[..., None] if isinstance(width, Tensor) else width)
    (left, right), (later_left, later_right) = waveforms.unbind(-2), second.unbind(-2)
    return torch.stack([left + near * later_left, near * right + later_right], dim=-2)


def impulse_response(
    noise: Tensor, decay: float | Tensor, pre_delay: float | Tensor, sample_rate: float
) -> Tensor:
    """Impulse responses of rooms without direct sound, of energy 1 in each channel.

    White noise (..., channels, samples) falls by 60 dB in ``decay`` seconds, after ``pre_delay``
    seconds of silence.
    """
    time = torch.arange(noise.shape[-1], device=noise.device) / sample_rate
    response = noise * torch.exp(-math.log(1000) * time / _amount(decay))
    response = response * (time >= _amount(pre_delay))
    return response / response.square().sum(dim=-1, keepdim=True).sqrt()


def reverberate(waveforms: Tensor, response: Tensor, wet: float | Tensor) -> Tensor:
    """Add to waveforms their convolution with an impulse response, times ``wet``."""
    samples = waveforms.shape[-1]
    size = int(FAST_LENGTHS[np.searchsorted(FAST_LENGTHS, samples + response.shape[-1])])
    spectrum = torch.fft.rfft(waveforms, size) * torch.fft.rfft(response, size)
    reverberation: Tensor = torch.fft.irfft(spectrum, size)[..., :samples]
    return waveforms + _amount(wet) * reverberation


def equaliser_gains(
    count: int, bins: int, sample_rate: float, spread: float, generator: torch.Generator
) -> Tensor:
    r"""Draw gains (count, bins) that are smooth over the logarithm of frequency.

    .. math:: 20 \log_{10} g(f) = \sigma \sqrt{2/K} \sum_{k=1}^K z_k \cos(\pi k\, p(f))

    with standard normal :math:`z_k`, a standard deviation :math:`\sigma` in dB (``spread``), and
    the position :math:`p` of a frequency from 0, at 60 Hz and below, to 1, at half the sample rate.
    Bins are equally spaced from 0 to half the sample rate. The generator is one of the CPU.

    >>> gains = equaliser_gains(2, 5, 44100, spread=0.0, generator=torch.Generator())
    >>> gains.shape, bool((gains == 1).all())
    (torch.Size([2, 5]), True)
    """
    frequencies = torch.linspace(0, sample_rate / 2, bins).clamp(min=_LOWEST)
    position = (frequencies / _LOWEST).log() / math.log(sample_rate / 2 / _LOWEST)
    waves = torch.cos(math.pi * torch.arange(1, _WAVES + 1)[:, None] * position)
    drawn = torch.randn(count, _WAVES, generator=generator)
    decibels = spread * math.sqrt(2 / _WAVES) * drawn @ waves
    return 10 ** (decibels / 20)


def pitch_shift(waveform: Tensor, semitones: float, tempo: float = 1.0) -> Tensor:
    """Transpose by semitones, and play ``tempo`` times as fast: ``round(samples / tempo)`` samples.

    >>> pitch_shift(torch.zeros(2, 44100), semitones=1.0, tempo=1.05).shape
    torch.Size([2, 42000])
    """
    length = round(waveform.shape[-1] / tempo)
    ratio = 2 ** (semitones / 12)
    stretched = time_stretch(waveform, tempo / ratio) if tempo != ratio else waveform
    return resample_to(stretched, length)


def time_stretch(waveform: Tensor, tempo: float) -> Tensor:
    r"""Change the tempo but not the pitch by a phase vocoder [1]_: ``round(samples / tempo)``.

    Frame :math:`t` of the result has the magnitudes at frame :math:`t f` for the tempo :math:`f`,
    and advances the phases of frame :math:`t - 1` by the phase difference of one hop there. Phases
    are those of the channel that is the loudest at a frequency; the differences of the others to it
    are kept, so that sources keep their position between left and right.

    References
    ----------
    .. [1] J. L. Flanagan, R. M. Golden, "Phase vocoder", Bell System Technical Journal 45(9), 1966.
    """
    samples = waveform.shape[-1]
    length = max(1, round(samples / tempo))
    window = torch.hann_window(_WINDOW, dtype=waveform.dtype, device=waveform.device)
    padded = pad(waveform.reshape(-1, samples), (0, 2 * _WINDOW))
    spectra = torch.stft(
        padded, _WINDOW, _HOP, window=window, center=True, pad_mode="constant", return_complex=True
    )
    spectra = spectra.reshape(*waveform.shape[:-1], *spectra.shape[1:])
    frames = math.ceil(length / _HOP) + 1
    place = torch.arange(frames, device=waveform.device, dtype=torch.float64) * tempo
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
    """Resample waveforms (..., samples) to another length by the FFT, taking them as periodic.

    Frequencies above the new Nyquist frequency are left out.
    """
    samples = waveform.shape[-1]
    if samples == length:
        return waveform
    # Normalised by the length before, as amplitudes stay: 1 / length * (length / samples).
    kept = torch.fft.rfft(waveform, norm="forward")[..., : length // 2 + 1]
    result: Tensor = torch.fft.irfft(kept, length, norm="forward")
    return result
