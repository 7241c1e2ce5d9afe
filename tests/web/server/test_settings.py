"""Settings of a server."""

from __future__ import annotations

import pytest

from openunmix.web.server.settings import Settings


@pytest.mark.parametrize("name", ["max_upload", "max_duration", "max_jobs", "max_disk", "models"])
def test_limits_are_positive(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name}=0 must be positive"):
        Settings(tmp_path, **{name: 0})
