"""Channels of AAC that has no standard configuration, from its program config element.

ISO/IEC 14496-3: AudioSpecificConfig in 1.6.2.1, program_config_element in 4.4.1.1. FFmpeg decodes
such channels in the order of WAV, and does not name them.
"""

from __future__ import annotations

# The order of WAV; names of FFmpeg.
_ORDER = ("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR")
# Names of single channels and of pairs, in the order of elements of a part.
_NAMES: dict[str, tuple[list[list[str]], list[list[str]]]] = {
    "front": ([["FC"]], [["FL", "FR"], ["FLC", "FRC"]]),
    "side": ([], [["SL", "SR"]]),
    "back": ([["BC"]], [["BL", "BR"]]),
}


class _Bits:
    """Bits of bytes, from the highest on; zeros after their end."""

    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._place = 0

    def take(self, count: int) -> int:
        """Read a number of so many bits."""
        part = self._bits[self._place : self._place + count]
        self._place += count
        return int(part.ljust(count, "0") or "0", 2)


def aac_layout(config: bytes) -> tuple[str, ...]:
    """Names of the channels in the order of WAV; () without such an element, or for odd ones."""
    bits = _Bits(config)
    if bits.take(5) == 31:  # object type, its extension
        bits.take(6)
    if bits.take(4) == 15:  # sample rate, explicit
        bits.take(24)
    if bits.take(4) != 0:  # a standard configuration
        return ()
    bits.take(1)  # frame length
    if bits.take(1):  # depends on a core coder, with a delay
        bits.take(14)
    bits.take(1)  # extension
    return _program(bits)


def _program(bits: _Bits) -> tuple[str, ...]:
    """Names of the channels of a program config element."""
    bits.take(4 + 2 + 4)  # tag, object type, sample rate
    counts = {part: bits.take(4) for part in ("front", "side", "back")}
    names: list[str] = ["LFE"] * bits.take(2)
    bits.take(3 + 4)  # data and coupling elements have no channels
    for size in (4, 4, 3):  # mixdown elements: mono, stereo, matrix
        if bits.take(1):
            bits.take(size)
    for part, count in counts.items():
        singles, pairs = map(list, _NAMES[part])
        for _ in range(count):
            known = pairs if bits.take(1) else singles
            bits.take(4)  # tag
            if not known:
                return ()
            names += known.pop(0)
    return tuple(sorted(names, key=_ORDER.index))
