"""Separation of catalogues: many files, many machines, nothing twice, nothing lost.

::

    plan -> manifest (Parquet) -> separate_row in processes, shards or Ray -> stems and marks

A row of the manifest is separated by :func:`separate_row`, wherever that runs. A song is done when
its mark, ``done.json``, is there: it is written last, and what has one is skipped.
"""

from __future__ import annotations

from openunmix.catalogue.manifest import plan, read_manifest
from openunmix.catalogue.settings import Settings, prepare
from openunmix.catalogue.worker import separate_row

__all__ = ["Settings", "plan", "prepare", "read_manifest", "separate_row"]
