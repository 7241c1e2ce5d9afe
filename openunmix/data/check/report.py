"""What the data set doctor has found."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

__all__ = ["Finding", "Report", "SourceSummary"]

# Findings of one kind that are shown in full.
_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a data set.

    Attributes
    ----------
    severity : str
        ``"error"`` if the data set must not be trained on as it is, otherwise ``"warning"``.
    kind : str
        What sort of finding it is, in a word: ``"silent"``, ``"duplicate"`` ...
    path : str
        The file or folder.
    found : str
        What was found.
    advice : str
        What to do.
    """

    severity: str
    kind: str
    path: str
    found: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}: {self.found}"


@dataclass(frozen=True)
class SourceSummary:
    """How much a split has of a source.

    Attributes
    ----------
    split, source : str
        ``"train"`` or ``"valid"``, and the name of the source, or ``"mixture"``.
    files : int
        Files that could be read.
    seconds, sounding : float
        Duration of all of them, and of what is louder than -60 dB.
    level : float
        Root mean square over all of them in dB relative to full scale.
    sample_rates, channels : tuple of int
        All that occur.
    """

    split: str
    source: str
    files: int
    seconds: float
    sounding: float
    level: float
    sample_rates: tuple[int, ...]
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Report:
    """What a data set is like, and all that is wrong with it.

    Attributes
    ----------
    dataset, root : str
        Its kind and folder; no folder if the code makes it.
    sample_rate : int
        Hz at which it is to be used.
    sources : tuple of SourceSummary
        What there is.
    findings : tuple of Finding
        What is wrong, errors first.
    """

    dataset: str
    root: str
    sample_rate: int
    sources: tuple[SourceSummary, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        """Findings with which training must not begin."""
        return [found for found in self.findings if found.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """Findings with which training may go on."""
        return [found for found in self.findings if found.severity == "warning"]

    def text(self) -> str:
        """Write the report for people.

        Returns
        -------
        str
            A table of the sources, and the findings by kind, the first few of each.
        """
        place = f" in {self.root}" if self.root else ", made by the code"
        lines = [f"Data set {self.dataset}{place}, to be used at {self.sample_rate} Hz"]
        if self.sources:
            lines += ["", *_table(self.sources)]
        for title, findings in (
            ("error{s}: do not train on this", self.errors),
            ("warning{s}: training can go on", self.warnings),
        ):
            if findings:
                plural = "" if len(findings) == 1 else "s"
                lines += ["", f"{len(findings)} {title.format(s=plural)}", *_listed(findings)]
        if not self.findings:
            lines += ["", "Nothing is wrong with it."]
        return "\n".join(lines) + "\n"


def _table(sources: tuple[SourceSummary, ...]) -> list[str]:
    """Lines of the table of sources."""
    rows = [("split", "source", "files", "duration", "sounding", "level", "Hz", "channels")]
    for summary in sources:
        share = 100 * summary.sounding / summary.seconds
        rows.append(
            (
                summary.split,
                summary.source,
                str(summary.files),
                _duration(summary.seconds),
                f"{share:.0f} %",
                f"{summary.level:.1f} dB",
                ", ".join(map(str, summary.sample_rates)),
                ", ".join(map(str, summary.channels)),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _listed(findings: list[Finding]) -> list[str]:
    """Lines of findings: by kind, with the advice once."""
    groups: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[finding.kind, finding.advice].append(finding)
    lines = []
    for (kind, advice), group in groups.items():
        lines.append(f"  {kind}: {advice}")
        lines += [f"    {finding}" for finding in group[:_SHOWN]]
        if len(group) > _SHOWN:
            lines.append(f"    and {len(group) - _SHOWN} more")
    return lines
