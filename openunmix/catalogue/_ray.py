"""Rows separated by Ray Data, on a cluster whose machines may come and go."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from openunmix.catalogue.manifest import Row
from openunmix.catalogue.settings import Settings
from openunmix.catalogue.worker import Record, failed, separate_row
from openunmix.errors import MissingExtraError

# Processes that may end while they separate a row, as machines vanish; Ray would go on for ever.
_ATTEMPTS = 10

# Blocks of rows. Those of a process that dies are given to another, where marks skip what is done.
_BLOCKS = 5000


class _Attempts:
    """A process of Ray that counts how often each row was begun and did not end."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun: Counter[str] = Counter()

    def begin(self, identifier: str) -> bool:
        """Whether a row may be tried, or tried again."""
        self._begun[identifier] += 1
        return self._begun[identifier] <= self._limit

    def end(self, identifier: str) -> None:
        """Forget a row, which has a record."""
        del self._begun[identifier]


class _Actor:
    """A process of Ray that separates rows."""

    def __init__(self, settings: Settings, threads: int, attempts: Any) -> None:
        torch.set_num_threads(threads)
        self._settings, self._attempts = settings, attempts

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        """Separate a row; return its record as JSON, as records have no schema in common."""
        import ray

        if ray.get(self._attempts.begin.remote(row["id"])):
            record = separate_row(row, self._settings)
        else:
            reason = (
                f"{row['uri']!r} failed: its process ended again and again; "
                "the file is damaged, or there is too little memory"
            )
            record = failed(row, self._settings, reason)
        self._attempts.end.remote(row["id"])
        return {"record": json.dumps(record)}


def separate_with_ray(
    rows: Sequence[Row],
    settings: Settings,
    address: str | None,
    processes: int | None = None,
    threads: int = 1,
) -> Iterator[Record]:
    """Separate rows on a cluster, or on this machine; yield their records as they come.

    Rows whose process dies are moved to others. What is lost in the end has no record.
    """
    try:
        import ray
        from ray.data import ActorPoolStrategy, DataContext
    except ImportError as error:
        raise MissingExtraError(
            "--ray needs the extra package ray: pip install 'openunmix[ray]'"
        ) from error
    if not rows:
        return
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    context = DataContext.get_current()
    context.max_errored_blocks = -1  # rows that are lost are no reason to lose all others
    context.enable_progress_bars = False
    counter = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Attempts)
    needed = [{"id": row["id"], "uri": row["uri"]} for row in rows]
    blocks = ray.data.from_items(needed, override_num_blocks=min(len(needed), _BLOCKS))
    records = blocks.map(
        _Actor,
        fn_constructor_args=(settings, threads, counter.remote(_ATTEMPTS)),
        compute=ActorPoolStrategy(min_size=1, max_size=processes),
        num_cpus=threads,
        num_gpus=1 if settings.device.startswith("cuda") else 0,
    )
    for row in records.iter_rows():
        yield json.loads(row["record"])
