"""A device that computes something else than the CPU, which a device of the CPU plays here."""

from __future__ import annotations

import copy
import gc

import pytest
import torch
from helpers.checks import difference
from helpers.sounds import noise

from openunmix.predict import _trust
from openunmix.predict.stream import separate_blocks, separate_waveform

RATE = 8000


@pytest.fixture
def audio():
    return noise(3 * RATE, 2, seed=1)


@pytest.fixture
def separator(tiny_separator):
    return tiny_separator(("vocals", "drums"))


@pytest.fixture
def device(separator, monkeypatch):
    """Return a function that makes the separator's device compute something else."""
    right = copy.deepcopy(separator)
    monkeypatch.setattr(_trust, "UNTRUSTED", ("cpu",))
    monkeypatch.setattr(_trust, "SECONDS", 0.5)
    copies = []

    def on_cpu(_):
        copies.append(copy.deepcopy(right))
        return copies[-1]

    monkeypatch.setattr(_trust, "_on_cpu", on_cpu)

    def break_it(factor):
        for network in separator.target_models.values():
            network.output_scale.data *= factor

    break_it.copies = copies
    break_it.right = right
    return break_it


def expected(device, audio, monkeypatch):
    """Return the estimates of a device that computes what the CPU does."""
    with monkeypatch.context() as patch:
        patch.setattr(_trust, "UNTRUSTED", ())
        return separate_waveform(device.right, audio)


@pytest.mark.parametrize("factor", [1.1, float("nan")])
def test_wrong_results_are_replaced_by_those_of_the_cpu(
    separator, device, audio, monkeypatch, caplog, factor
):
    separator.niter = device.right.niter = 0  # the filter would cancel a common factor
    device(factor)
    estimates = separate_waveform(separator, audio)
    assert "using the CPU instead" in caplog.text
    assert ("returns NaN" if factor != factor else "differs from the CPU by") in caplog.text
    assert torch.equal(estimates, expected(device, audio, monkeypatch))


def test_right_results_are_used_without_a_word(separator, device, audio, caplog):
    used = []
    found = _trust.trusted(separator, [audio], lambda made, blocks: used.append(made) or blocks)
    assert found[0] is separator
    assert used == [device.copies[0], separator]
    assert caplog.text == ""


def test_rounding_is_no_fault(separator, device, audio, caplog):
    device(1 + 1e-5)
    separate_waveform(separator, audio)
    assert caplog.text == ""


def test_operation_that_the_device_lacks_is_computed_by_the_cpu(separator, device, audio, caplog):
    def separate(made, blocks):
        if made is separator:
            raise NotImplementedError("aten::x is not implemented for this device.\nMore")
        return iter(blocks)

    assert _trust.trusted(separator, [audio], separate)[0] is device.copies[0]
    assert "aten::x is not implemented" in caplog.text
    assert "More" not in caplog.text


def test_separator_is_compared_once(separator, device, audio):
    for _ in range(3):
        separate_waveform(separator, audio)
    assert len(device.copies) == 1


def test_silence_proves_nothing_so_the_next_song_is_compared(separator, device, audio):
    separate_waveform(separator, torch.zeros_like(audio))
    assert device.copies == []
    separate_waveform(separator, audio)
    assert len(device.copies) == 1


@pytest.mark.parametrize("length", [0, 100, RATE])
def test_blocks_of_a_stream_are_all_separated(separator, device, audio, monkeypatch, length):
    """The caller reuses one buffer, and the comparison reads ahead."""

    def blocks():
        buffer = torch.empty(2, 1000)
        for part in audio[:, :length].split(1000, dim=-1):
            buffer[:, : part.shape[-1]] = part
            yield buffer[:, : part.shape[-1]]

    parts = list(separate_blocks(separator, blocks()))
    found = torch.cat(parts, dim=-1) if parts else torch.zeros(2, 2, 0)
    assert found.shape[-1] == length
    if length:
        assert difference(found, expected(device, audio[:, :length], monkeypatch)) < 1e-5


def test_the_cpu_itself_is_not_compared(separator, audio, monkeypatch):
    monkeypatch.setattr(_trust, "_compare", None)
    separate_waveform(separator, audio)


def test_copy_on_the_cpu_leaves_the_separator_where_it_is(separator):
    made = _trust._on_cpu(separator)
    assert made is not separator
    assert all(parameter.device.type == "cpu" for parameter in made.parameters())


def test_compared_separators_are_not_kept(separator, device, audio):
    before = len(_trust._compared)
    again = copy.deepcopy(separator)
    separate_waveform(again, audio)
    assert len(_trust._compared) == before + 1
    del again
    gc.collect()
    assert len(_trust._compared) == before
