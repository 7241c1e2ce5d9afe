"""Tasks in threads that compute with one thread each."""

from __future__ import annotations

import threading

import pytest
import torch

from openunmix.predict import _runtime
from openunmix.predict._runtime import Tasks, usable_precision

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _threads():
    """Let torch have three threads, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tasks():
    with Tasks(CPU) as made:
        yield made


def test_results_are_in_the_order_of_the_items(tasks):
    def work():
        return tasks.map(lambda item: item * 2, range(9)), tasks.map(abs, [])

    assert tasks.run(work) == (list(range(0, 18, 2)), [])
    assert list(tasks.steps(tasks.stream(abs, range(9), ahead=2))) == list(range(9))


def test_every_operation_has_one_thread_and_the_callers_has_all(tasks):
    def count(_):
        torch.ones(100_000).add(1)  # the first operation of a thread may change the number
        return torch.get_num_threads()

    assert tasks.run(lambda: tasks.map(count, range(9))) == [1] * 9
    assert torch.get_num_threads() == 3
    found = []
    later = threading.Thread(target=lambda: found.append(count(0)))
    later.start()
    later.join()
    assert found == [3]


def test_tasks_run_at_the_same_time(tasks):
    together = threading.Barrier(3, timeout=30)
    tasks.run(lambda: tasks.map(lambda _: together.wait(), range(3)))


def test_who_awaits_the_first_result_of_a_stream_computes_the_next():
    torch.set_num_threads(2)
    begun, together = threading.Event(), threading.Barrier(2)

    def work(_):
        begun.set()
        together.wait(timeout=5)

    def items():
        yield 1
        begun.wait(timeout=5)  # in the other thread
        yield 2

    with Tasks(CPU) as tasks:
        assert list(tasks.steps(tasks.stream(work, items(), ahead=1))) == [None, None]


def test_tasks_may_await_tasks(tasks):
    def inner(item):
        return sum(tasks.map(abs, range(item)))

    assert tasks.run(lambda: tasks.map(inner, range(20)))[:5] == [0, 0, 1, 3, 6]


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_caller_with_one_thread_and_other_devices_compute_in_order(device):
    torch.set_num_threads(3 if device == "meta" else 1)
    with Tasks(torch.device(device)) as tasks:
        names = tasks.map(lambda _: threading.current_thread(), range(3))
        names += tasks.steps(iter([threading.current_thread()]))
    assert set(names) == {threading.current_thread()}


def test_no_gradients_are_recorded(tasks):
    weight = torch.ones(1, requires_grad=True)
    assert not tasks.run(lambda: 2 * weight).requires_grad
    assert torch.is_grad_enabled()


def test_tasks_compute_in_the_precision_of_who_starts_them(tasks):
    square = torch.ones(2, 2)

    def work():
        with torch.autocast("cpu", torch.bfloat16):
            return tasks.map(lambda _: (square @ square).dtype, range(4))

    assert tasks.run(work) == [torch.bfloat16] * 4


def test_error_of_a_task_is_raised_and_the_threads_end():
    before = set(threading.enumerate())  # a server of another test may have threads
    with pytest.raises(ZeroDivisionError), Tasks(CPU) as tasks:  # noqa: PT012 - threads live inside
        assert set(threading.enumerate()) - before
        tasks.run(lambda: tasks.map(lambda item: 1 // item, [1, 0]))
    assert torch.get_num_threads() == 3
    assert set(threading.enumerate()) <= before


def test_old_torch_that_has_no_lstm_in_bfloat16_computes_in_single_precision(monkeypatch, caplog):
    """Torch 2.4 on a processor with bfloat16: no primitive descriptor for an LSTM."""

    def forward(*_):
        raise RuntimeError("could not create a primitive descriptor for an LSTM")

    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(_runtime, "_has_bfloat16", _runtime._has_bfloat16.__wrapped__)
    monkeypatch.setattr(torch.nn.LSTM, "forward", forward)
    assert usable_precision("bf16", CPU) == "float32"
    assert "using float32" in caplog.text
