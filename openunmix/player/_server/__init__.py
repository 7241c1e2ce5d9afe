r"""What :mod:`openunmix.player.server` consists of.

::

    guard -> routes -> uploads -> queue <-> store
                 \-> events <---/  \-> worker (another process) -> separation
"""

from __future__ import annotations

__all__: list[str] = []
