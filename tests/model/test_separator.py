"""The separator: 1.3.0's numbers, without its defects."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from helpers import golden as reference
from helpers import sounds as synth
from helpers.checks import difference
from helpers.models import save_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from openunmix.model import Separator
from openunmix.predict.stream import separate_waveform
from openunmix.pretrained import load_separator

# The separator against 1.3.0


@pytest.mark.parametrize("grad", [False, True], ids=["no_grad", "grad"])
@pytest.mark.parametrize("name", reference.COMBINATIONS)
def test_separator_computes_what_it_does_in_1_3_0(name, grad):
    separator = reference.separator(**reference.COMBINATIONS[name])
    with torch.set_grad_enabled(grad):
        actual = separator(reference.tensor("audio")[None])[0]
    tolerance = reference.TOLERANCE[separator.niter]
    assert actual.requires_grad == grad
    assert difference(actual, reference.tensor(f"separated/{name}")) < tolerance


def test_mono_separator_computes_what_it_does_in_1_3_0():
    networks = {name: reference.network(f"mono/{name}") for name in ("speech", "noise")}
    separator = Separator(networks, niter=1, n_fft=128, n_hop=64, nb_channels=1).eval()
    actual = separator(reference.tensor("audio")[:1])
    assert difference(actual, reference.tensor("mono/separated")) < reference.TOLERANCE[1]


# Properties


@pytest.mark.parametrize("nb_channels", [1, 2])
@pytest.mark.parametrize("niter", [1, 2])
def test_equal_channels_are_separated_as_well_as_in_double_precision(
    tiny_separator, nb_channels, niter
):
    # 1.3.0 gave bursts of NaN for mono recordings: the covariance of two equal channels is
    # singular, and its determinant in single precision is rounding noise.
    mono = synth.mixture(4000)[:1].repeat(nb_channels, 1)
    for scale in (1e-4, 1.0, 300.0):
        separator = tiny_separator(nb_channels=nb_channels, niter=niter, residual=True)
        actual = separator(scale * mono)
        assert actual.isfinite().all()
        expected = separator.double()(scale * mono.double())
        assert difference(actual, expected) < 2e-4


def test_one_silent_channel_stays_silent(tiny_separator):
    audio = synth.mixture(3000)
    audio[1] = 0
    estimates = tiny_separator(niter=2, residual=True)(audio)
    assert estimates.isfinite().all()
    assert estimates[:, 1].abs().max() < 1e-6 * estimates[:, 0].abs().max()


@pytest.mark.parametrize("niter", [0, 1, 2])
@pytest.mark.parametrize("residual", [False, True])
def test_one_target_alone_is_separated(tiny_separator, niter, residual):
    # 1.3.0 refused one target with its own default of one iteration.
    separator = tiny_separator(targets=["vocals"], niter=niter, residual=residual)
    audio = synth.mixture(2000)
    estimates = separator(audio)
    assert separator.sources == ["vocals", "residual"][: 1 + residual]
    assert estimates.shape == (1 + residual, 2, 2000)
    if not residual:
        alone = tiny_separator(targets=["vocals"], niter=0)(audio)
        torch.testing.assert_close(estimates, alone)


@pytest.mark.parametrize("niter", [0, 1])
def test_residual_is_the_rest_of_the_mixture(tiny_separator, niter):
    audio = synth.mixture(2000)
    estimates = tiny_separator(niter=niter, residual=True)(audio)
    assert difference(estimates.sum(dim=0), audio) < 1e-3


@pytest.mark.parametrize("niter", [0, 1, 2])
@pytest.mark.parametrize("softmask", [False, True])
@pytest.mark.parametrize("grad", [False, True], ids=["no_grad", "grad"])
def test_audio_and_weights_are_left_as_they_were(tiny_separator, niter, softmask, grad):
    # 1.3.0 wrote a one into every silent bin of the mixture it was given.
    separator = tiny_separator(niter=niter, softmask=softmask, residual=True)
    audio = synth.mixture(2000)
    audio[:, 500:1500] = 0
    before = audio.clone()
    state = {name: value.clone() for name, value in separator.state_dict().items()}
    with torch.set_grad_enabled(grad):
        first, second = separator(audio), separator(audio)
    assert torch.equal(audio, before)
    assert torch.equal(first, second)
    assert all(torch.equal(value, state[name]) for name, value in separator.state_dict().items())


@pytest.mark.parametrize("niter", [0, 1, 2])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("softmask", [False, True])
def test_silence_gives_silence(tiny_separator, niter, residual, softmask):
    separator = tiny_separator(niter=niter, residual=residual, softmask=softmask)
    for samples in (1, 1000):
        assert (separator(torch.zeros(2, samples)) == 0).all()


@settings(deadline=None, max_examples=20)
@given(samples=st.integers(1, 700), niter=st.sampled_from([0, 1]), batch=st.integers(1, 2))
def test_estimates_have_the_shape_of_the_audio(tiny_separator, samples, niter, batch):
    audio = torch.stack([synth.noise(samples, seed=seed) for seed in range(batch)])
    with torch.no_grad():
        estimates = tiny_separator(niter=niter)(audio)
    assert estimates.shape == (batch, 2, 2, samples)
    assert estimates.isfinite().all()


@pytest.mark.parametrize("samples", [1, 2, 63, 64, 65, 127])
def test_clips_shorter_than_a_window_are_separated(tiny_separator, samples):
    # 1.3.0 crashed below half a window.
    clip = synth.noise(samples, amplitude=1.0)  # loud, so that the filter's own noise is small
    estimates = tiny_separator(niter=1, residual=True)(clip)
    assert difference(estimates.sum(dim=0), clip) < 1e-3


def test_memory_layout_does_not_matter(tiny_separator):
    # 1.3.0 failed on batches with channels last.
    audio = torch.stack([synth.mixture(1500), synth.mixture(1500, seed=1)])
    channels_last = audio.transpose(1, 2).contiguous().transpose(1, 2)
    every_other = torch.stack([audio, -audio], dim=-1).flatten(2)[..., ::2]
    separator = tiny_separator()
    for other in (channels_last, every_other):
        assert not other.is_contiguous()
        torch.testing.assert_close(separator(other), separator(audio))


def test_batch_axis_is_optional(tiny_separator):
    separator, audio = tiny_separator(), synth.mixture(1500)
    assert torch.equal(separator(audio), separator(audio[None])[0])


def test_items_of_a_batch_are_separated_on_their_own(tiny_separator):
    separator = tiny_separator(niter=2)
    audio = torch.stack([synth.mixture(1500), 100 * synth.mixture(1500, seed=1)])
    alone = torch.stack([separator(item) for item in audio])
    for actual, expected in zip(separator(audio), alone, strict=True):
        assert difference(actual, expected) < 1e-4


@pytest.mark.parametrize("window", [48, 100])
def test_window_of_all_frames_is_the_same_as_none(tiny_separator, window):
    audio = synth.mixture(47 * 32)  # 48 frames
    actual = tiny_separator(wiener_win_len=window)(audio)
    assert torch.equal(actual, tiny_separator(wiener_win_len=None)(audio))
    assert not torch.allclose(tiny_separator(wiener_win_len=47)(audio), actual)


def test_windows_are_filtered_on_their_own(tiny_separator):
    # What a network makes of the start must not depend on the end here, so it is causal.
    separator = tiny_separator(wiener_win_len=20, network={"unidirectional": True})
    audio, other = synth.mixture(2000), synth.mixture(2000)
    other[:, 1000:] *= 3
    untouched = 19 * 32 - 64  # samples that only frames of the first window contribute to
    actual, expected = separator(other)[..., :untouched], separator(audio)[..., :untouched]
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("shape", [(1, 500), (3, 500), (2, 1, 500), (500,), (1, 1, 2, 500)])
def test_audio_of_other_axes_is_refused(tiny_separator, shape):
    # 1.3.0 took six channels for a batch of six songs.
    with pytest.raises(ValueError, match=r"expected .* with channels=2"):
        tiny_separator()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"wiener_win_len": 0}, "wiener_win_len=0"), ({"filterbank": "fft"}, "'fft'")],
)
def test_settings_that_cannot_work_are_refused(tiny_separator, settings, message):
    with pytest.raises(ValueError, match=message):
        tiny_separator(**settings)


def test_separator_without_networks_is_refused():
    with pytest.raises(ValueError, match="target_models is empty"):
        Separator({})


def test_state_of_a_separator_has_the_names_of_1_3_0(tiny_separator):
    names = set(tiny_separator().state_dict())
    assert {"sample_rate", "stft.window", "istft.window"} < names
    rest = names - {"sample_rate", "stft.window", "istft.window"}
    assert {name.split(".")[1] for name in rest} == {"vocals", "drums"}
    assert all(name.startswith("target_models.") for name in rest)


# Gradients


@pytest.mark.parametrize("niter", [0, 1, 2])
def test_gradients_are_those_of_finite_differences(tiny_separator, niter):
    # 1.3.0 stopped the gradient at the mixture, and its iterations had none.
    separator = tiny_separator(
        n_fft=8, n_hop=4, niter=niter, network={"hidden_size": 2, "nb_layers": 1}
    ).double()
    audio = synth.mixture(15).double().requires_grad_()
    network = separator.target_models["vocals"]
    # The scale of the output reaches every bin, the input's mean every layer.
    weights = (network.output_scale, network.input_mean)
    assert torch.autograd.gradcheck(
        lambda audio, *_: separator(audio), (audio, *weights), fast_mode=True
    )


def test_silence_has_finite_gradients_with_a_power_of_the_input(tiny_separator):
    separator = tiny_separator(network={"compression": 0.25})
    audio = torch.cat([synth.mixture(1000), torch.zeros(2, 1000)], dim=1).requires_grad_()
    separator(audio).square().sum().backward()
    assert audio.grad.isfinite().all()
    assert audio.grad.any()


@pytest.mark.parametrize("niter", [0, 1, 2])
def test_gradients_reach_the_mixture_and_every_weight(tiny_separator, niter):
    separator = tiny_separator(niter=niter, residual=True)
    audio = synth.mixture(1000).requires_grad_()
    separator(audio)[0].square().sum().backward()
    frozen = {"stft.window", "istft.window"}
    gradients = {n: p.grad for n, p in separator.named_parameters() if n not in frozen}
    if niter == 0:  # then no target depends on the network of another
        gradients = {n: g for n, g in gradients.items() if not n.startswith("target_models.drums")}
    for name, gradient in {"audio": audio.grad, **gradients}.items():
        assert gradient.isfinite().all(), name
        assert (gradient != 0).any(), name


@pytest.mark.parametrize("niter", [0, 1, 2])
def test_gradients_of_silence_and_equal_channels_are_finite(tiny_separator, niter):
    separator = tiny_separator(niter=niter, residual=True)
    half_silent = synth.mixture(1000)
    half_silent[:, 300:] = 0
    for audio in (torch.zeros(2, 1000), half_silent, half_silent[:1].repeat(2, 1)):
        audio.requires_grad_()
        separator(audio).square().sum().backward()
        assert audio.grad.isfinite().all()
        assert all(p.grad is None or p.grad.isfinite().all() for p in separator.parameters())


def test_double_precision_is_kept(tiny_separator):
    estimates = tiny_separator().double()(synth.mixture(500).double())
    assert estimates.dtype == torch.float64


# Names for the estimates


def test_estimates_get_the_names_of_their_targets(tiny_separator):
    separator = tiny_separator(residual=True)
    estimates = torch.randn(3, 3, 2, 10)
    named = separator.to_dict(estimates)
    assert list(named) == ["vocals", "drums", "residual"]
    assert all(torch.equal(named[name], estimates[:, i]) for i, name in enumerate(named))


def test_estimates_without_a_batch_get_their_names_too(tiny_separator):
    # With two targets and two channels the axes could be confused without notice.
    estimates = torch.randn(2, 2, 10)
    named = tiny_separator().to_dict(estimates)
    assert torch.equal(named["vocals"], estimates[0])
    assert torch.equal(named["drums"], estimates[1])


def test_sums_replace_the_estimates(tiny_separator):
    estimates = torch.randn(1, 3, 2, 10)
    separator = tiny_separator(residual=True)
    sums = separator.to_dict(estimates, {"all": separator.sources, "rest": ["residual"]})
    assert list(sums) == ["all", "rest"]
    torch.testing.assert_close(sums["all"], estimates.sum(dim=1))
    assert torch.equal(sums["rest"], estimates[:, 2])


@pytest.mark.parametrize("parts", [[], ["vocals", "piano"], ["residual"]])
def test_sums_of_nothing_or_of_unknown_targets_are_refused(tiny_separator, parts):
    # 1.3.0 raised KeyError, and gave a scalar for an empty list.
    with pytest.raises(ValueError, match=r"cannot make 'mine'.*\['vocals', 'drums'\]"):
        tiny_separator().to_dict(torch.zeros(1, 2, 2, 10), {"mine": parts})


# Other number formats


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_cast_separator_keeps_its_settings_and_takes_any_audio(tiny_separator, dtype):
    """Someone called half() to save memory: 44100 Hz became 44096 Hz, and every song off pitch."""
    separator = tiny_separator(sample_rate=44100, network={"compression": 0.3})
    audio = synth.mixture(2000)
    expected, window = separator(audio), separator.stft.window.clone()
    state = {name: value.to(dtype) for name, value in separator.state_dict().items()}
    separator.to(dtype)
    for cast in (separator, pickle.loads(pickle.dumps(separator))):
        assert float(cast.sample_rate) == 44100
        assert torch.equal(cast.stft.window.float(), window)
        assert float(cast.target_models["vocals"].compression) == pytest.approx(0.3, abs=1e-7)
        for other in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            actual = cast(audio.to(other))
            assert actual.dtype == torch.promote_types(dtype, other)
            assert difference(actual, expected) < 0.05  # bfloat16 has 8 bits
    assert cast.to(torch.float32).state_dict().keys() == state.keys()
    cast.load_state_dict(state)  # saved in 16 bits by someone else
    assert float(cast.sample_rate) == 44100


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_default_type_of_torch_changes_nothing(tiny_separator, default_type, tmp_path, dtype):
    """A program computes in float64 by default, and the loaded separator could not run at all."""
    audio = synth.mixture(2000)
    folder = save_model(tmp_path, tiny_separator())
    expected = load_separator(folder)(audio)
    default_type(dtype)
    separator = load_separator(folder)
    assert {value.dtype for value in separator.parameters()} == {torch.float32}
    assert float(separator.sample_rate) == 8000
    assert torch.equal(separator(audio), expected)
    estimates = separate_waveform(separator, audio)
    assert estimates.dtype == torch.float32
    assert difference(estimates, expected) < 1e-4


@pytest.mark.parametrize(
    "audio", [torch.zeros(2, 100, dtype=torch.int16), torch.zeros(2, 100, dtype=torch.complex64)]
)
def test_numbers_that_are_no_waveform_are_refused(tiny_separator, audio):
    with pytest.raises(ValueError, match="expected floating point"):
        tiny_separator()(audio)


@pytest.mark.parametrize("settings", [{"n_hop": 128}, {"n_hop": 65}, {"sample_rate": 22050.5}])
def test_settings_without_an_inverse_are_refused(tiny_separator, settings):
    with pytest.raises(ValueError, match=r"hop of|sample rate is"):
        tiny_separator(**settings)


# What torch does to modules, see docs/compatibility.md


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_traced_network_takes_any_length_and_a_separator_says_that_it_cannot(tiny_network):
    network, clip = tiny_network(), torch.rand(1, 2, 65, 40)
    traced = torch.jit.trace(network, clip[..., :10])
    torch.testing.assert_close(traced(clip), network(clip))
    separator = Separator({"vocals": network}, n_fft=128, n_hop=32).eval()
    with pytest.raises(RuntimeError, match="trace its networks"):
        torch.jit.trace(separator, synth.mixture(1000))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kinds", [{nn.LSTM}, {nn.Linear}, {nn.LSTM, nn.Linear}])
def test_quantised_separator_is_almost_the_same(tiny_separator, kinds):
    separator, audio = tiny_separator(), synth.mixture(2000)
    quantised = torch.ao.quantization.quantize_dynamic(separator, kinds)
    assert difference(quantised(audio), separator(audio)) < 0.1  # 8 bits
    assert difference(separate_waveform(quantised, audio), separator(audio)) < 0.1


def test_copies_of_a_separator_are_equal(tiny_separator):
    separator, audio = tiny_separator(), synth.mixture(2000)
    for copied in (copy.deepcopy(separator), pickle.loads(pickle.dumps(separator))):
        assert torch.equal(copied(audio), separator(audio))


def test_separator_of_compiled_networks_is_the_same(tiny_separator):
    separator, audio = tiny_separator(network={"nb_layers": 1}), synth.mixture(2000)
    separator.freeze()
    expected = separator(audio)
    for network in separator.target_models.values():
        network.compile(backend="eager")
    assert difference(separator(audio), expected) < 1e-5
