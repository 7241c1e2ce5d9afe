r"""The mask network of one target, and the separator built from several of them.

:class:`OpenUnmix` (``network.py``) estimates the magnitude of one target from the magnitude of the
mixture [1]_: a dense layer reduces each frame to features, three LSTM layers model the sequence of
frames, two dense layers expand the result to a mask that multiplies the mixture.
:class:`Separator` (``separator.py``) runs one network per target and turns their magnitudes into
waveforms with the multichannel Wiener filter of :mod:`openunmix.filtering.gaussian`.

These files define the model and are what training differentiates. At inference other code computes
the same faster: ``predict/_folded.py`` merges each normalisation into the dense layer beside it,
``filtering/_fast.py`` is the Wiener filter in real arithmetic, and ``predict/stream.py`` applies
both chunk by chunk.

Additions to the paper are apart: trunks that targets share and bridged networks in ``sharing.py``;
what a second architecture needs, so that it can be loaded, trained and used like the first, in
``architecture.py``.

References
----------
.. [1] F.-R. Stöter, S. Uhlich, A. Liutkus, Y. Mitsufuji, "Open-Unmix - A Reference
   Implementation for Music Source Separation", Journal of Open Source Software 4(41):1667, 2019.
"""

from openunmix.model.architecture import NETWORKS, Architecture, MaskNetwork
from openunmix.model.bands import BandArchitecture, BandUnmix
from openunmix.model.network import OpenUnmix
from openunmix.model.separator import Separator
from openunmix.model.sharing import share

__all__ = [
    "NETWORKS",
    "Architecture",
    "BandArchitecture",
    "BandUnmix",
    "MaskNetwork",
    "OpenUnmix",
    "Separator",
    "share",
]
