"""What Python programs hand over as a waveform."""

from __future__ import annotations

import array
import io

import numpy as np
import pytest
import torch

from openunmix.audio.waveform import as_waveform

VALUES = np.array([[0.5, -0.25, 0.125], [1.0, 0.0, -1.0]])


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f2", ">f4", ">f8", "<f4", np.longdouble])
def test_array_of_any_floating_point_type_is_a_waveform(kind):
    """A file of big-endian floats was read with numpy: torch raised an error of its own."""
    waveform = as_waveform(VALUES.astype(kind))
    assert torch.equal(waveform.double(), torch.from_numpy(VALUES))
    assert waveform.dtype == (torch.float32 if np.dtype(kind).itemsize < 8 else torch.float64)


@pytest.mark.parametrize(
    "audio",
    [
        VALUES.tolist(),
        tuple(map(tuple, VALUES)),
        list(VALUES),
        list(torch.from_numpy(VALUES)),
        [row.requires_grad_() for row in torch.from_numpy(VALUES)],
        np.asfortranarray(VALUES),
        VALUES[:, ::-1][:, ::-1],
        np.broadcast_to(VALUES, VALUES.shape),  # read-only
        np.ma.masked_array(VALUES),
        np.repeat(VALUES, 2, axis=1)[:, ::2],
        memoryview(VALUES),
        torch.from_numpy(VALUES).to_sparse(),
    ],
)
def test_anything_that_holds_such_numbers_is_a_waveform(audio):
    assert torch.equal(as_waveform(audio), torch.from_numpy(VALUES))


def test_list_of_numbers_is_mono():
    assert as_waveform([0.5, 1]).tolist() == [0.5, 1]
    assert as_waveform(array.array("d", [0.5, 1])).tolist() == [0.5, 1]


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", ">i2", "i4", "i8", "?"])
def test_integers_are_refused(kind):
    for audio in (np.zeros((2, 3), kind), torch.from_numpy(np.zeros((2, 3), kind.strip(">")))):
        with pytest.raises(ValueError, match="expected floating point; divide it by its full"):
            as_waveform(audio)
    with pytest.raises(ValueError, match="expected floating point"):
        as_waveform([[0, 1], [1, 0]])


@pytest.mark.parametrize(
    "audio",
    [
        None,
        b"RIFF",
        "song.wav",
        io.BytesIO(b"RIFF"),
        object(),
        {"left": [0.5]},
        [[0.5], [0.5, 0.25]],
        [None],
        VALUES.astype(object),
        VALUES.astype(complex),
        VALUES.astype(str),
    ],
)
def test_anything_else_is_refused(audio):
    with pytest.raises(TypeError, match="expected a tensor, an array or lists"):
        as_waveform(audio)
