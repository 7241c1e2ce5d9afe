"""The real-pair face of the Wiener filter, as openunmix 1.3.0 had it and Demucs calls it."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.checks import check_not_mutated

from openunmix.filtering import expectation_maximization, wiener
from openunmix.filtering import gaussian as complex_filter

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "openunmix_1_3_0.npz")


def golden(key: str) -> torch.Tensor:
    return torch.from_numpy(GOLDEN[key])


def example(frames: int = 7, bins: int = 5, channels: int = 2, sources: int = 3):
    generator = torch.Generator().manual_seed(0)
    magnitudes = torch.rand(frames, bins, channels, sources, generator=generator)
    return magnitudes, torch.randn(frames, bins, channels, 2, generator=generator)


def test_signatures_are_those_of_1_3_0():
    assert str(inspect.signature(wiener)).split(" -> ")[0] == (
        "(targets_spectrograms: 'Tensor', mix_stft: 'Tensor', iterations: 'int' = 1, "
        "softmask: 'bool' = False, residual: 'bool' = False, scale_factor: 'float' = 10.0, "
        "eps: 'float' = 1e-10)"
    )
    assert str(inspect.signature(expectation_maximization)).split(" -> ")[0] == (
        "(y: 'Tensor', x: 'Tensor', iterations: 'int' = 2, eps: 'float' = 1e-10, "
        "batch_size: 'int' = 200)"
    )


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("softmask", [False, True])
@pytest.mark.parametrize("iterations", [0, 1, 2, 3])
def test_wiener_equals_1_3_0(iterations, softmask, residual):
    estimates = wiener(
        golden("wiener/targets_spectrograms"),
        golden("wiener/mix_stft"),
        iterations,
        softmask=softmask,
        residual=residual,
    )
    expected = golden(f"wiener/out_it{iterations}_softmask{softmask:d}_residual{residual:d}")
    assert (estimates - expected).abs().max() <= 1e-10 * expected.abs().max()


def test_expectation_maximization_equals_1_3_0():
    results = expectation_maximization(golden("em/y"), golden("wiener/mix_stft"))
    for result, key in zip(results, ("em/out_y", "em/out_v", "em/out_R"), strict=True):
        assert (result - golden(key)).abs().max() <= 1e-10 * golden(key).abs().max()


def test_the_batch_size_has_no_effect():
    _, mixture = example()
    y = torch.randn(7, 5, 2, 2, 3)
    for one, other in zip(
        expectation_maximization(y, mixture),
        expectation_maximization(y, mixture, batch_size=2),
        strict=True,
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("niters", [0, 1, 2])
@pytest.mark.parametrize("residual", [False, True])
def test_the_call_of_demucs(niters, residual):
    mag_out = torch.rand(2, 4, 2, 9, 12)  # batch, sources, channels, bins, frames
    mix = torch.randn(2, 2, 9, 12, dtype=torch.complex64)
    mag_out = mag_out.permute(0, 4, 3, 2, 1)
    mix_stft = torch.view_as_real(mix.permute(0, 3, 2, 1))
    outs = []
    for sample in range(2):
        pos = 0
        out = []
        for pos in range(0, 12, 5):
            frame = slice(pos, pos + 5)
            z_out = wiener(
                mag_out[sample, frame], mix_stft[sample, frame], niters, residual=residual
            )
            out.append(z_out.transpose(-1, -2))
        outs.append(torch.cat(out, dim=0))
    out = torch.view_as_complex(torch.stack(outs, 0))
    out = out.permute(0, 4, 3, 2, 1).contiguous()
    assert out.shape == (2, 4 + residual, 2, 9, 12)
    first = complex_filter.wiener(
        mag_out[0, :5], mix.permute(0, 3, 2, 1)[0, :5], niters, residual=residual
    )
    torch.testing.assert_close(out[0, ..., :5], first.permute(3, 2, 1, 0))


@pytest.mark.parametrize("iterations", [0, 1, 2])
def test_arguments_are_not_mutated(iterations):
    # 1.3.0 wrote 1 into every silent value of the caller's mixture, and over the sources of EM.
    magnitudes, mixture = example()
    mixture[2] = 0
    check_not_mutated(lambda m, x: wiener(m, x, iterations), magnitudes, mixture)
    check_not_mutated(expectation_maximization, torch.randn(7, 5, 2, 2, 3), mixture)


def test_any_memory_layout_is_accepted():
    magnitudes, mixture = example()
    expected = wiener(magnitudes, mixture)
    strided = mixture.movedim(-1, 0).contiguous().movedim(0, -1)
    odd = torch.cat([torch.zeros(1), mixture.flatten()])[1:].view(mixture.shape)
    torch.testing.assert_close(wiener(magnitudes, strided), expected)
    torch.testing.assert_close(wiener(magnitudes.mT.contiguous().mT, odd), expected)


def test_gradients_pass_through_the_pairs():
    magnitudes, mixture = example()
    magnitudes.requires_grad_()
    mixture.requires_grad_()
    wiener(magnitudes, mixture).square().sum().backward()
    for tensor in (magnitudes, mixture):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().max() > 0
