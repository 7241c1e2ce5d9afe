"""Tasks in threads of their own."""

from __future__ import annotations

import threading

import pytest
import torch

from openunmix.predict._runtime import map_threads

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _threads():
    """Let torch have four threads, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_results_are_in_the_order_of_the_items():
    assert map_threads(lambda item: item * 2, range(9), CPU) == list(range(0, 18, 2))
    assert map_threads(lambda item: item, [], CPU) == []


@pytest.mark.parametrize(("items", "each"), [(1, 4), (2, 2), (3, 1), (9, 1)])
def test_threads_are_shared_out(items, each):
    counts = map_threads(lambda _: torch.get_num_threads(), range(items), CPU)
    assert counts == [each] * items


def test_callers_and_later_threads_keep_their_number():
    map_threads(lambda item: item, range(4), CPU)
    assert torch.get_num_threads() == 4
    found = []
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert found == [4]


def test_tasks_run_at_the_same_time():
    together = threading.Barrier(2, timeout=30)
    map_threads(lambda _: together.wait(), range(2), CPU)


def test_other_devices_take_one_task_after_the_other():
    names = map_threads(lambda _: threading.current_thread().name, range(3), torch.device("meta"))
    assert set(names) == {threading.current_thread().name}


def test_no_gradients_are_recorded():
    weight = torch.ones(1, requires_grad=True)
    assert not any(r.requires_grad for r in map_threads(lambda _: 2 * weight, range(2), CPU))
    assert torch.is_grad_enabled()


def test_error_of_a_task_is_raised():
    with pytest.raises(ZeroDivisionError):
        map_threads(lambda item: 1 // item, [1, 0], CPU)
    assert torch.get_num_threads() == 4
