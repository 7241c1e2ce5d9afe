"""Studios: each change does what it says, and as often as it should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from openunmix.data.augment.effects import (
    STUDIOS,
    Studio,
    doubled,
    overdriven,
    produced,
    reverberant,
    room,
)

RATE = 8000


def noise(samples=RATE, seed=0):
    """Make stereo noise at -20 dB."""
    return 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(seed))


def rms(waveform):
    return float(waveform.square().mean().sqrt())


@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_overdrive_keeps_the_level_and_lowers_the_peaks(scale):
    recording = noise() * scale
    crests = []
    for drive in (0.5, 3.0, 6.0):
        driven = overdriven(recording, drive)
        assert rms(driven) == pytest.approx(rms(recording), rel=1e-4)
        assert (driven.sign() == recording.sign()).all()
        crests.append(float(driven.abs().max()) / rms(driven))
    assert float(recording.abs().max()) / rms(recording) > crests[0] > crests[1] > crests[2] > 1


def test_double_comes_later():
    recording = torch.zeros(2, 10)
    recording[:, 2] = 1
    assert doubled(recording, 3, 0.5, 0.0)[0].tolist() == [0, 0, 1, 0, 0, 0.5, 0, 0, 0, 0]
    left, right = doubled(recording, 3, 0.5, 1.0)
    assert left.tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert right.tolist() == [0, 0, 0, 0, 0, 0.5, 0, 0, 0, 0]
    left, right = doubled(recording, 3, 0.5, 0.5)
    assert left.tolist() == [0, 0, 1, 0, 0, 0.25, 0, 0, 0, 0]
    assert right.tolist() == [0, 0, 0.5, 0, 0, 0.5, 0, 0, 0, 0]


def test_rooms_fall_by_60_db_in_their_time():
    response = room(1.0, 0.02, RATE, np.random.default_rng(1))
    assert response.shape == (2, RATE)
    torch.testing.assert_close(response.square().sum(dim=1), torch.ones(2))
    assert not response[:, :160].any()
    assert response[:, 160].all()
    power = response.square().mean(dim=0)
    early, late = (float(power[start : start + 800].mean()) for start in (800, 6400))
    assert 10 * np.log10(early / late) == pytest.approx(60 * 0.7, abs=1.5)


def test_rooms_may_be_shorter_than_their_gap():
    response = room(0.01, 0.04, RATE, np.random.default_rng(1))
    torch.testing.assert_close(response.square().sum(dim=1), torch.ones(2))


def test_reverberation_is_a_convolution():
    recording, response = noise(), room(0.4, 0.01, RATE, np.random.default_rng(1))
    expected = recording + 0.3 * torch.from_numpy(
        fftconvolve(recording.numpy(), response.numpy(), axes=1)[:, :RATE]
    )
    torch.testing.assert_close(reverberant(recording, response, 0.3), expected)


def test_silence_stays_silence():
    studio = Studio(overdrive=1.0, double=1.0, reverb=1.0)
    silence = torch.zeros(2, RATE)
    assert not produced(silence, False, studio, RATE, np.random.default_rng(0)).any()


def test_changes_are_as_likely_as_asked():
    recording = noise(800)
    for studio, dry, share in (
        (Studio(overdrive=0.3), False, 0.3),
        (Studio(double=0.2, double_dry=0.9), False, 0.2),
        (Studio(double=0.2, double_dry=0.9), True, 0.9),
        (Studio(reverb=0.6, reverb_dry=0.1), False, 0.6),
        (Studio(reverb=0.6, reverb_dry=0.1), True, 0.1),
        (Studio(), True, 0.0),
    ):
        rng = np.random.default_rng(3)
        changed = [
            not torch.equal(produced(recording, dry, studio, RATE, rng), recording)
            for _ in range(300)
        ]
        assert np.mean(changed) == pytest.approx(share, abs=0.07)


@pytest.mark.parametrize("kind", list(STUDIOS))
def test_known_studios_change_levels_by_little(kind):
    rng = np.random.default_rng(4)
    recording = noise()
    levels = [rms(produced(recording, True, STUDIOS[kind], RATE, rng)) for _ in range(100)]
    assert 0.5 < min(levels) / rms(recording) <= max(levels) / rms(recording) < 2.2


def test_several_recordings_are_changed_as_each_alone():
    recordings, responses = torch.randn(2, 3, 2, 500).unbind()
    amounts = torch.tensor([0.5, 2.0, 5.0])[:, None, None]
    found = overdriven(recordings, amounts), reverberant(recordings, responses, amounts)
    for item, amount in enumerate(amounts.flatten().tolist()):
        torch.testing.assert_close(found[0][item], overdriven(recordings[item], amount))
        torch.testing.assert_close(
            found[1][item], reverberant(recordings[item], responses[item], amount)
        )
