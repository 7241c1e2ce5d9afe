"""Separate a real track with the bundled model, and report scores and speed.

The track is the example in the package ``stempeg``: six seconds of a mixture with its true stems.
That package is not imported, because it requires an ffmpeg program.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openunmix.audio import STEM_MP4_STREAMS, AudioWriter, read_audio
from openunmix.evaluate.metrics import sdr_mdx21
from openunmix.pretrained.registry import BUNDLED_MODEL

ROOT = Path(__file__).parent.parent


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description="Separate a song whose true stems are known.")
    parser.add_argument("--song", type=Path, help="a .stem.mp4 (default: the example of stempeg)")
    parser.add_argument("--model", default=BUNDLED_MODEL, help="as for umx (default: %(default)s)")
    parser.add_argument("--outdir", type=Path, default=ROOT / "demo", help="default: %(default)s")
    parser.add_argument(
        "--seconds", type=int, default=60, help="of audio to measure speed on (default: 60)"
    )
    return parser


def example_track() -> Path:
    """Find the example in the installed package."""
    package = importlib.util.find_spec("stempeg")
    for folder in (package and package.submodule_search_locations) or ():
        for song in sorted(Path(folder, "data").glob("*.stem.mp4")):
            return song
    raise SystemExit("the example song is missing: pip install --no-deps stempeg, or give --song")


def separate(song: Path, model: str, outdir: Path, *options: str) -> dict[str, Any]:
    """Run ``umx``; return its report on the track."""
    command = ["umx", str(song), "--model", model, "--outdir", str(outdir), *options, "--json"]
    print(f"$ {shlex.join(command)}", flush=True)
    command[0] = str(Path(sys.executable).with_name("umx"))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    (record,) = json.loads(done.stdout)["files"]
    return dict(record)


def repeated(song: Path, seconds: int, folder: Path) -> Path:
    """Write the mixture, repeated to a duration in seconds."""
    mixture, rate = read_audio(song, stream=0)
    samples = seconds * rate
    path = folder / "repeated.wav"
    with AudioWriter(path, rate, len(mixture), "32f") as writer:
        writer.write(mixture.repeat(1, -(-samples // mixture.shape[-1]))[:, :samples].numpy())
    return path


def score_table(song: Path, outputs: dict[str, str]) -> str:
    """Return a table of the SDR of the estimates, and of the mixture in their place."""
    mixture = read_audio(song, stream=0).waveform
    lines = [f"{'':8}  {'estimate':>10}  {'mixture itself':>14}"]
    for target, file in outputs.items():
        stem = read_audio(song, stream=STEM_MP4_STREAMS.index(target)).waveform
        estimate = read_audio(file).waveform
        scores = sdr_mdx21(stem, estimate), sdr_mdx21(stem, mixture)
        lines.append(f"{target:8}  {scores[0]:7.2f} dB  {scores[1]:11.2f} dB")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; return the exit code."""
    args = parser().parse_args(argv)
    song = args.song or example_track()
    clip = separate(song, args.model, args.outdir, "--player")
    with tempfile.TemporaryDirectory() as folder:
        longer = separate(repeated(song, args.seconds, Path(folder)), args.model, Path(folder))
    files = {target: file for target, file in clip["outputs"].items() if target in STEM_MP4_STREAMS}
    print(
        f"\nSignal-to-distortion ratio of the whole clip, against the true stems\n\n"
        f"{score_table(song, files)}\n\n"
        f"{clip['duration']:.1f} s of audio took {clip['seconds']:.1f} s; the same repeated to "
        f"{longer['duration']:.0f} s took {longer['seconds']:.1f} s, a real-time factor of "
        f"{longer['real_time_factor']:.3f}\n\n"
        f"The files:"
    )
    print("\n".join(f"  {file}" for file in clip["outputs"].values()))
    print(f"\nListen to them in a browser:\n  {clip['player']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
