"""Draw the figures of README and documentation: the network, and the chain from file to files.

    python scripts/draw_figures.py            # writes docs/images/network.svg and chain.svg

The sizes in the first are those of the network that the package builds.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

from openunmix.model import Architecture, OpenUnmix
from openunmix.transforms.fourier import STFTConfig

IMAGES = Path(__file__).parent.parent / "docs" / "images"

TIMES = "\N{MULTIPLICATION SIGN}"
INK, PALE, LINE = "#1d2433", "#5b6475", "#8b94a6"
PLAIN, LEARNED, SIGNAL, FILTER = "#f1f3f7", "#dfe9ff", "#fdf3dc", "#e2f3e6"
TARGETS = {"vocals": "#f4d9e8", "drums": "#fde3cf", "bass": "#dcebd6", "other": "#d8e6f6"}


class Drawing:
    """An SVG under construction: boxes, arrows between them, and text."""

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" aria-labelledby="title description" '
            f"font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\">",
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="description">{escape(description)}</desc>',
            '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 1 9 5 0 9z" fill="{LINE}"/></marker>'
            "</defs>",
            f'<rect x="1" y="1" width="{width - 2}" height="{height - 2}" rx="14" '
            'fill="#ffffff" stroke="#d9dde5"/>',
        ]

    def box(self, x: int, y: int, width: int, height: int, lines: Sequence[str], fill: str) -> None:
        """Draw a box; its first line is a title, the others are small."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{fill}" '
            f'stroke="{LINE}" stroke-width="1.2"/>'
        )
        top = y + height / 2 - 9 * (len(lines) - 1)
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + 18 * number + 5, line, small=number > 0)

    def text(
        self, x: float, y: float, text: str, small: bool = False, anchor: str = "middle"
    ) -> None:
        """Write a line of text."""
        style = f'font-size="12.5" fill="{PALE}"' if small else f'font-size="15.5" fill="{INK}"'
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" {style}>{escape(text)}</text>'
        )

    def arrow(self, *points: tuple[float, float]) -> None:
        """Draw an arrow along points."""
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        self.parts.append(
            f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="1.6" '
            'stroke-linejoin="round" marker-end="url(#tip)"/>'
        )

    def node(self, x: int, y: int, sign: str) -> None:
        """Draw a circle with a sign: what is done to signals that meet."""
        self.parts.append(f'<circle cx="{x}" cy="{y}" r="15" fill="#ffffff" stroke="{LINE}"/>')
        self.text(x, y + 5.5, sign)

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_text("\n".join([*self.parts, "</svg>", ""]), "utf-8")


def draw_network(path: Path) -> None:
    """Draw the network of one target, with the sizes of the published music models."""
    stft = STFTConfig()
    network = Architecture(bandwidth=16000).build(stft)
    assert isinstance(network, OpenUnmix)
    channels = network.fc3.out_features // stft.bins
    used = network.fc1.in_features // channels
    drawing = Drawing(
        1080,
        330,
        "The network of one target",
        "Magnitudes are normalised and reduced to features; bidirectional LSTM layers follow, with "
        "a skip connection around them, and two dense layers estimate a mask for the magnitudes.",
    )
    row, width, height = 110, 128, 96
    hidden = network.fc1.out_features
    columns = [
        (28, ["magnitude", f"{channels} channels", f"{TIMES} {stft.bins} bins"], SIGNAL),
        (186, ["normalise", f"{used} bins, 16 kHz", "mean, deviation"], PLAIN),
        (344, ["features", f"dense {network.fc1.in_features} → {hidden}", "norm, tanh"], LEARNED),
        (502, [f"{network.lstm.num_layers} {TIMES} BiLSTM",
               f"2 {TIMES} {network.lstm.hidden_size} units", "over time"], LEARNED),
        (720, ["reduce", f"dense {network.fc2.in_features} → {network.fc2.out_features}",
               "norm, ReLU"], LEARNED),
        (878, ["mask", f"dense {hidden} → {network.fc3.out_features}", "norm, scale, ReLU"],
         LEARNED),
    ]  # fmt: skip
    for x, lines, fill in columns:
        drawing.box(x, row, width + (20 if x == 878 else 0), height, lines, fill)
    middle = row + height // 2
    for (x, *_), (following, *_) in pairwise(columns):
        if following != 720:
            drawing.arrow((x + width, middle), (following, middle))
    drawing.box(650, middle - 26, 50, 52, ["c; h"], PLAIN)
    drawing.arrow((630, middle), (650, middle))
    drawing.arrow((700, middle), (720, middle))
    drawing.arrow((408, row), (408, 62), (675, 62), (675, middle - 26))
    drawing.text(541, 52, "skip connection: features c beside hidden states h", small=True)
    drawing.node(952, 272, TIMES)
    drawing.arrow((952, row + height), (952, 257))
    drawing.arrow((92, row + height), (92, 272), (937, 272))
    drawing.text(500, 262, "the mask is multiplied with the magnitude of the mixture", small=True)
    drawing.text(
        500, 292, "one network for each target; frames depend on others in the LSTM only", True
    )
    drawing.arrow((967, 272), (1056, 272))
    drawing.text(1012, 262, "estimate", small=True)
    drawing.write(path)


def draw_chain(path: Path) -> None:
    """Draw the way of a song through the package."""
    drawing = Drawing(
        1080,
        400,
        "The chain from a file to its stems",
        "A file is decoded, mixed down and resampled; its STFT goes through a network for each "
        "target and the Wiener filter; estimates are resampled, aligned and encoded.",
    )
    middle, height = 205, 92
    top = middle - height // 2
    stages = [
        (24, 108, ["song.mp3", "any format,", "or a video"], SIGNAL),
        (160, 124, ["read", "decode, downmix,", "resample"], PLAIN),
        (312, 92, ["STFT", "window 4096,", "hop 1024"], PLAIN),
        (604, 132, ["Wiener filter", "magnitudes and", "panning → signals"], FILTER),
        (764, 124, ["write", "inverse STFT,", "resample, encode"], PLAIN),
    ]
    for x, width, lines, fill in stages:
        drawing.box(x, top, width, height, lines, fill)
    drawing.arrow((132, middle), (160, middle))
    drawing.arrow((284, middle), (312, middle))
    drawing.arrow((736, middle), (764, middle))
    for number, (target, fill) in enumerate(TARGETS.items()):
        y = 78 + 70 * number
        centre = y + 22
        drawing.box(452, y, 104, 44, [target], fill)
        drawing.arrow((404, middle), (428, middle), (428, centre), (452, centre))
        drawing.arrow((556, centre), (580, centre), (580, middle), (604, middle))
        drawing.box(936, y, 120, 44, [f"{target}.wav"], fill)
        drawing.arrow((888, middle), (912, middle), (912, centre), (936, centre))
    drawing.text(504, 60, "a network for each target", small=True)
    drawing.text(996, 60, "aligned to the song", small=True)
    drawing.arrow((358, top), (358, 34), (670, 34), (670, top))
    drawing.text(514, 26, "STFT of the mixture: phases, channels", small=True)
    drawing.arrow((222, top + height), (222, 372), (826, 372), (826, top + height))
    drawing.text(
        524, 364, "the mixture itself, delayed: alignment to the sample, and the residual", True
    )
    drawing.write(path)


if __name__ == "__main__":
    draw_network(IMAGES / "network.svg")
    draw_chain(IMAGES / "chain.svg")
