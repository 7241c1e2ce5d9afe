"""What is scored, and how to get its estimates of a track."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from openunmix._files import sha256_of
from openunmix.audio import AudioSource
from openunmix.data.tracks import TrackAudio, audio_files, read_alike, shape_text, total
from openunmix.errors import AudioFileError
from openunmix.evaluate.oracles import MIXTURE, ORACLES
from openunmix.evaluate.scores import METHOD
from openunmix.evaluate.tracks import estimate_files, find_estimates
from openunmix.model import Separator
from openunmix.predict.aggregation import aggregate, resolve_aggregation
from openunmix.predict.file_stream import blocks_of, separate_stream
from openunmix.pretrained import ResolvedModel, load_separator
from openunmix.pretrained.config import SHARED_NAME

#: What is estimated if nothing is said, in the order of tables.
TARGETS = ("vocals", "drums", "bass", "other")
#: Frames that the filter of the ``umx`` command takes together.
WIENER_WIN_LEN = 300


@dataclass(frozen=True)
class System:
    """Where estimates come from: a model, a folder of files, or an oracle; one of the three.

    Scores are always computed on the CPU; ``device`` is that of the model. ``niter``,
    ``wiener_win_len``, ``residual`` and ``filterbank`` are as for
    :class:`~openunmix.model.Separator`.
    """

    #: See :func:`openunmix.pretrained.resolve_model`.
    model: ResolvedModel | None = None
    #: A folder as :func:`evaluate_tracks` describes it.
    estimates: Path | None = None
    #: ``"irm1"`` and ``"irm2"``, the ideal ratio masks of magnitudes and of powers; ``"mwf"``, the
    #: multichannel Wiener filter; ``"mixture"``, the mixture as every estimate.
    oracle: str | None = None
    targets: tuple[str, ...] = TARGETS
    niter: int = 1
    wiener_win_len: int | None = WIENER_WIN_LEN
    residual: bool = False
    #: Names and the estimates to sum for each, in place of the targets.
    aggregate: Mapping[str, Sequence[str]] | None = None
    device: str = "cpu"
    filterbank: str = "torch"

    def __post_init__(self) -> None:
        """Raise ValueError for a system that cannot be scored."""
        if sum(given is not None for given in (self.model, self.estimates, self.oracle)) != 1:
            raise ValueError("give one of model, estimates and oracle")
        if self.oracle is not None and self.oracle not in (*ORACLES, MIXTURE):
            raise ValueError(
                f"oracle {self.oracle!r} is unknown; choose from {[*ORACLES, MIXTURE]}"
            )
        if self.model is not None and not set(self.targets) <= set(self.model.targets):
            raise ValueError(
                f"model {self.model.name!r} does not have all of {list(self.targets)}; it has "
                f"{self.model.targets}"
            )
        if len(self.aggregation) < 2:
            raise ValueError(
                f"BSS Eval needs two or more sources; got {list(self.aggregation)}: add targets, "
                "or the residual"
            )

    @property
    def name(self) -> str:
        """Name of the system in tables."""
        if self.model is not None:
            return self.model.name
        return self.oracle or Path(str(self.estimates)).resolve().name

    @property
    def aggregation(self) -> dict[str, list[str]]:
        """Names of what is scored, and the estimates summed for each."""
        return resolve_aggregation(self.targets, self._residual_name, self.aggregate)

    @property
    def _residual_name(self) -> str | None:
        return "residual" if self.residual else None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Settings that scores depend on, as JSON returns them, and the name of the system."""
        settings: dict[str, Any] = {"system": self.name, "method": METHOD}
        settings["targets"], settings["aggregation"] = list(self.targets), self.aggregation
        if self.oracle is not None:
            settings["oracle"] = self.oracle
        if self.model is not None:
            settings["sha256"] = dict(self.model.sha256)
            if self.model.config.architecture.shared:
                shared = next(iter(self.model.files.values())).with_name(SHARED_NAME)
                settings["sha256"][SHARED_NAME] = sha256_of(shared)
            settings["config"] = json.loads(json.dumps(asdict(self.model.config)))
            for name in ("niter", "wiener_win_len", "filterbank"):
                settings[name] = getattr(self, name)
        return settings

    def estimate_files(self, folder: Path) -> dict[str, Path]:
        """Files of given estimates: for each of what is scored its own, else those of its parts."""
        parts = self.aggregation
        files = estimate_files(folder, [*parts, *chain(*parts.values())])
        used = [it for name in parts for it in ([name] if name in files else parts[name])]
        missing = [name for name in used if name not in files]
        if missing:
            raise AudioFileError(
                f"no estimate of {' and '.join(missing)} in {folder}: there are "
                f"{', '.join(audio_files(folder)) or 'no audio files'}"
            )
        return {name: files[name] for name in used}


class Estimator:
    """Computes the estimates of a system; loads its model for the first track."""

    def __init__(self, system: System) -> None:
        self.system = system

    @cached_property
    def separator(self) -> Separator:
        """The separator of a model."""
        system = self.system
        assert system.model is not None, "only models have separators"
        return load_separator(
            system.model,
            niter=system.niter,
            residual=system.residual,
            wiener_win_len=system.wiener_win_len,
            device=system.device,
            filterbank=system.filterbank,
        )

    def estimates(self, audio: TrackAudio) -> dict[str, Tensor]:
        """Return estimates (channels, samples) by name; OpenUnmixError or ValueError if invalid."""
        system = self.system
        if system.estimates is not None:
            return _read_estimates(find_estimates(system.estimates, audio.track), audio, system)
        if system.oracle == MIXTURE:  # not summed: several mixtures would be louder than one
            return dict.fromkeys(system.aggregation, audio.mixture)
        if system.oracle is not None:
            oracle = ORACLES[system.oracle](audio.mixture, list(audio.sources.values()))
            available = dict(zip(audio.sources, oracle, strict=True))
        else:
            available = _separated(audio, self.separator)
        targets = {target: available[target] for target in system.targets}
        return aggregate(audio.mixture, targets, system.aggregation, system._residual_name)


def references_of(stems: Mapping[str, Tensor], system: System) -> dict[str, Tensor]:
    """Sum the references of what is scored; that of the residual are the stems without a target.

    It is omitted for tracks without such stems.
    """
    rest = [name for name in stems if name not in system.targets]
    references = {}
    for name, parts in system.aggregation.items():
        summed = [stem for part in parts for stem in ([part] if part in system.targets else rest)]
        if summed:
            references[name] = total(stems[stem] for stem in summed)
    return references


def _separated(audio: TrackAudio, separator: Separator) -> dict[str, Tensor]:
    """Separate as ``umx`` does; (channels, samples) by target."""
    blocks = separate_stream(
        separator, blocks_of(audio.mixture), len(audio.mixture), audio.sample_rate
    )
    estimates = np.concatenate([block.estimates for block in blocks], axis=-1)
    return dict(zip(separator.target_models, torch.from_numpy(estimates), strict=True))


def _read_estimates(folder: Path, audio: TrackAudio, system: System) -> dict[str, Tensor]:
    """Read estimates from files named after what is scored, or after its parts."""
    files = system.estimate_files(folder)
    estimates = {}
    for name, parts in system.aggregation.items():
        used = [name] if name in files else parts
        rate, waveforms = read_alike({f"estimate of {it}": AudioSource(files[it]) for it in used})
        estimates[name] = total(waveforms.values())
        if (rate, estimates[name].shape) != (audio.sample_rate, audio.mixture.shape):
            raise AudioFileError(
                f"the estimate of {name} has {shape_text(estimates[name])} at {rate} Hz, the track "
                f"{shape_text(audio.mixture)} at {audio.sample_rate} Hz; they must be the same"
            )
    return estimates
