"""Terms of use of a model: the licence of its weights, how it is known, and its training data.

A licence of weights says nothing about the data that they were trained on, so both are recorded,
and what is not known stays unknown (None).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

STATED = "stated by its publishers"
REPORTED = "as reported, not checked here"
UNKNOWN = "not stated by its publishers"


@dataclass(frozen=True)
class Terms:
    """What is known about the terms of a model."""

    licence: str  # of the weights; empty if not known
    known: str  # how: STATED, REPORTED or UNKNOWN
    commercial: bool | None  # whether that licence allows commercial use
    data: str  # terms of the training data, in a few words
    data_commercial: bool | None  # whether those allow commercial use
    sources: tuple[str, ...] = ()  # of a licence that is only reported

    @property
    def summary(self) -> str:
        """The licence of the weights, with a mark where it was not checked here."""
        if not self.licence:
            return self.known
        return f"{self.licence}, {self.known}" if self.known == REPORTED else self.licence

    def as_json(self) -> dict[str, Any]:
        """Return the terms as they are printed by ``umx-models licences --json``."""
        return {
            "licence": self.licence or None,
            "known": self.known,
            "commercial_use": self.commercial,
            "reported_by": list(self.sources),
            "training_data": {"terms": self.data, "commercial_use": self.data_commercial},
        }


_NON_COMMERCIAL = "research and personal, non-commercial use"
_MUSDB = "academic use only; its songs have licences of their own, many of them non-commercial"
_AUR = "https://aur.archlinux.org/packages/open-unmix-"

# The pages of the publishers were out of reach when this was written: what others say of them.
UMX = Terms("MIT", REPORTED, True, _MUSDB, False, (f"{_AUR}umx-weights",))
UMXHQ = Terms(
    "MIT",
    REPORTED,
    True,
    _MUSDB,
    False,
    (
        f"{_AUR}umxhq-weights",
        "https://github.com/santiquiroz/port-openunmix-onnx",
        "https://huggingface.co/teamup-tech/Open-Unmix-weights",
    ),
)
UMXL = Terms("CC BY-NC-SA 4.0", STATED, False, "not published", None)
UMXSE = Terms(
    "MIT",
    REPORTED,
    True,
    f"CC BY 4.0 for Voicebank+DEMAND, {REPORTED}",
    True,
    (f"{_AUR}umxse-weights",),
)
UMXS = Terms(
    _NON_COMMERCIAL, STATED, False, "many, some of them non-commercial; see its model card", False
)
UMXSES = Terms(
    _NON_COMMERCIAL, STATED, False, "many, some of them share-alike; see its model card", True
)
