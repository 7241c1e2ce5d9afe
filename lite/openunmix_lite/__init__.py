"""Open-Unmix without torch: separates music with a network in a file of ONNX.

The whole way of a song is here to be read, an equation a function::

    file -> blocks -> STFT -> masks of the network -> Wiener filter -> inverse STFT -> files
    audio   stream    fourier     model               wiener           fourier         files

Arrays are float32 or complex64. A waveform is (channels, samples), full scale at 1; a spectrum is
(frames, channels, bins).
"""

from openunmix_lite.errors import LiteError
from openunmix_lite.files import FileOptions, separate_file
from openunmix_lite.model import BUNDLED, Model
from openunmix_lite.stream import separate, separate_blocks
from openunmix_lite.wiener import FilterOptions

__all__ = [
    "BUNDLED",
    "FileOptions",
    "FilterOptions",
    "LiteError",
    "Model",
    "separate",
    "separate_blocks",
    "separate_file",
]
