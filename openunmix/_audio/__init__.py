"""What `openunmix.audio` is made of; import from there."""

from __future__ import annotations

__all__: list[str] = []
