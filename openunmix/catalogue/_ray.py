"""Rows separated by Ray Data, on a cluster whose machines may come and go."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from openunmix.catalogue.settings import Settings
from openunmix.catalogue.worker import Record, separate_row
from openunmix.errors import MissingExtraError

Row = Mapping[str, Any]

# How often Ray moves rows to another process when theirs dies; then they are left for a rerun.
_RETRIES = 10

# Blocks of rows. Those of a process that dies are given to another, where marks skip what is done.
_BLOCKS = 5000


# Columns that are needed of rows.
_NEEDED = ("id", "uri")


class _Actor:
    """A process of Ray that separates rows."""

    def __init__(self, settings: Settings, threads: int) -> None:
        torch.set_num_threads(threads)
        self._settings = settings

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Separate rows; return their records as JSON, which have no schema in common."""
        pairs = zip(batch["id"], batch["uri"], strict=True)
        rows = [{"id": str(identifier), "uri": str(uri)} for identifier, uri in pairs]
        return {"record": [json.dumps(separate_row(row, self._settings)) for row in rows]}


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
        import pyarrow
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
    size = -(-len(rows) // _BLOCKS)
    blocks = [
        pyarrow.table({name: [row[name] for row in rows[start : start + size]] for name in _NEEDED})
        for start in range(0, len(rows), size)
    ]
    on_gpu = settings.device.startswith("cuda")
    records = ray.data.from_arrow(blocks).map_batches(
        _Actor,
        fn_constructor_args=(settings, threads),
        batch_size=1,
        compute=ActorPoolStrategy(min_size=1, max_size=processes),
        num_cpus=threads,
        num_gpus=1 if on_gpu else 0,
        max_restarts=-1,
        max_task_retries=_RETRIES,
    )
    for row in records.iter_rows():
        yield json.loads(row["record"])
