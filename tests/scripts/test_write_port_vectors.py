"""The test vectors for ports: up to date, and a port written after the page agrees with them."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts/write_port_vectors.py"))
N, H, LENGTH = 256, 64, 1600
WINDOW = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N) / N)


def vector(name, *shape):
    return np.fromfile(ROOT / f"docs/onnx/{name}.f32", "<f4").reshape(shape)


@pytest.fixture(scope="module")
def session():
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    return runtime.InferenceSession(ROOT / "docs/onnx/tiny.onnx", options)


@pytest.mark.parametrize("name", ["mixture", "stft", "masks", "estimates"])
def test_vectors_are_what_the_script_writes(name):
    made = SCRIPT["vectors"]()[name]
    torch.testing.assert_close(torch.from_numpy(vector(name, *made.shape)), made)


def test_a_port_that_follows_the_page_agrees(session):
    mixture = vector("mixture", 2, LENGTH)
    extended = np.pad(mixture, [(0, 0), (N // 2, N // 2)], "reflect")
    frames = 1 + LENGTH // H
    parts = np.stack([extended[:, t * H : t * H + N] for t in range(frames)])
    spectra = np.fft.rfft(parts * WINDOW)
    expected = vector("stft", frames, 2, N // 2 + 1, 2)
    np.testing.assert_allclose(spectra.real, expected[..., 0], atol=1e-5)
    np.testing.assert_allclose(spectra.imag, expected[..., 1], atol=1e-5)

    (masks,) = session.run(["masks"], {"magnitude": np.abs(spectra).astype(np.float32)})
    np.testing.assert_allclose(masks, vector("masks", *masks.shape), atol=1e-4)

    model = SCRIPT["separator"]()
    model.niter = 0  # without the Wiener filter, which golden vectors test
    wanted = model(torch.from_numpy(mixture)[None])[0].numpy()
    norm = np.zeros(LENGTH + N)
    total = np.zeros((2, 2, LENGTH + N))
    for t, frame in enumerate(np.fft.irfft(masks * spectra).transpose(1, 0, 2, 3)):
        total[..., t * H : t * H + N] += frame * WINDOW
        norm[t * H : t * H + N] += WINDOW**2
    estimates = (total / np.maximum(norm, 1e-8))[..., N // 2 : N // 2 + LENGTH]
    assert np.abs(estimates - wanted).max() < 1e-4 * np.abs(wanted).max()
