"""The exception of this package; wrong arguments raise plain ``ValueError``."""


class LiteError(Exception):
    """A file is missing, damaged, not audio, no export, or cannot be written."""
