"""The Wiener filter for inference against the one in double precision."""

from __future__ import annotations

import pytest
import torch
from helpers.checks import check_not_mutated, decibels
from helpers.stfts import DIFFICULT
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from openunmix.filtering import _fast
from openunmix.filtering._fast import WienerFilter
from openunmix.filtering.gaussian import wiener


def example(
    sources: int = 3, frames: int = 40, channels: int = 2, bins: int = 33, loudness: float = 30.0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (frames, channels, bins)
    mixture = loudness * torch.randn(shape, dtype=torch.complex64, generator=generator)
    magnitudes = torch.rand(sources, *shape, generator=generator) * mixture.abs()
    return magnitudes, mixture


def in_double(magnitudes: Tensor, mixture: Tensor, **options: object) -> Tensor:
    """What the filter of wiener.py gives, in this layout."""
    estimates = wiener(
        magnitudes.to(torch.float64).permute(1, 3, 2, 0),
        mixture.to(torch.complex128).transpose(1, 2),
        **options,
    )
    return estimates.permute(3, 0, 2, 1)


@pytest.mark.parametrize("loudness", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("softmask", [False, True])
@pytest.mark.parametrize("iterations", [0, 1, 2])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_equals_the_filter_in_double_precision(
    channels, iterations, softmask, residual, loudness, monkeypatch
):
    monkeypatch.setattr(_fast, "_BLOCK", 700)  # several blocks along both axes
    options = {"iterations": iterations, "softmask": softmask, "residual": residual}
    magnitudes, mixture = example(channels=channels, loudness=loudness)
    estimates = WienerFilter(**options)(magnitudes, mixture)
    expected = in_double(magnitudes, mixture, **options)
    assert estimates.dtype == torch.complex64
    assert decibels(estimates - expected, expected) < -110


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("name", DIFFICULT)
def test_singular_mixtures_are_as_good_as_in_double_precision(name, residual):
    magnitudes, mixture = DIFFICULT[name]
    magnitudes = magnitudes.permute(3, 0, 2, 1).to(torch.float32).contiguous()
    mixture = mixture.transpose(1, 2).to(torch.complex64).contiguous()
    expected = in_double(magnitudes, mixture, residual=residual)
    estimates = WienerFilter(residual=residual)(magnitudes, mixture)
    assert decibels(estimates - expected, mixture) < -90


@given(
    sources=st.integers(1, 4),
    frames=st.integers(0, 9),
    channels=st.integers(1, 3),
    bins=st.integers(1, 40),
    iterations=st.integers(0, 2),
    residual=st.booleans(),
)
def test_any_shape_is_separated(sources, frames, channels, bins, iterations, residual):
    magnitudes, mixture = example(sources, frames, channels, bins)
    estimates = WienerFilter(iterations, residual=residual)(magnitudes, mixture)
    assert estimates.shape == (sources + residual, frames, channels, bins)
    assert torch.isfinite(torch.view_as_real(estimates)).all()


@pytest.mark.parametrize("softmask", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_silent_values_have_the_phase_zero(softmask, residual):
    magnitudes, mixture = example(loudness=0.1)
    mixture[:20], mixture[20:, :, 3], mixture[20:, 0, 4], mixture[20:, 1, 5] = 0, 0, 0, 0
    options = {"softmask": softmask, "residual": residual}
    estimates = WienerFilter(**options)(magnitudes, mixture)
    expected = in_double(magnitudes, mixture, **options)
    assert decibels(estimates - expected, expected) < -110


def test_calls_share_one_buffer():
    separate = WienerFilter()
    magnitudes, mixture = example()
    first = separate(magnitudes, mixture)
    copy = first.clone()
    second = separate(0.5 * magnitudes, mixture)
    assert second.data_ptr() == first.data_ptr()
    assert not torch.equal(second, copy)
    assert torch.equal(separate(magnitudes, mixture), copy)
    assert separate(magnitudes[:, :7], mixture[:7]).shape == (3, 7, 2, 33)


def test_arguments_are_not_mutated():
    magnitudes, mixture = example()
    mixture[2] = 0
    check_not_mutated(WienerFilter(residual=True), magnitudes, mixture)


def test_strided_and_conjugated_arguments_are_accepted():
    magnitudes, mixture = example()
    expected = WienerFilter()(magnitudes, mixture)
    strided = mixture.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    torch.testing.assert_close(WienerFilter()(magnitudes.mT.contiguous().mT, strided), expected)
    conjugated = WienerFilter()(magnitudes, mixture.conj())
    torch.testing.assert_close(conjugated, expected.conj())


def test_inference_mode_may_come_and_go():
    separate = WienerFilter()
    magnitudes, mixture = example()
    with torch.inference_mode():
        inside = separate(magnitudes * 1, mixture * 1).clone()
    assert torch.equal(separate(magnitudes, mixture), inside)


def test_gradients_are_not_recorded():
    magnitudes, mixture = example()
    assert not WienerFilter()(magnitudes.requires_grad_(), mixture).requires_grad


def test_wrong_shapes_are_named():
    magnitudes, mixture = example()
    with pytest.raises(ValueError, match=r"magnitudes have shape .*\(3, 40, 2, 32\)"):
        WienerFilter()(magnitudes[..., :-1], mixture)
