"""The version, in a module of its own so that the build reads it without importing torch."""

__version__ = "2.0.0"
