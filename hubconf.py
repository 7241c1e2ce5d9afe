"""The models for ``torch.hub.load``."""

from openunmix import (
    umx,
    umx_spec,
    umxhq,
    umxhq_spec,
    umxl,
    umxl_spec,
    umxlive,
    umxlive_spec,
    umxs,
    umxs_spec,
    umxse,
    umxse_spec,
    umxses,
    umxses_spec,
)

__all__ = [
    "dependencies",
    "umx",
    "umx_spec",
    "umxhq",
    "umxhq_spec",
    "umxl",
    "umxl_spec",
    "umxlive",
    "umxlive_spec",
    "umxs",
    "umxs_spec",
    "umxse",
    "umxse_spec",
    "umxses",
    "umxses_spec",
]

dependencies = ["torch", "numpy"]
