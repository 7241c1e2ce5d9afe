"""Aligned blocks of a mixture and its estimates, from files and from memory."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from helpers.checks import decibels
from helpers.sounds import mixture, noise

from openunmix.audio import AudioSource, resample
from openunmix.audio.channels import downmix_to_stereo
from openunmix.errors import AudioFileError
from openunmix.predict.file_stream import (
    Delay,
    blocks_of,
    open_stream,
    prefetch,
    separate_stream,
)
from openunmix.predict.stream import StreamConfig, separate_waveform


@pytest.fixture
def source(song):
    """Return a function that writes a waveform; its excerpt is where the audio is."""
    return lambda waveform, rate=8000, **excerpt: AudioSource(song(waveform, rate), **excerpt)


def joined(blocks):
    """Mixture and estimates as whole arrays."""
    mixtures, estimates = zip(*blocks, strict=True)
    return np.concatenate(mixtures, axis=-1), np.concatenate(estimates, axis=-1)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(("rate", "samples"), [(8000, 150_001), (11025, 150_001), (44100, 1)])
def test_file_and_memory_give_the_same_aligned_blocks(source, tiny_separator, rate, samples, exact):
    separator, waveform, config = tiny_separator(), mixture(samples), StreamConfig(exact=exact)
    memory = joined(separate_stream(separator, blocks_of(waveform), 2, rate, config))
    with open_stream(source(waveform, rate), 2) as stream:
        file = joined(separate_stream(separator, stream, 2, stream.sample_rate, config))
    for from_memory, from_file in zip(memory, file, strict=True):
        np.testing.assert_array_equal(from_memory, from_file)
    assert np.array_equal(memory[0], waveform)
    assert memory[1].shape == (2, 2, samples)


def test_blocks_are_at_the_rate_of_the_model_if_asked_for(tiny_separator):
    separator, waveform = tiny_separator(), mixture(50_001)
    blocks = separate_stream(separator, blocks_of(waveform), 2, 11025, at_model_rate=True)
    original, estimates = joined(blocks)
    wanted = resample(waveform, 11025, 8000)
    torch.testing.assert_close(torch.from_numpy(original), wanted)
    expected = separate_waveform(separator, wanted)
    assert decibels(torch.from_numpy(estimates) - expected, expected) < -90


def test_residual_is_not_among_the_estimates(tiny_separator):
    separator = tiny_separator(residual=True)
    _, estimates = joined(separate_stream(separator, blocks_of(noise(900)), 2, 8000))
    assert len(estimates) == len(separator.target_models)


def test_file_can_be_read_again(source):
    waveform = noise(100_000)
    with open_stream(source(waveform, start=0.5), 2) as stream:
        first, second = (np.concatenate(list(stream), axis=-1) for _ in range(2))
    assert np.array_equal(first, waveform[:, 4000:])
    assert np.array_equal(first, second)


def test_more_channels_than_stereo_networks_take_are_mixed_down(source):
    waveform = noise(100, channels=6)
    with open_stream(source(waveform), 2) as stream:
        assert (stream.channels, stream.file_channels) == (2, 6)
        assert np.array_equal(next(iter(stream)), downmix_to_stereo(waveform.numpy()))
    with open_stream(source(waveform), 1) as stream:
        assert np.array_equal(next(iter(stream)), waveform)
    nine = source(noise(100, channels=9))
    with pytest.raises(AudioFileError, match="9 channels"), open_stream(nine, 2):
        pass


def test_delay_line_returns_the_oldest_samples():
    delay = Delay(2)
    for block in torch.arange(20.0).reshape(2, 10).split(4, dim=-1):
        delay.push(block.numpy())
    assert delay.samples == 10
    assert delay.take(5).tolist() == [[0, 1, 2, 3, 4], [10, 11, 12, 13, 14]]
    assert delay.take(0).shape == (2, 0)
    assert delay.take(9).tolist() == [[5, 6, 7, 8, 9], [15, 16, 17, 18, 19]]
    assert delay.samples == 0


def test_items_are_prefetched_in_order_and_no_more_than_asked():
    taken, five = [], threading.Event()

    def items():
        for number in range(20):
            taken.append(number)
            if number == 5:
                five.set()
            yield number

    fetched = prefetch(items(), 5)
    assert next(fetched) == 0
    assert five.wait(timeout=60)
    assert taken == [0, 1, 2, 3, 4, 5]
    assert list(fetched) == list(range(1, 20))


def test_error_in_the_other_thread_comes_in_its_turn():
    def items():
        yield 1
        raise AudioFileError("broken")

    fetched = prefetch(items(), 5)
    assert next(fetched) == 1
    with pytest.raises(AudioFileError, match="broken"):
        next(fetched)
