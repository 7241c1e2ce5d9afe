"""Players on the pages of bundled models: examples that are separated during the build."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch
from sphinx.application import Sphinx

from openunmix import predict
from openunmix.audio import STEM_MP4_STREAMS, AudioWriter, read_audio, resample
from openunmix.web import write_page

#: What the pages have where the player belongs; scripts/model_cards.py writes it.
PLACE = "<!-- player -->"
SONG = (
    '"Falcon 69" by The Easton Ellises, from the package `stempeg` '
    "(CC BY-NC-SA 3.0 as MUSDB18 states)"
)
CAPTIONS = {
    "umxs": f"Six seconds of {SONG}. A hard song for this model: its vocals have much of the rest.",
    "umxlive": f"The same six seconds of {SONG}.",
    "umxses": f"The sung voice of {SONG}, in pink noise of the same power.",
}
FRAME = '<iframe title="Stem player" src="../players/{name}/index.html" loading="lazy"></iframe>'


def _place(_: Sphinx, page: str, source: list[str]) -> None:
    """Put the frame of the player, and what is heard in it, into a page."""
    name = page.removeprefix("models/")
    if page.startswith("models/") and name in CAPTIONS:
        source[0] = source[0].replace(PLACE, f"{FRAME.format(name=name)}\n\n{CAPTIONS[name]}")


def _stream(name: str) -> tuple[torch.Tensor, int]:
    """Stem, or with "mixture" the whole, of the song: (channels, samples), and its sample rate."""
    spec = find_spec("stempeg")
    if spec is None or spec.origin is None:
        raise RuntimeError("the example song is missing: pip install --no-deps stempeg")
    (song,) = Path(spec.origin).parent.glob("data/*.stem.mp4")
    clip = read_audio(song, stream=STEM_MP4_STREAMS.index(name))
    return clip.waveform, clip.sample_rate


def _noisy_voice() -> tuple[torch.Tensor, int]:
    """Voice in pink noise of the same power, at 16 kHz."""
    waveform, rate = _stream("vocals")
    voice = resample(waveform.mean(dim=0, keepdim=True), rate, 16000)
    spectrum = torch.fft.rfft(torch.randn(voice.shape, generator=torch.Generator().manual_seed(0)))
    spectrum /= torch.arange(1, spectrum.shape[-1] + 1).sqrt()
    noise = torch.fft.irfft(spectrum, voice.shape[-1])
    return voice + noise * (voice.square().mean() / noise.square().mean()).sqrt(), 16000


def _write_players(app: Sphinx, error: Exception | None) -> None:
    """Separate the examples and write their players."""
    if error or app.builder.format != "html":
        return
    song, voice = _stream("mixture"), _noisy_voice()
    for name, (mixture, rate) in {"umxs": song, "umxlive": song, "umxses": voice}.items():
        estimates = predict.separate(mixture, rate=rate, model_str_or_path=name)
        waveforms = {target: estimate[0] for target, estimate in estimates.items()}
        with tempfile.TemporaryDirectory() as folder:
            files = {
                part: _write(Path(folder, f"{part}.wav"), waveform, rate)
                for part, waveform in {"mixture": mixture, **waveforms}.items()
            }
            page, original = Path(app.outdir, "players", name), files.pop("mixture")
            write_page(page, files, title=f"An example of {name}", mixture=original)


def _write(path: Path, waveform: torch.Tensor, rate: int) -> Path:
    with AudioWriter(path, rate, len(waveform), "32f") as writer:
        writer.write(waveform)
    return path


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("source-read", _place)
    app.connect("build-finished", _write_players, priority=400)  # before the archive is made
    return {"parallel_read_safe": True, "parallel_write_safe": True}
