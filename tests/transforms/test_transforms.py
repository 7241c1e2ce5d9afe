"""The filterbank modules of openunmix 1.3.0."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from openunmix.errors import MissingExtraError
from openunmix.transforms import ComplexNorm, TorchISTFT, TorchSTFT, make_filterbanks

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "openunmix_1_3_0.npz")


def signal(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@given(
    samples=st.integers(1, 700),
    channels=st.integers(1, 3),
    leading=st.lists(st.integers(1, 2), max_size=2),
)
def test_the_inverse_returns_any_signal(samples, channels, leading):
    # 1.3.0 could not transform clips shorter than half a window.
    encoder, decoder = make_filterbanks(n_fft=64, n_hop=16, center=True)
    waveform = signal(*leading, channels, samples)
    pairs = encoder(waveform)
    assert pairs.shape[:-2] == (*leading, channels, 33)
    assert pairs.shape[-1] == 2
    torch.testing.assert_close(decoder(pairs, length=samples), waveform, atol=1e-5, rtol=0)


def test_the_spectrogram_equals_1_3_0():
    encoder, _ = make_filterbanks(n_fft=256, n_hop=64, center=True)
    magnitude = ComplexNorm()(encoder(torch.from_numpy(GOLDEN["audio"])))
    expected = torch.from_numpy(GOLDEN["spectrogram/input"])
    assert (magnitude - expected).abs().max() <= 1e-6 * expected.max()


@pytest.mark.parametrize("center", [False, True])
def test_the_transform_equals_its_definition_in_double_precision(center):
    waveform = signal(2, 500, dtype=torch.float64)
    window = torch.hann_window(64, dtype=torch.float64)
    encoder = TorchSTFT(n_fft=64, n_hop=16, center=center, window=window)
    padded = nn.functional.pad(waveform, (32, 32), mode="reflect") if center else waveform
    expected = torch.fft.rfft(padded.unfold(-1, 64, 16) * window).mT
    torch.testing.assert_close(torch.view_as_complex(encoder(waveform)), expected)


def test_any_memory_layout_is_accepted():
    # 1.3.0 failed for waveforms whose samples do not lie next to each other.
    encoder, decoder = make_filterbanks(n_fft=64, n_hop=16, center=True)
    waveform = signal(3, 2, 500)
    pairs = encoder(waveform)
    interleaved = waveform.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(encoder(interleaved), pairs)
    odd = torch.cat([torch.zeros(1), pairs.flatten()])[1:].view(pairs.shape)
    for layout in (pairs.contiguous(), pairs.movedim(-1, 0).contiguous().movedim(0, -1), odd):
        assert torch.equal(decoder(layout), decoder(pairs))
        assert torch.equal(ComplexNorm()(layout), ComplexNorm()(pairs))


def test_the_window_is_saved_but_not_trained():
    for module in make_filterbanks(n_fft=64, n_hop=16):
        assert list(module.state_dict()) == ["window"]
        assert not module.window.requires_grad
        assert torch.equal(module.window, torch.hann_window(64))


def test_a_window_can_be_given():
    window = nn.Parameter(torch.hamming_window(64), requires_grad=False)
    encoder = TorchSTFT(n_fft=64, n_hop=16, center=True, window=window)
    decoder = TorchISTFT(n_fft=64, n_hop=16, center=True, window=window)
    waveform = signal(1, 300)
    assert encoder.window is not None
    assert not torch.allclose(encoder(waveform), TorchSTFT(64, 16, center=True)(waveform))
    torch.testing.assert_close(decoder(encoder(waveform), length=300), waveform, atol=1e-5, rtol=0)


def test_the_defaults_are_those_of_1_3_0():
    encoder, decoder = make_filterbanks()
    for module in (encoder, decoder):
        assert (module.n_fft, module.n_hop, module.center) == (4096, 1024, False)
    assert decoder.sample_rate == 44100.0


def test_the_norm_is_the_magnitude():
    pairs = signal(2, 3, 5, 7, 2)
    expected = pairs.square().sum(dim=-1).sqrt()
    torch.testing.assert_close(ComplexNorm()(pairs), expected)


def test_the_mono_norm_is_the_mean_of_magnitudes():
    pairs = signal(2, 3, 5, 7, 2)
    mono = ComplexNorm(mono=True)(pairs)
    torch.testing.assert_close(mono, ComplexNorm()(pairs).mean(dim=1, keepdim=True))


def test_the_gradient_of_the_norm_is_finite_at_silence():
    pairs = torch.zeros(1, 1, 5, 7, 2, requires_grad=True)
    ComplexNorm()(pairs).sum().backward()
    assert torch.equal(pairs.grad, torch.zeros_like(pairs))


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="method is 'wavelet'"):
        make_filterbanks(method="wavelet")


def test_the_asteroid_filterbank_names_its_extra(monkeypatch):
    for name in ("asteroid_filterbanks", "asteroid_filterbanks.torch_stft_fb"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"openunmix\[asteroid\]"):
        make_filterbanks(method="asteroid")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [20, 500])
def test_the_asteroid_filterbank_equals_the_fft(channels, samples):
    pytest.importorskip("asteroid_filterbanks")
    waveform = signal(3, channels, samples)
    encoder, decoder = make_filterbanks(n_fft=64, n_hop=16, center=True, method="asteroid")
    pairs = encoder(waveform)
    expected = TorchSTFT(n_fft=64, n_hop=16, center=True)(waveform)
    torch.testing.assert_close(pairs, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(decoder(pairs, length=samples), waveform, atol=1e-4, rtol=0)
