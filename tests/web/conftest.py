"""Fixtures of the tests in browsers."""

from helpers.browsers import browser, download, page, sound_card  # noqa: F401
