"""Streaming separation: the numbers of the separator, in the memory of a block."""

from __future__ import annotations

import threading

import pytest
import torch
from helpers import golden as reference
from helpers import sounds as synth
from helpers.checks import decibels, difference
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openunmix.model import Separator
from openunmix.predict.stream import (
    StreamConfig,
    separate_blocks,
    separate_channels,
    separate_waveform,
)

# The numbers of the separator


@pytest.mark.parametrize(
    "config", [StreamConfig(exact=True), StreamConfig()], ids=["exact", "block"]
)
@pytest.mark.parametrize("name", reference.COMBINATIONS)
def test_engine_computes_what_1_3_0_does(name, config):
    separator = reference.separator(**reference.COMBINATIONS[name])
    actual = separate_waveform(separator, reference.tensor("audio"), config)
    tolerance = reference.TOLERANCE[separator.niter]
    assert difference(actual, reference.tensor(f"separated/{name}")) < tolerance


def test_mono_networks_compute_what_1_3_0_does():
    networks = {name: reference.network(f"mono/{name}") for name in ("speech", "noise")}
    separator = Separator(networks, niter=1, n_fft=128, n_hop=64, nb_channels=1).eval()
    actual = separate_waveform(separator, reference.tensor("audio")[:1])
    assert difference(actual, reference.tensor("mono/separated")) < reference.TOLERANCE[1]


@settings(deadline=None, max_examples=25)
@given(
    samples=st.integers(1, 6000),
    niter=st.sampled_from([0, 1]),
    residual=st.booleans(),
    softmask=st.booleans(),
    window=st.sampled_from([None, 20, 50]),
)
@example(samples=1, niter=1, residual=True, softmask=False, window=20)
@example(samples=64, niter=1, residual=False, softmask=True, window=20)
@example(samples=65, niter=0, residual=True, softmask=False, window=None)
def test_lookahead_of_the_whole_signal_gives_the_separator(
    tiny_separator, samples, niter, residual, softmask, window
):
    separator = tiny_separator(
        niter=niter, residual=residual, softmask=softmask, wiener_win_len=window
    )
    audio = synth.mixture(samples)
    with torch.no_grad():
        expected = separator(audio)
    for config in (
        StreamConfig(exact=True),
        StreamConfig(chunk=40, segment=14, lookahead=10_000),
        StreamConfig(),
    ):
        actual = separate_waveform(separator, audio, config)
        assert difference(actual, expected) < 1e-4


def test_limited_lookahead_changes_little_and_less_the_longer_it_is(tiny_separator):
    separator, audio = tiny_separator(), synth.mixture(20_000)
    exact = separate_waveform(separator, audio, StreamConfig(exact=True))
    errors = []
    for lookahead in (2, 8, 32):
        config = StreamConfig(chunk=150, lookahead=lookahead)
        errors.append(decibels(separate_waveform(separator, audio, config) - exact, exact))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > -80  # or else this test would not see the lookahead
    assert errors[-1] < -60


def test_networks_that_look_only_at_the_past_wait_for_nothing(tiny_separator):
    separator = tiny_separator(network={"unidirectional": True})
    separator.niter, separator.wiener_win_len = 0, 1
    audio, fed = synth.mixture(20_000), 0

    def blocks():
        nonlocal fed
        for block in audio.split(separator.n_hop, dim=-1):
            fed += block.shape[-1]
            yield block

    done = 0
    for estimates in separate_blocks(separator, blocks(), StreamConfig(chunk=1, first_chunk=1)):
        done += estimates.shape[-1]
        assert fed - done <= separator.n_fft
    assert done == audio.shape[-1]


def test_a_causal_network_is_the_same_frame_by_frame(tiny_separator):
    separator = tiny_separator(network={"unidirectional": True}, niter=0)
    audio = synth.mixture(20_000)
    exact = separate_waveform(separator, audio, StreamConfig(exact=True))
    separator.wiener_win_len = 1
    live = separate_waveform(separator, audio, StreamConfig(chunk=1, first_chunk=1))
    assert decibels(live - exact, exact) < -100


# Blocks


configs = st.builds(
    StreamConfig,
    chunk=st.integers(1, 120),
    segment=st.integers(1, 60),
    lookahead=st.integers(0, 20),
)


@settings(deadline=None, max_examples=40)
@given(
    samples=st.integers(1, 5000),
    cuts=st.lists(st.integers(0, 5000), max_size=6),
    config=configs,
    window=st.sampled_from([7, 20]),
)
# The last sequence of a block reaches beyond it, and shifted where no more frames had come yet.
@example(samples=5000, cuts=[100, 200, 4000], config=StreamConfig(20, 7, 4), window=7)
def test_cuts_between_blocks_do_not_matter(tiny_separator, samples, cuts, config, window):
    separator = tiny_separator(wiener_win_len=window)
    audio = synth.mixture(samples)
    whole = torch.cat(list(separate_blocks(separator, [audio], config)), dim=-1)
    blocks = audio.tensor_split(sorted(min(cut, samples) for cut in cuts), dim=-1)
    parts = list(separate_blocks(separator, blocks, config))
    assert whole.shape == (2, 2, samples)
    assert difference(torch.cat(parts, dim=-1), whole) < 1e-4


def test_one_sample_at_a_time_is_enough(tiny_separator):
    separator, audio = tiny_separator(), synth.mixture(300)
    parts = list(separate_blocks(separator, audio.split(1, dim=-1)))
    assert difference(torch.cat(parts, dim=-1), separator(audio)) < 1e-5


def test_exact_needs_blocks_that_can_be_read_twice(tiny_separator):
    config, audio = StreamConfig(exact=True), synth.mixture(3000)
    with pytest.raises(ValueError, match="twice"):
        list(separate_blocks(tiny_separator(), iter([audio]), config))
    mono = torch.cat(list(separate_channels(tiny_separator(), [audio[:1]], 1, config)), dim=-1)
    assert mono.shape == (2, 1, 3000)
    parts = separate_channels(tiny_separator(nb_channels=1), [audio], 2, config)
    assert torch.cat(list(parts), dim=-1).shape == (2, 2, 3000)


@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_that_are_gone_when_read_again_are_refused(tiny_separator, channels):
    class Once:
        def __init__(self):
            self.blocks = iter(synth.noise(3000, channels).split(1000, dim=-1))

        def __iter__(self):
            yield from self.blocks

    separator, config = tiny_separator(), StreamConfig(exact=True)
    for blocks in (Once(), Once().blocks):
        with pytest.raises(ValueError, match="twice"):
            list(separate_channels(separator, blocks, channels, config))


def test_buffer_of_the_caller_may_be_filled_again(tiny_separator):
    separator, audio = tiny_separator(), synth.mixture(3000)

    def blocks():
        buffer = torch.empty(2, 500)
        for part in audio.split(500, dim=-1):
            yield buffer.copy_(part)

    actual = torch.cat(list(separate_blocks(separator, blocks())), dim=-1)
    assert difference(actual, separator(audio)) < 1e-5


def test_no_blocks_give_no_estimates(tiny_separator):
    assert list(separate_blocks(tiny_separator(), [])) == []
    assert list(separate_blocks(tiny_separator(), [torch.zeros(2, 0)])) == []
    with pytest.raises(ValueError, match="at least one sample"):
        separate_waveform(tiny_separator(), torch.zeros(2, 0))


def test_empty_blocks_in_between_do_not_matter(tiny_separator):
    audio, nothing = synth.mixture(1000), torch.zeros(2, 0)
    blocks = [nothing, audio[:, :400], nothing, audio[:, 400:], nothing]
    actual = torch.cat(list(separate_blocks(tiny_separator(), blocks)), dim=-1)
    assert difference(actual, tiny_separator()(audio)) < 1e-5


def test_edges_of_blocks_do_not_click(tiny_separator):
    separator = tiny_separator(wiener_win_len=25)
    audio = synth.tone(12_000, frequency=100.0)
    config = StreamConfig(chunk=50, segment=25, lookahead=8)
    estimates = separate_waveform(separator, audio, config)
    bends = estimates.diff(n=2).abs().amax(dim=(0, 1))[200:-200]
    # A sine of 100 Hz at 8 kHz hardly bends; a jump of 1 % of its size would double this.
    assert bends.max() < 1.3 * bends.median() * torch.pi / 2


def test_estimates_come_before_the_signal_has_ended(tiny_separator):
    given_ = 0

    def blocks():
        nonlocal given_
        for part in synth.mixture(20_000).split(100, dim=-1):
            given_ += part.shape[-1]
            yield part

    separator = tiny_separator(wiener_win_len=20)
    config = StreamConfig(chunk=40, segment=20, lookahead=5)
    received = 0
    for estimates in separate_blocks(separator, blocks(), config):
        received += estimates.shape[-1]
        assert given_ - received < 3 * 40 * 32
    assert received == given_ == 20_000


# What surrounds the engine


def test_engine_leaves_audio_and_weights_as_they_were(tiny_separator):
    separator, audio = tiny_separator(residual=True), synth.mixture(3000)
    audio[:, 1000:2000] = 0
    before = audio.clone()
    state = {name: value.clone() for name, value in separator.state_dict().items()}
    first = separate_waveform(separator, audio)
    assert torch.equal(separate_waveform(separator, audio), first)
    assert torch.equal(audio, before)
    assert all(torch.equal(value, state[name]) for name, value in separator.state_dict().items())


def test_engine_does_not_change_the_callers_gradient_mode(tiny_separator):
    separator = tiny_separator(wiener_win_len=20)
    config = StreamConfig(chunk=20, lookahead=4)
    for _ in separate_blocks(separator, synth.mixture(5000).split(500, dim=-1), config):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_estimates_are_ordinary_tensors(tiny_separator):
    # Those made in inference mode could neither be scaled in place nor be trained on.
    [*parts] = separate_blocks(tiny_separator(), [synth.mixture(1000)])
    for estimates in parts:
        assert not estimates.requires_grad
        estimates *= 2
        (torch.ones(1, requires_grad=True) * estimates).sum().backward()


def test_parts_do_not_change_once_they_are_out(tiny_separator):
    separator = tiny_separator(wiener_win_len=20)
    blocks = synth.mixture(8000).split(500, dim=-1)
    parts, copies = [], []
    for part in separate_blocks(separator, blocks, StreamConfig(chunk=20, lookahead=4)):
        parts.append(part)
        copies.append(part.clone())
    assert all(torch.equal(*pair) for pair in zip(parts, copies, strict=True))


def test_random_numbers_of_the_caller_are_left_alone(tiny_separator):
    state = torch.get_rng_state()
    separate_waveform(tiny_separator(), synth.mixture(1000), StreamConfig(precision="bf16"))
    assert torch.equal(torch.get_rng_state(), state)


def test_two_signals_can_be_separated_in_turns(tiny_separator):
    separator = tiny_separator(wiener_win_len=20)
    signals = [synth.mixture(4000), synth.mixture(4000, seed=1)]
    config = StreamConfig(chunk=20, lookahead=4)
    expected = [
        torch.cat(list(separate_blocks(separator, [signal], config)), dim=-1) for signal in signals
    ]
    runs = [separate_blocks(separator, signal.split(500, -1), config) for signal in signals]
    parts = zip(*(zip(*runs, strict=True)), strict=True)
    for run, whole in zip(parts, expected, strict=True):
        assert difference(torch.cat(run, dim=-1), whole) < 1e-4


@pytest.mark.usefixtures("bfloat16")
def test_half_precision_is_close(tiny_separator):
    separator, audio = tiny_separator(), synth.mixture(8000)
    full = separate_waveform(separator, audio)
    half = separate_waveform(separator, audio, StreamConfig(precision="bf16"))
    assert half.dtype == torch.float32
    assert -80 < decibels(half - full, full) < -30


def test_single_precision_takes_the_place_of_half_where_that_is_slow(
    tiny_separator, monkeypatch, caplog
):
    monkeypatch.setattr("openunmix.predict._runtime._has_bfloat16", lambda: False)
    separator, audio = tiny_separator(), synth.mixture(4000)
    half = separate_waveform(separator, audio, StreamConfig(precision="bf16"))
    assert torch.equal(half, separate_waveform(separator, audio))
    assert "no fast bfloat16: using float32" in caplog.text


def test_silence_gives_silence(tiny_separator):
    assert (separate_waveform(tiny_separator(residual=True), torch.zeros(2, 3000)) == 0).all()


def test_equal_channels_give_finite_estimates(tiny_separator):
    audio = synth.mixture(4000)[:1].repeat(2, 1)
    actual = separate_waveform(tiny_separator(residual=True), audio)
    expected = tiny_separator(residual=True).double()(audio.double())
    assert difference(actual, expected) < 2e-4


# Channels


def test_mono_signal_is_separated_by_stereo_networks(tiny_separator):
    separator, mono = tiny_separator(residual=True), synth.mixture(2000)[:1]
    estimates = separate_waveform(separator, mono)
    assert estimates.shape == (3, 1, 2000)
    both = separator(mono.repeat(2, 1))
    assert difference(estimates, both.mean(dim=1, keepdim=True)) < 1e-4
    assert difference(estimates.sum(dim=0), mono) < 1e-3


def test_channels_are_separated_one_by_one_by_mono_networks(tiny_separator):
    separator, audio = tiny_separator(nb_channels=1), synth.noise(2000, channels=3)
    blocks = separate_channels(separator, audio.split(300, dim=-1), 3)
    estimates = torch.cat(list(blocks), dim=-1)
    assert estimates.shape == (2, 3, 2000)
    for channel in range(3):
        alone = separator(audio[channel : channel + 1])
        assert difference(estimates[:, channel : channel + 1], alone) < 1e-5


def test_more_channels_than_stereo_networks_take_are_refused(tiny_separator):
    with pytest.raises(ValueError, match=r"6 channels.*take 2"):
        separate_waveform(tiny_separator(), torch.zeros(6, 1000))


@pytest.mark.parametrize("shape", [(1, 100), (3, 100), (1, 2, 100), (100,)])
def test_blocks_of_other_axes_are_refused(tiny_separator, shape):
    with pytest.raises(ValueError, match="channels=2"):
        list(separate_blocks(tiny_separator(), [torch.zeros(shape)]))


@pytest.mark.parametrize(
    "settings_", [{"chunk": 0}, {"segment": 0}, {"lookahead": -1}, {"precision": "float16"}]
)
def test_settings_that_cannot_work_are_refused(settings_):
    with pytest.raises(ValueError, match=next(iter(settings_))):
        StreamConfig(**settings_)


# Threads


@pytest.mark.parametrize("window", [20, None])
def test_number_of_threads_does_not_change_a_bit(tiny_separator, window):
    separator = tiny_separator(residual=True, wiener_win_len=window)
    audio, config = synth.mixture(40_000), StreamConfig(chunk=300, lookahead=40)
    blocks = audio.split(3000, dim=-1)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(torch.cat(list(separate_blocks(separator, blocks, config)), dim=-1))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("raised", [None, KeyboardInterrupt])
def test_threads_end_when_estimates_are_no_longer_wanted(tiny_separator, raised):
    """Somebody took the first block and left, or pressed Ctrl-C while the input was read."""
    before, running = torch.get_num_threads(), set(threading.enumerate())
    torch.set_num_threads(2)

    def blocks():
        yield from synth.mixture(40_000).split(1000, dim=-1)
        if raised:
            raise raised

    try:
        config = StreamConfig(chunk=20, lookahead=4)
        parts = separate_blocks(tiny_separator(wiener_win_len=20), blocks(), config)
        next(parts)
        if raised:
            with pytest.raises(raised):
                list(parts)
        parts.close()
    finally:
        torch.set_num_threads(before)
    assert set(threading.enumerate()) <= running


# Levels


@pytest.mark.parametrize("niter", [0, 1, 2])
@pytest.mark.parametrize("softmask", [False, True])
@pytest.mark.parametrize(
    "level", [1e-45, 1e-42, 1e-38, 1e-30, 1e-22, 1e-19, 1e-10, 1e3, 1e10, 1e15]
)
def test_any_level_gives_finite_estimates(tiny_separator, niter, softmask, level):
    """A reverberation left a tail of denormals: its estimates were NaN, "too loud"."""
    separator = tiny_separator(niter=niter, softmask=softmask, residual=True)
    tail = synth.mixture(3000)
    tail[:, 1500:] *= level
    for audio in (tail, level * synth.mixture(3000)):
        for estimates in (separate_waveform(separator, audio), separator(audio)):
            assert estimates.isfinite().all()
            # What is below the noise of the filter, or of the squares of floats, may be silent.
            silent = 1e-6 if niter else 1e-35
            limit = max(1e-3 * audio.abs().max().item(), silent)
            torch.testing.assert_close(estimates.sum(dim=0), audio, atol=limit, rtol=0)
