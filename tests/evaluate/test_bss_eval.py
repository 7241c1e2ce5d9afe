"""BSS Eval v4: museval itself is the oracle; beside it, values that can be worked out by hand."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from helpers import sounds as synth
from helpers.museval_reference import museval_scores
from hypothesis import given, settings
from hypothesis import strategies as st

from openunmix.audio import read_audio
from openunmix.evaluate import find_tracks
from openunmix.evaluate.bss_eval import bss_eval

RATE = 8000
SONG = "The Easton Ellises - Falcon 69"


def stems(samples, targets=2, channels=2):
    """Make sources of noise."""
    return torch.stack([synth.noise(samples, channels, seed) for seed in range(targets)])


def leaky(references, leak=0.3, noise=0.1):
    """Make estimates with interference, filtering and artifacts."""
    artifacts = stems(references.shape[-1] + 99, *references.shape[:2])[..., 99:].flip(0)
    return 0.9 * references + leak * references.roll((1, 3), (0, 2)) + noise * artifacts


def assert_as_museval(references, estimates, sample_rate=RATE, tolerance=1e-6, **settings):
    """Assert equality, also of the frames that are not defined."""
    ours = bss_eval(references, estimates, sample_rate, **settings)
    theirs = museval_scores(references, estimates, sample_rate, **settings)
    for score, expected in zip(ours, theirs, strict=True):
        expected = torch.from_numpy(expected)
        torch.testing.assert_close(score, expected, atol=tolerance, rtol=0, equal_nan=True)
    return ours


@settings(max_examples=4, deadline=None)
@given(
    targets=st.integers(1, 2),
    channels=st.integers(1, 2),
    samples=st.integers(2000, 12000),
    window=st.sampled_from([0.25, 1.0, 2.0]),
    hop=st.sampled_from([0.3, 1.0]),
)
def test_equals_museval_on_noise_of_any_length(targets, channels, samples, window, hop):
    references = stems(samples, targets, channels)
    estimates = leaky(references) if targets > 1 else references + leaky(references).flip(-1)
    # With one target there is no interference: both compute the ratio to rounding errors.
    ours = bss_eval(references, estimates, RATE, window, hop)
    theirs = museval_scores(references, estimates, RATE, window, hop)
    for name, score, expected in zip(ours._fields, ours, theirs, strict=True):
        if targets > 1 or name != "sir":
            expected = torch.from_numpy(expected)
            torch.testing.assert_close(score, expected, atol=1e-6, rtol=0)


def song(folder):
    """Read the song in stempeg as a track of MUSDB18, which has 16 bits, and as AAC decodes it.

    In the third second one stem is silent.
    """
    found = importlib.util.find_spec("stempeg")
    path = found and Path(found.origin).with_name("data") / f"{SONG}.stem.mp4"
    if not path or not path.exists():
        pytest.skip("the song of stempeg is not here")
    (folder / "test").mkdir()
    (folder / "test" / path.name).symlink_to(path)
    (track,) = find_tracks(folder)
    read = track.read().stacked
    decoded = torch.stack([read_audio(path, stream=number).waveform for number in (1, 2, 3, 4)])
    for stems_of_song in (read, decoded):
        stems_of_song[1, :, 2 * 44100 : 3 * 44100] = 0
    return read, decoded


def with_errors(references):
    """Make estimates of a song with interference, filtering and artifacts."""
    noise = stems(references.shape[-1], len(references))
    return 0.9 * references + 0.2 * references.roll((1, 5), (0, 2)) + 0.01 * noise


def test_equals_museval_on_a_real_song(tmp_path):
    references, _ = song(tmp_path)
    scores = assert_as_museval(references, with_errors(references), 44100, tolerance=1e-3)
    for score in scores:
        assert score.isnan().any(dim=0).tolist() == [False, False, True, False, False, False]


def test_equals_museval_on_stems_without_treble(tmp_path):
    # AAC leaves out the highest octave, so without the noise of 16 bits the equations are singular
    # to working precision. Then museval is 0.01 dB from itself in SIR on another processor.
    _, decoded = song(tmp_path)
    references = decoded[[1, 3], :, : 2 * 44100]
    estimates = with_errors(references)
    ours = bss_eval(references, estimates, 44100)
    theirs = [torch.from_numpy(score) for score in museval_scores(references, estimates, 44100)]
    for score, expected, tolerance in zip(ours, theirs, (1e-6, 1e-3, 0.05, 0.05), strict=True):
        torch.testing.assert_close(score, expected, atol=tolerance, rtol=0)


def test_equals_museval_where_both_channels_of_a_stem_are_the_same():
    references = stems(8000)
    references[0, 1] = references[0, 0]
    assert_as_museval(references, leaky(references), tolerance=0.01)


def test_equals_museval_where_a_channel_is_silent():
    references = stems(8000)
    references[0, 1] = 0
    assert_as_museval(references, leaky(references), tolerance=0.01)


@pytest.mark.parametrize("kind", ["reference", "estimate", "cancelling channels"])
def test_frames_with_a_silent_signal_are_undefined_as_in_museval(kind):
    references = stems(3 * RATE)
    estimates = leaky(references)
    second = slice(RATE, 2 * RATE)
    if kind == "reference":
        references[1, :, second] = 0
    elif kind == "estimate":
        estimates[0, :, second] = 0
    else:
        references[1, 1, second] = -references[1, 0, second]
    scores = assert_as_museval(references, estimates)
    for score in scores:
        assert score[:, 1].isnan().all()
        assert score[:, [0, 2]].isfinite().all()


def test_windows_that_overlap_and_signals_shorter_than_one():
    references = stems(20000)
    scores = assert_as_museval(references, leaky(references), window=1.0, hop=0.5)
    assert scores.sdr.shape == (2, 4)
    assert assert_as_museval(references[..., :5000], leaky(references)[..., :5000]).sdr.shape == (
        2,
        1,
    )


def test_error_of_a_tenth_is_twenty_decibels():
    references = stems(2 * RATE)
    scores = bss_eval(references, 0.9 * references, RATE)
    twenty = torch.full((2, 2), 20.0, dtype=torch.float64)
    torch.testing.assert_close(scores.sdr, twenty, atol=1e-5, rtol=0)
    # A factor is a filter: there is spatial distortion, but no interference and no artifact.
    torch.testing.assert_close(scores.isr, twenty, atol=1e-5, rtol=0)
    assert scores.sir.min() > 100
    assert scores.sar.min() > 100


def test_perfect_estimates_have_no_error():
    references = stems(RATE)
    assert bss_eval(references, references, RATE).sdr.tolist() == [[math.inf], [math.inf]]


def test_arguments_are_not_changed():
    references = stems(9000)
    estimates = leaky(references)
    copies = references.clone(), estimates.clone()
    bss_eval(references, estimates, RATE)
    assert torch.equal(references, copies[0])
    assert torch.equal(estimates, copies[1])


def test_signals_may_be_lists_which_saves_a_copy():
    references = stems(9000, targets=3)
    estimates = leaky(references)
    from_lists = bss_eval(list(references), list(estimates), RATE)
    for score, expected in zip(from_lists, bss_eval(references, estimates, RATE), strict=True):
        assert torch.equal(score, expected)


def test_order_of_targets_does_not_matter():
    references = stems(9000, targets=3)
    estimates = leaky(references)
    order = [2, 0, 1]
    for score, permuted in zip(
        bss_eval(references, estimates, RATE),
        bss_eval(references[order], estimates[order], RATE),
        strict=True,
    ):
        torch.testing.assert_close(score[order], permuted, atol=1e-8, rtol=0)


def test_signals_that_cannot_be_compared_are_refused():
    references = stems(1000)
    with pytest.raises(ValueError, match=r"\(2, 1000\)\], estimates \[\(2, 999\)"):
        bss_eval(references, references[..., :999], RATE)
    with pytest.raises(ValueError, match="not empty"):
        bss_eval(references[..., :0], references[..., :0], RATE)
    unlike = [references[0], references[1, :, :999]]
    with pytest.raises(ValueError, match="the same"):
        bss_eval(unlike, unlike, RATE)
    with pytest.raises(ValueError, match="not empty"):
        bss_eval([], [], RATE)
    broken = references.clone()
    broken[1, 0, 5] = math.nan
    with pytest.raises(ValueError, match=r"estimate 1 .*not finite"):
        bss_eval(references, broken, RATE)
    with pytest.raises(ValueError, match="reference 0 is silent"):
        bss_eval(references * torch.tensor([0.0, 1.0])[:, None, None], references, RATE)
    with pytest.raises(ValueError, match="window=0"):
        bss_eval(references, references, RATE, window=0)
    with pytest.raises(ValueError, match="less than a sample"):
        bss_eval(references, references, RATE, hop=1e-5)
