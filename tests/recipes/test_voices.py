"""Voices of Debian packages: who speaks, and what is no speech for a model to learn from."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from voices import PACKAGES, SAMPLE_RATE, VALIDATION_VOICES, Package, voices_of

RATE = 44100


@pytest.mark.parametrize(
    ("package", "file", "voice"),
    [
        ("festvox-ru", "msu_ru_nsh_clunits/wav/one.wav", "festvox-ru"),
        ("fillets-ng-data-cs", "airplane/cs/let-m-sedadlo.ogg", "fillets-cs-m"),
        ("fillets-ng-data-cs", "airplane/cs/let-x-hlas.ogg", "fillets-cs-others"),
        ("klettres-data", "pt_BR/alpha/a.ogg", "klettres-pt_BR"),
        ("gcin-voice", "ba/5.ogg", "gcin-5"),
        ("kajongg", "male1/pung.ogg", "kajongg-male1"),
        ("ktuberling-data", "nn/hat.wav", "ktuberling-nn"),
        ("qabcs-data", "be/sounds/words/stone.ogg", "qabcs-be"),
        ("tuxpaint-stamps-default", "animals/crow_desc.ogg", "tuxpaint-en"),
        ("tuxpaint-stamps-default", "animals/crow_desc_pt_BR.ogg", "tuxpaint-pt_BR"),
    ],
)
def test_a_recording_is_that_of_its_speaker(tmp_path: Path, package: str, file: str, voice: str):
    write(tmp_path, package, file, syllables(RATE))

    ((found, clip),) = read(tmp_path, package)

    assert found == voice
    # The silence around the two syllables is gone, but for a moment.
    assert 0.9 < len(clip) / SAMPLE_RATE < 1.3


@pytest.mark.parametrize(
    ("package", "file", "voice"),
    [
        ("ktuberling-data", "de/hat.ogg", "klettres-de"),
        ("ktuberling-data", "nds/hat.ogg", "klettres-nds"),
        ("ktuberling-data", "uk/hat.ogg", "klettres-uk"),
        ("ktuberling-data", "en/hat.ogg", "klettres-en_GB"),
        ("kajongg", "de/male1/pung.ogg", "klettres-de"),
    ],
)
def test_readers_who_may_be_those_of_validation_are_left_out(
    tmp_path: Path, package: str, file: str, voice: str
):
    assert voice in VALIDATION_VOICES
    write(tmp_path, package, file, syllables(RATE))

    assert read(tmp_path, package) == []


def test_recordings_without_treble_are_left_out(tmp_path: Path):
    write(tmp_path, "ktuberling-data", "nn/hat.wav", syllables(8000), rate=8000)

    assert read(tmp_path, "ktuberling-data") == []


def test_sounds_that_are_no_speech_are_left_out(tmp_path: Path):
    steady = np.sin(np.arange(RATE) * 0.1) * 0.1
    write(tmp_path, "qabcs-data", "be/sounds/words/hum.ogg", steady)
    write(tmp_path, "qabcs-data", "be/sounds/words/short.ogg", syllables(RATE)[: RATE // 10])

    assert read(tmp_path, "qabcs-data") == []


def syllables(rate: int) -> np.ndarray:
    """Make two bursts (samples,) of 0.4 s with a pause between them and silence around them."""
    burst = np.random.default_rng(0).standard_normal(rate * 2 // 5) * 0.1
    pause = np.zeros(rate // 5)
    return np.concatenate([pause, pause, burst, pause, burst, pause, pause])


def write(cache: Path, package: str, file: str, sound: np.ndarray, rate: int = RATE) -> None:
    """Write a recording of a package, as if the package had been fetched before."""
    path = cache / package / package_named(package).folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate)


def read(cache: Path, package: str) -> list[tuple[str, np.ndarray]]:
    """Read the voices of a package."""
    return list(voices_of(package_named(package), cache))


def package_named(package: str) -> Package:
    """Find a package by its name."""
    return next(one for one in PACKAGES if one.name == package)
