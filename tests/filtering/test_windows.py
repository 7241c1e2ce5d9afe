"""Windows of the Wiener filter, disjoint and overlapping."""

from __future__ import annotations

import pytest
import torch
from helpers import checks as compare
from helpers import sounds as synth

from openunmix.filtering._fast import WienerFilter, WindowedFilter
from openunmix.predict.stream import EngineConfig, separate_blocks, separate_waveform


def difference(actual, expected):
    """Return the largest difference of real or complex tensors, relative to the largest value."""
    if actual.is_complex():
        actual, expected = torch.view_as_real(actual), torch.view_as_real(expected)
    return compare.difference(actual, expected)


def frames(count, generator):
    """Magnitudes of two targets, and a mixture."""
    mixture = torch.randn(count, 2, 9, dtype=torch.complex64, generator=generator)
    return torch.rand(2, count, 2, 9, generator=generator) * mixture.abs(), mixture


def run(windows, magnitudes, mixture, step):
    parts = [
        windows.push(m, x).clone()
        for m, x in zip(magnitudes.split(step, dim=1), mixture.split(step), strict=True)
    ]
    last = windows.finish()
    return torch.cat(parts if last is None else [*parts, last], dim=1)


def test_windows_without_overlap_are_on_their_own(generator):
    magnitudes, mixture = frames(50, generator)
    estimates = run(WindowedFilter(WienerFilter(), 0), magnitudes, mixture, 20)
    alone = [WienerFilter()(magnitudes[:, a : a + 20], mixture[a : a + 20]) for a in (0, 20, 40)]
    assert torch.equal(estimates, torch.cat(alone, dim=1))


@pytest.mark.parametrize("overlap", [1, 5, 20, 35])
def test_estimates_of_overlapping_windows_sum_to_the_mixture(overlap, generator):
    magnitudes, mixture = frames(53, generator)
    estimates = run(WindowedFilter(WienerFilter(residual=True), overlap), magnitudes, mixture, 10)
    assert estimates.shape == (3, 53, 2, 9)
    assert difference(estimates.sum(dim=0), mixture) < 1e-3


def test_estimates_fade_from_window_to_window(generator):
    magnitudes, mixture = frames(20, generator)
    estimates = run(WindowedFilter(WienerFilter(), 4), magnitudes, mixture, 10)
    first = WienerFilter()(magnitudes[:, :10], mixture[:10])
    second = WienerFilter()(magnitudes[:, 6:], mixture[6:])
    assert torch.equal(estimates[:, :6], first[:, :6])
    assert difference(estimates[:, 10:], second[:, 4:]) < 1e-6
    for frame, weight in enumerate([0.2, 0.4, 0.6, 0.8]):
        mixed = (1 - weight) * first[:, 6 + frame] + weight * second[:, frame]
        assert difference(estimates[:, 6 + frame], mixed) < 1e-5


@pytest.mark.parametrize("samples", [1, 700, 9000])
def test_engine_overlaps_windows_however_the_signal_is_cut(tiny_separator, samples):
    separator, audio = tiny_separator(wiener_win_len=20, residual=True), synth.mixture(samples)
    config = EngineConfig(block=60, sequence=30, context=10, overlap=8)
    estimates = separate_waveform(separator, audio, config)
    assert estimates.shape == (3, 2, samples)
    assert difference(estimates.sum(dim=0), audio) < 1e-2
    whole, parts = (
        torch.cat(list(separate_blocks(separator, blocks, config)), dim=-1)
        for blocks in ([audio], audio.split(333, dim=-1))
    )
    assert difference(parts, whole) < 1e-4


def test_one_window_has_nothing_to_overlap(tiny_separator):
    separator, audio = tiny_separator(wiener_win_len=None), synth.mixture(3000)
    plain = separate_waveform(separator, audio)
    assert difference(separate_waveform(separator, audio, EngineConfig(overlap=8)), plain) < 1e-6


def test_overlap_as_long_as_the_window_is_refused(tiny_separator):
    separator = tiny_separator(wiener_win_len=20)
    with pytest.raises(ValueError, match="overlap=20"):
        separate_waveform(separator, synth.mixture(1000), EngineConfig(overlap=20))
