"""Scores published by others, shown beside measured ones and marked as such.

SDR of BSS Eval v4 in dB on the 50 test tracks of MUSDB18, or of its uncompressed edition
MUSDB18-HQ: the median over frames of one second, then over tracks. "Recomputed" means that these
medians were computed from the frame-wise results submitted to SiSEC 2018.
"""

from __future__ import annotations

from typing import NamedTuple

_SISEC = "recomputed from the submissions to SiSEC 2018"
_ASTEROID = "asteroid, egs/musdb18/X-UMX"
_SPLEETER = "Spleeter, paper.md"
_HYBRID = "Hybrid Demucs, paper.md"
_UMX = "Open-Unmix, README"
_SCNET = "SCNet paper, table 2, a secondary source"
_ROFORMER = "BS-RoFormer paper, table 2, a secondary source"
_LATER = "a secondary source"


class PublishedSystem(NamedTuple):
    """SDR of one system in dB, its source, and a remark: oracle, extra data, MUSDB18-HQ ..."""

    name: str
    vocals: float
    drums: float
    bass: float
    other: float
    source: str
    remark: str = ""


PUBLISHED = (
    PublishedSystem("IRM1", 8.52, 7.33, 6.18, 6.92, _SISEC, "oracle"),
    PublishedSystem("IRM2", 9.43, 8.45, 7.12, 7.85, _SISEC, "oracle"),
    PublishedSystem("MWF", 9.13, 8.09, 6.75, 7.56, _SISEC, "oracle"),
    PublishedSystem("WK", 3.76, 4.00, 2.94, 2.43, _SISEC),
    PublishedSystem("STL2 (Wave-U-Net)", 3.25, 4.22, 3.21, 2.25, _SISEC),
    PublishedSystem("JY3", 5.74, 4.66, 3.67, 3.40, _SISEC),
    PublishedSystem("UHL1", 5.85, 5.51, 4.97, 4.03, _SISEC),
    PublishedSystem("UHL2", 5.93, 5.92, 5.03, 4.19, _SISEC),
    PublishedSystem("UHL3", 6.51, 6.72, 5.03, 4.43, _SISEC, "extra data"),
    PublishedSystem("TAK1", 6.60, 6.43, 5.16, 4.15, _SISEC),
    PublishedSystem("TAK2", 7.16, 6.81, 5.40, 4.80, _SISEC, "extra data"),
    PublishedSystem("TAU1", 7.15, 6.96, 5.86, 4.73, _SISEC, "extra data"),
    PublishedSystem("umx", 6.32, 5.73, 5.23, 4.02, _UMX),
    PublishedSystem("umxhq", 6.25, 6.04, 5.07, 4.28, _UMX, "HQ"),
    PublishedSystem("umxl", 7.21, 7.15, 6.02, 4.89, _UMX, "private data"),
    PublishedSystem("X-UMX", 6.61, 6.47, 5.43, 4.64, _ASTEROID),
    PublishedSystem("X-UMXL", 7.57, 7.39, 6.28, 4.83, _ASTEROID, "extra data"),
    PublishedSystem("Spleeter, mask", 6.55, 5.93, 5.10, 4.24, _SPLEETER, "extra data"),
    PublishedSystem("Spleeter, MWF", 6.86, 6.71, 5.51, 4.55, _SPLEETER, "extra data"),
    PublishedSystem("Conv-TasNet", 6.81, 6.08, 5.66, 4.37, _ROFORMER),
    PublishedSystem("Demucs, 150 extra songs", 7.05, 7.08, 6.70, 4.47, _SPLEETER, "extra data"),
    PublishedSystem("Demucs v2", 6.84, 6.86, 7.01, 4.42, _HYBRID),
    PublishedSystem("D3Net", 7.24, 7.01, 5.25, 4.53, _HYBRID),
    PublishedSystem("ResUNetDecouple+", 8.98, 6.62, 6.04, 5.29, _HYBRID),
    PublishedSystem("KUIELAB-MDX-Net", 8.88, 7.09, 7.38, 6.29, _HYBRID),
    PublishedSystem("Demucs v3 (Hybrid)", 8.13, 8.24, 8.76, 5.59, _LATER, "HQ"),
    PublishedSystem("Demucs v4 (HT)", 7.93, 7.94, 8.48, 5.72, _SCNET, "HQ"),
    PublishedSystem(
        "Demucs v4 (HT), fine-tuned", 9.20, 10.08, 10.39, 6.32, _LATER, "HQ, 800 songs"
    ),
    PublishedSystem("BSRNN", 10.01, 9.01, 7.22, 6.70, _LATER, "HQ"),
    PublishedSystem("TFC-TDF-UNet v3", 9.59, 8.44, 8.45, 6.86, _LATER, "HQ"),
    PublishedSystem("SCNet", 9.89, 10.51, 8.82, 6.76, _LATER, "HQ"),
    PublishedSystem("SCNet, large", 10.86, 10.98, 9.49, 7.44, _LATER, "HQ"),
    PublishedSystem("BS-RoFormer, 6 layers", 10.66, 9.49, 11.31, 7.73, _ROFORMER, "HQ"),
    PublishedSystem("BS-RoFormer, 12 layers", 12.72, 12.91, 13.32, 9.01, _LATER, "HQ, 500 songs"),
    PublishedSystem("Mel-RoFormer, 6 layers", 11.21, 9.91, 9.64, 7.81, _LATER, "HQ"),
)
