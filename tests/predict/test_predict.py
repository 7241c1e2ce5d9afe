"""``predict.separate`` on whatever people hand it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import torch
from helpers.checks import decibels
from helpers.models import save_model
from helpers.sounds import mixture, noise, tone

import openunmix.predict
from openunmix import separate as separate_module
from openunmix.audio import resample
from openunmix.errors import AudioFileError, UnknownModelError, UnreachableError
from openunmix.predict import separate
from openunmix.predict.stream import StreamConfig, separate_waveform


@pytest.fixture
def wanted(separator):
    return separate_waveform(separator, mixture(8000))


def check(estimates, wanted):
    """Estimates by name are those wanted, with a batch axis."""
    assert list(estimates) == ["vocals", "drums"]
    for estimate, reference in zip(estimates.values(), wanted, strict=True):
        assert estimate.shape == (1, *reference.shape)
        torch.testing.assert_close(estimate[0], reference)


def test_any_kind_of_waveform(separator, wanted, tmp_path):
    waveform = mixture(8000)
    soundfile.write(tmp_path / "song.wav", waveform.T.numpy(), 8000, "FLOAT")
    frozen = waveform.numpy().copy()
    frozen.flags.writeable = False
    for audio in (
        waveform,
        waveform[None],
        waveform.T,
        waveform.double(),
        waveform.clone().requires_grad_(),
        waveform.numpy(),
        waveform.numpy().T,
        waveform.numpy().astype("float64"),
        waveform.flip(-1).numpy()[:, ::-1],
        frozen,
        tmp_path / "song.wav",
        str(tmp_path / "song.wav"),
    ):
        check(separate(audio, separator=separator), wanted)


def test_documented_spelling(separator, wanted):
    check(separate_module.predict(mixture(8000), rate=8000, separator=separator), wanted)
    assert openunmix.predict.separate is separate_module.predict


def test_batch_is_separated_item_by_item(separator, wanted):
    batch = torch.stack([mixture(8000), 0.5 * mixture(8000, seed=1)])
    estimates = separate(batch, rate=8000, separator=separator)
    assert estimates["drums"].shape == (2, 2, 8000)
    torch.testing.assert_close(estimates["drums"][0], wanted[1])
    alone = separate(batch[1], rate=8000, separator=separator)
    torch.testing.assert_close(estimates["drums"][1:], alone["drums"])


def test_audio_of_another_rate_is_converted(separator, tmp_path):
    waveform = mixture(22050)
    wanted = separate_waveform(separator, resample(waveform, 22050, 8000))
    check(separate(waveform, rate=22050, separator=separator), wanted)
    check(separate(waveform, 22050.0, separator=separator), wanted)
    soundfile.write(tmp_path / "song.wav", waveform.T.numpy(), 22050, "FLOAT")
    check(separate(tmp_path / "song.wav", separator=separator), wanted)
    with pytest.raises(ValueError, match="rate=0"):
        separate(waveform, rate=0, separator=separator)


@pytest.mark.parametrize("shape", [(8000,), (1, 8000), (8000, 1), (1, 1, 8000)])
@pytest.mark.parametrize("channels", [1, 2])
def test_mono_has_the_channels_of_the_model(tiny_separator, shape, channels):
    audio = tone(8000, channels=1)
    estimates = separate(audio.reshape(shape), separator=tiny_separator(nb_channels=channels))
    for estimate in estimates.values():
        assert estimate.shape == (1, channels, 8000)
        assert torch.isfinite(estimate).all()
        assert estimate.abs().max() > 0.01


def test_stereo_with_a_mono_model_is_separated_channel_by_channel(tiny_separator):
    mono = tiny_separator(nb_channels=1)
    waveform = mixture(8000)
    together = separate(waveform, separator=mono)["vocals"]
    for channel in (0, 1):
        alone = separate(waveform[channel], separator=mono)["vocals"]
        torch.testing.assert_close(together[:, channel : channel + 1], alone)
    one_sample = separate(waveform[:, :1], separator=mono)["vocals"]
    assert one_sample.shape == (1, 2, 1)


def test_surround_file_is_mixed_down(separator, tmp_path):
    waveform = noise(8000, channels=6)
    soundfile.write(tmp_path / "song.wav", waveform.T.numpy(), 8000, "FLOAT")
    half = 0.5**0.5
    left = waveform[0] + half * (waveform[2] + waveform[4])
    right = waveform[1] + half * (waveform[2] + waveform[5])
    wanted = separate_waveform(separator, torch.stack([left, right]))
    check(separate(tmp_path / "song.wav", separator=separator), wanted)
    with pytest.raises(ValueError, match="channels=6"):
        separate(waveform, separator=separator)


@pytest.mark.parametrize("niter", [0, 1, 2])
def test_dual_mono_and_silence_are_finite(tiny_separator, niter):
    made = tiny_separator(niter=niter)
    for audio in (tone(8000), torch.zeros(2, 8000), torch.zeros(2, 1), tone(100)):
        for estimate in separate(audio, separator=made).values():
            assert estimate.shape == (1, *audio.shape)
            assert torch.isfinite(estimate).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_found(separator, value, tmp_path):
    waveform = mixture(8000)
    waveform[1, 700] = value
    with pytest.raises(ValueError, match=rf"{value} at position \(1, 700\)"):
        separate(waveform, separator=separator)
    soundfile.write(tmp_path / "song.wav", waveform.T.numpy(), 8000, "FLOAT")
    with pytest.raises(AudioFileError, match=rf"song.wav' .*{value} .* sample 700 "):
        separate(tmp_path / "song.wav", separator=separator)


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 2, 100)])
def test_nothing_to_separate_is_an_error(separator, shape):
    with pytest.raises(ValueError, match="at least one sample"):
        separate(torch.zeros(shape), separator=separator)


def test_integers_are_refused_because_their_full_scale_is_unknown(separator):
    with pytest.raises(ValueError, match=r"int16, expected floating point"):
        separate(np.zeros((2, 100), dtype=np.int16), separator=separator)


class _Path:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


def test_path_of_any_class_is_a_file(separator, wanted, tmp_path):
    soundfile.write(tmp_path / "song.wav", mixture(8000).T.numpy(), 8000, "FLOAT")
    check(separate(_Path(tmp_path / "song.wav"), separator=separator), wanted)


@pytest.mark.parametrize("audio", [None, b"RIFF", io.BytesIO(b"RIFF"), {"vocals": 1}, [[0.1], []]])
def test_anything_else_is_refused_before_a_model_is_loaded(audio):
    """The content of an upload was handed over: "no attribute 'detach'"."""
    with pytest.raises(TypeError, match=r"expected a tensor, an array .* path"):
        separate(audio, model_str_or_path="none-such")


def test_default_device_of_torch_changes_nothing(separator, wanted, tmp_path):
    waveform, folder = mixture(8000), save_model(tmp_path / "model", separator)
    with torch.device("meta"):
        estimates = separate(waveform, 8000, folder, ["vocals", "drums"])
    check(estimates, wanted)


def test_missing_file_is_an_error(separator, tmp_path):
    with pytest.raises(AudioFileError, match=r"none.wav' does not exist"):
        separate(tmp_path / "none.wav", separator=separator)


def test_sums_and_residual(tiny_separator):
    made = tiny_separator(niter=0, residual=True)
    waveform = mixture(8000)
    estimates = separate(waveform, separator=made)
    assert list(estimates) == ["vocals", "drums", "residual"]
    assert decibels(sum(estimates.values())[0] - waveform, waveform) < -90
    sums = {"rest": ["drums", "residual"], "all": ["vocals", "drums", "residual"]}
    summed = separate(waveform, separator=made, aggregate_dict=sums)
    assert list(summed) == ["rest", "all"]
    torch.testing.assert_close(summed["rest"], estimates["drums"] + estimates["residual"])
    with pytest.raises(ValueError, match="'bass'"):
        separate(waveform, separator=made, aggregate_dict={"a": ["bass"]})


def test_gradients_are_left_as_they_were(tiny_separator):
    made = tiny_separator()
    before = [parameter.requires_grad for parameter in made.parameters()]
    assert any(before)
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            estimates = separate(mixture(8000), separator=made)
            assert torch.is_grad_enabled() == enabled
            assert not torch.is_inference_mode_enabled()
    assert not any(
        estimate.requires_grad or estimate.is_inference() for estimate in estimates.values()
    )
    assert [parameter.requires_grad for parameter in made.parameters()] == before


def test_separator_in_training_gives_the_same_and_stays_in_training(tiny_separator, wanted):
    made = tiny_separator().train()
    made.target_models["drums"].bn1.eval()
    modes = [module.training for module in made.modules()]
    state = {key: value.clone() for key, value in made.state_dict().items()}
    check(separate(mixture(8000), separator=made), wanted)
    assert [module.training for module in made.modules()] == modes
    for key, value in made.state_dict().items():
        assert torch.equal(value, state[key])
    with pytest.raises(ValueError, match="channels"):
        separate(noise(800, channels=6), separator=made)
    assert [module.training for module in made.modules()] == modes


def test_model_folder_and_settings(separator, wanted, tmp_path):
    folder = save_model(tmp_path / "model", separator)
    waveform = mixture(8000)
    both = separate(waveform, 8000, folder, ["vocals", "drums"])
    check(both, wanted)
    one = separate(waveform, 8000, str(folder), ["drums"], niter=0, residual=True)
    assert list(one) == ["drums", "residual"]
    other = separate(waveform, 8000, folder, ["vocals", "drums"], wiener_win_len=50)
    assert decibels(other["drums"][0] - wanted[1], wanted[1]) > -60


@pytest.mark.usefixtures("bfloat16")
def test_engine_settings_are_passed_on(separator, wanted):
    estimates = separate(mixture(8000), separator=separator, config=StreamConfig(precision="bf16"))
    error = decibels(estimates["drums"][0] - wanted[1], wanted[1])
    assert -80 < error < -20


def test_another_model_is_never_taken_instead(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENUNMIX_OFFLINE", "1")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(UnreachableError, match="OPENUNMIX_OFFLINE"):
        separate(mixture(8000), rate=44100)
    with pytest.raises(UnknownModelError, match="umxhq"):
        separate(mixture(8000), rate=44100, model_str_or_path="umxhp")
