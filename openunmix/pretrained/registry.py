"""The known models: files, settings, licence, training data and citation.

A model is added by an entry of :data:`MODELS`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openunmix.errors import UnknownModelError
from openunmix.model import Architecture
from openunmix.pretrained import terms
from openunmix.pretrained.config import SeparatorConfig
from openunmix.pretrained.terms import Terms
from openunmix.transforms.fourier import STFTConfig

DEFAULT_MODEL = "umxhq"
BUNDLED_MODEL = "umxs"

_WEIGHTS = Path(__file__).parents[1] / "weights"


_JOSS = (
    "F.-R. Stöter, S. Uhlich, A. Liutkus, Y. Mitsufuji, Open-Unmix - A Reference Implementation "
    "for Music Source Separation, Journal of Open Source Software 4(41):1667, 2019, "
    "https://doi.org/10.21105/joss.01667"
)


@dataclass(frozen=True)
class WeightFile:
    """The weights of one target as a file on a server, in the cache or in the package."""

    name: str
    sha256_prefix: str = ""  # empty for bundled files, whose hashes are in separator.json
    size: int = 0  # bytes, rounded; 0 if not known


@dataclass(frozen=True)
class ModelEntry:
    """A known model; without a URL, its weights are bundled with the package."""

    name: str
    url: str  # of the folder that holds the files
    files: Mapping[str, WeightFile]  # by target, in the order of the estimates
    config: SeparatorConfig
    trained_on: str
    terms: Terms
    citation: str = _JOSS

    @property
    def licence(self) -> str:
        """Licence of the weights in a line, marked where it is not known for certain."""
        return self.terms.summary

    @property
    def bundled(self) -> bool:
        """Whether the weights come with the package."""
        return not self.url

    @property
    def targets(self) -> list[str]:
        """Names of the targets, in the order of the estimates."""
        return list(self.files)

    @property
    def size(self) -> int | None:
        """Total size in bytes, None if not known."""
        return sum(file.size for file in self.files.values()) or None

    def url_of(self, target: str) -> str:
        """Return the URL of one target's file."""
        return f"{self.url.rstrip('/')}/{self.files[target].name}"


def _files(size: int, names: str) -> dict[str, WeightFile]:
    """Return files by target, from names ``<target>-<hash>`` or ``<target>_<hash>``."""
    files = {}
    for name in names.split():
        target, sha256_prefix = re.split("[-_]", name)
        files[target] = WeightFile(f"{name}.pth", sha256_prefix, size)
    return files


def _bundled_files(*targets: str) -> dict[str, WeightFile]:
    """Return the files of a bundled model."""
    return {target: WeightFile(f"{target}.safetensors") for target in targets}


def _of_music(hidden_size: int, unidirectional: bool = False) -> SeparatorConfig:
    """Return the settings of a model of music, stereo at 44.1 kHz."""
    architecture = Architecture(hidden_size, unidirectional=unidirectional, bandwidth=16000.0)
    return SeparatorConfig(architecture=architecture)


_SPEECH = SeparatorConfig(STFTConfig(1024, 512, 16000.0), 1, Architecture(hidden_size=256))

_ENTRIES = (
    ModelEntry(
        name="umx",
        url="https://zenodo.org/records/3370486/files",
        files=_files(34_000_000, "vocals-c8df74a5 drums-5a48008b bass-646024d3 other-f8e132cc"),
        config=_of_music(hidden_size=512),
        trained_on="MUSDB18",
        terms=terms.UMX,
    ),
    ModelEntry(
        name="umxhq",
        url="https://zenodo.org/records/3370489/files",
        files=_files(34_000_000, "vocals-b62c91ce drums-9619578f bass-8d85a5bd other-b52fbbf7"),
        config=_of_music(hidden_size=512),
        trained_on="MUSDB18-HQ",
        terms=terms.UMXHQ,
    ),
    ModelEntry(
        name="umxl",
        url="https://zenodo.org/records/5069601/files",
        files=_files(113_000_000, "vocals-bccbd9aa drums-69e0ebd4 bass-2ca1ce51 other-c8c5b3e6"),
        config=_of_music(hidden_size=1024),
        trained_on="about 400 hours of private music",
        terms=terms.UMXL,
    ),
    ModelEntry(
        name="umxse",
        url="https://zenodo.org/records/3786908/files",
        files=_files(6_400_000, "speech_f5e0d9f9 noise_04a6fc2d"),
        config=_SPEECH,
        trained_on="Voicebank+DEMAND",
        terms=terms.UMXSE,
        citation=(
            "S. Uhlich, Y. Mitsufuji, Open-Unmix for Speech Enhancement (UMX SE), 2020, "
            "https://doi.org/10.5281/zenodo.3786908"
        ),
    ),
    ModelEntry(
        name="umxs",
        url="",
        files=_bundled_files("vocals", "drums", "bass", "other"),
        config=_of_music(hidden_size=448),
        trained_on="free songs, partly with stems from another separator; see recipes/umxs",
        terms=terms.UMXS,
        citation="Open-Unmix 2",
    ),
    ModelEntry(
        name="umxlive",
        url="",
        files=_bundled_files("vocals", "drums", "bass", "other"),
        config=_of_music(hidden_size=224, unidirectional=True),
        trained_on="free songs, partly with stems from another separator; see recipes/umxlive",
        terms=terms.UMXS,
        citation="Open-Unmix 2",
    ),
    ModelEntry(
        name="umxses",
        url="",
        files=_bundled_files("speech", "noise"),
        config=_SPEECH,
        trained_on="free studio voices in simulated rooms and recorded noise; see recipes/umxses",
        terms=terms.UMXSES,
        citation="Open-Unmix 2",
    ),
)

MODELS: Mapping[str, ModelEntry] = {entry.name: entry for entry in _ENTRIES}


def find_model(name: str) -> ModelEntry:
    """Return the model of a name; UnknownModelError lists the known names and the closest one."""
    if name in MODELS:
        return MODELS[name]
    close = difflib.get_close_matches(name.lower(), MODELS, n=1, cutoff=0.5)
    guess = f" (did you mean {close[0]!r}?)" if close else ""
    raise UnknownModelError(
        f"{name!r} is neither a known model{guess} nor a folder or file that exists; the known "
        f"models are {', '.join(MODELS)}"
    )


def bundled_folder(entry: ModelEntry) -> Path:
    """Return the folder of a bundled model; it is missing if the package was built without."""
    return _WEIGHTS / entry.name
