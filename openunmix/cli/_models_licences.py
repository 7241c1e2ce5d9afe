"""The tables of ``umx-models licences``: terms of use, how they are known, training data."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence

from openunmix.pretrained.registry import ModelEntry
from openunmix.pretrained.terms import REPORTED

#: What ``--commercial`` asks for: a licence of the weights, or terms of their data as well.
SCOPES = ("weights", "data")

_HEADING = (
    "model",
    "licence of the weights",
    "commercial use",
    "training data",
    "its terms allow it",
)
_ANSWERS = {True: "yes", False: "no", None: "not known"}


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines of aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (zip(row, widths, strict=True) for row in rows)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in line).rstrip() for line in lines
    )


def select(entries: Sequence[ModelEntry], scope: str | None) -> list[ModelEntry]:
    """Return the models that allow commercial use, as far as is known; all without a scope."""
    allowed = list(entries)
    if scope is not None:
        allowed = [entry for entry in allowed if entry.terms.commercial]
    if scope == "data":
        allowed = [entry for entry in allowed if entry.terms.data_commercial]
    return allowed


def caution(entries: Sequence[ModelEntry], scope: str | None) -> str:
    """Return what the filter does not answer, for the user of the models it has selected."""
    notes = []
    if reported := [entry.name for entry in entries if entry.terms.known == REPORTED]:
        notes.append(f"the licence of {', '.join(reported)} is {REPORTED}: see its publishers")
    if scope == "weights" and (bound := [e.name for e in entries if not e.terms.data_commercial]):
        notes.append(f"the terms of the training data of {', '.join(bound)} do not allow it")
    return "; ".join(notes)


def as_json(entries: Sequence[ModelEntry]) -> str:
    """Return the terms of models as JSON, ``null`` for what is not known."""
    return json.dumps([_record(entry) for entry in entries], indent=2, ensure_ascii=False)


def _record(entry: ModelEntry) -> dict[str, object]:
    """Return what is known of one model."""
    record = {"model": entry.name, **entry.terms.as_json(), "citation": entry.citation}
    record["training_data"] = {"description": entry.trained_on, **record["training_data"]}
    return record


def as_text(entries: Sequence[ModelEntry]) -> str:
    """Return a table of models, and a paragraph for each."""
    rows = [
        (
            entry.name,
            entry.licence,
            _ANSWERS[entry.terms.commercial],
            textwrap.shorten(entry.trained_on, 32, placeholder=" ..."),
            _ANSWERS[entry.terms.data_commercial],
        )
        for entry in entries
    ]
    return "\n\n".join([table([_HEADING, *rows]), *("\n".join(_lines(e)) for e in entries)])


def _lines(entry: ModelEntry) -> Iterator[str]:
    """Yield the lines of a model's paragraph."""
    terms = entry.terms
    yield f"{entry.name}: {entry.licence}"
    if terms.sources:
        yield f"  reported by: {', '.join(terms.sources)}"
    yield f"  trained on: {entry.trained_on}"
    yield f"  terms of the data: {terms.data}"
    yield f"  cite: {entry.citation}"
