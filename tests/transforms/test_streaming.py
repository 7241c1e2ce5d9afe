"""Transform and inverse in blocks: the same as in one piece, however a signal is cut."""

from __future__ import annotations

import pytest
import torch
from helpers import sounds as synth
from hypothesis import given, settings
from hypothesis import strategies as st

from openunmix.transforms.fourier import istft, stft
from openunmix.transforms.streaming import Analysis, Synthesis

CPU = torch.device("cpu")


def pieces(signal, cuts):
    """Cut a signal at the given samples."""
    return signal.tensor_split(sorted(cuts), dim=-1)


def analyse(blocks, n_fft, n_hop):
    """Return the frames (frames, channels, bins) of a signal in blocks."""
    analysis = Analysis(len(blocks[0]), n_fft, n_hop, CPU)
    frames = [analysis.push(block) for block in blocks]
    return torch.cat([*frames, analysis.finish()])


def synthesise(spectra, n_fft, n_hop, samples):
    """Return the signal (channels, samples) of frames in blocks."""
    synthesis = Synthesis(n_fft, n_hop, CPU)
    parts = [synthesis.push(block) for block in spectra if len(block)]
    parts.append(synthesis.finish(samples - sum(part.shape[-1] for part in parts)))
    return torch.cat(parts, dim=-1)[..., :samples]


lengths = st.integers(1, 600)
windows = st.sampled_from([(64, 16), (64, 32), (60, 20), (64, 24), (128, 32)])


@settings(deadline=None, max_examples=60)
@given(lengths, windows, st.lists(st.integers(0, 600), max_size=6))
def test_blocks_give_the_frames_of_the_whole(samples, window, cuts):
    signal = synth.noise(samples)
    frames = analyse(pieces(signal, [min(cut, samples) for cut in cuts]), *window)
    expected = stft(signal, *window).permute(2, 0, 1)
    torch.testing.assert_close(frames, expected, atol=1e-6, rtol=0)


@settings(deadline=None, max_examples=60)
@given(lengths, windows, st.lists(st.integers(0, 40), max_size=4))
def test_blocks_of_frames_give_the_signal_of_the_whole(samples, window, cuts):
    spectrum = stft(synth.noise(samples), *window) * (1 + 1j)
    frames = spectrum.permute(2, 0, 1)
    blocks = frames.tensor_split(sorted(min(cut, len(frames)) for cut in cuts))
    expected = istft(spectrum, *window, length=samples)
    torch.testing.assert_close(synthesise(blocks, *window, samples), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("samples", [1, 2, 63, 64, 65, 127, 128, 1000])
def test_analysis_and_synthesis_return_the_signal(samples):
    signal = synth.noise(samples, channels=3)
    frames = analyse(list(signal.split(7, dim=-1)), 128, 32)
    restored = synthesise(frames.split(3), 128, 32, samples)
    torch.testing.assert_close(restored, signal, atol=1e-6, rtol=0)


def test_leading_axes_are_signals_of_their_own():
    synthesis = Synthesis(64, 16, CPU)
    blocks = analyse([synth.noise(500)], 64, 16).split(5)
    pair = torch.cat([synthesis.push(torch.stack([x, 2 * x])) for x in blocks], dim=-1)
    assert pair.shape[:2] == (2, 2)
    torch.testing.assert_close(pair[1], 2 * pair[0])


def test_blocks_are_left_as_they_were():
    signal = synth.noise(300)
    before = signal.clone()
    analysis = Analysis(2, 64, 16, CPU)
    frames = analysis.push(signal)
    kept = frames.clone()
    Synthesis(64, 16, CPU).push(frames)
    assert torch.equal(signal, before)
    assert torch.equal(frames, kept)


def test_memory_of_a_long_signal_is_that_of_a_window():
    analysis, synthesis = Analysis(1, 64, 16, CPU), Synthesis(64, 16, CPU)
    for block in synth.noise(5000, channels=1).split(500, dim=-1):
        synthesis.push(analysis.push(block))
        assert sum(block.untyped_storage().nbytes() for block in analysis._pending) <= 4 * 64
        assert synthesis._carry.untyped_storage().nbytes() <= 4 * 64
