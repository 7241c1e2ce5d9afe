"""The result of a dataset check: issues, and a summary of the sources."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

_SHOWN = 5  # issues of one kind that are listed


@dataclass(frozen=True)
class Issue:
    """Something wrong with a dataset; an error rules out training, a warning does not."""

    severity: str  # "error" or "warning"
    kind: str  # in one word: "silent", "duplicate" ...
    path: str  # the file or folder
    message: str  # what is wrong with it
    advice: str  # what to do about it

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True)
class SourceSummary:
    """Summary of the files of one source in one split."""

    split: str  # "train" or "valid"
    source: str  # its name, or "mixture"
    files: int  # that could be read
    duration: float  # seconds
    non_silent: float  # seconds above -60 dB
    level: float  # RMS in dB relative to full scale
    sample_rates: tuple[int, ...]  # all that occur, in Hz
    channels: tuple[int, ...]  # all that occur


@dataclass(frozen=True)
class Report:
    """Summary of a dataset and its issues."""

    dataset: str  # its kind
    root: str  # its folder; empty if the data are generated
    sample_rate: int  # Hz at which it is to be used
    sources: tuple[SourceSummary, ...]
    issues: tuple[Issue, ...]  # errors first

    @property
    def errors(self) -> list[Issue]:
        """Issues that rule out training."""
        return [issue for issue in self.issues if issue.severity == "error"]

    @property
    def warnings(self) -> list[Issue]:
        """Issues that do not rule out training."""
        return [issue for issue in self.issues if issue.severity == "warning"]

    def text(self) -> str:
        """Return a table of the sources, and the issues by kind, the first few of each."""
        place = f" in {self.root}" if self.root else ", generated"
        lines = [f"Dataset {self.dataset}{place}, used at {self.sample_rate} Hz"]
        if self.sources:
            lines += ["", *_table(self.sources)]
        for title, issues in (
            ("error{s}: do not train on this", self.errors),
            ("warning{s}: training is possible", self.warnings),
        ):
            if issues:
                plural = "" if len(issues) == 1 else "s"
                lines += ["", f"{len(issues)} {title.format(s=plural)}", *_listed(issues)]
        if not self.issues:
            lines += ["", "No issues found."]
        return "\n".join(lines) + "\n"


def _table(sources: tuple[SourceSummary, ...]) -> list[str]:
    """Lines of the table of sources."""
    rows = [("split", "source", "files", "duration", "non-silent", "level", "Hz", "channels")]
    for summary in sources:
        share = f"{100 * summary.non_silent / summary.duration:.0f} %"
        rates, channels = (
            ", ".join(map(str, found)) for found in (summary.sample_rates, summary.channels)
        )
        row = (summary.split, summary.source, str(summary.files), _duration(summary.duration))
        rows.append((*row, share, f"{summary.level:.1f} dB", rates, channels))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _listed(issues: list[Issue]) -> list[str]:
    """Lines of issues by kind, the advice once."""
    groups: dict[tuple[str, str], list[Issue]] = defaultdict(list)
    for issue in issues:
        groups[issue.kind, issue.advice].append(issue)
    lines = []
    for (kind, advice), group in groups.items():
        lines.append(f"  {kind}: {advice}")
        lines += [f"    {issue}" for issue in group[:_SHOWN]]
        if len(group) > _SHOWN:
            lines.append(f"    and {len(group) - _SHOWN} more")
    return lines
