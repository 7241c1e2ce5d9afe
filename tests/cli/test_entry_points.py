"""What all commands do before they begin."""

from __future__ import annotations

import os
import sys

import pytest

from openunmix import cli


@pytest.mark.parametrize("command", [cli.separate, cli.train, cli.evaluate, cli.serve])
@pytest.mark.parametrize("chosen", [None, "active"])
def test_threads_that_wait_sleep_unless_the_user_wants_otherwise(
    command, chosen, monkeypatch, capsys
):
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")  # so that it is put back in the end
    if chosen is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr(sys, "argv", ["umx", "--help"])
    with pytest.raises(SystemExit) as end:
        command()
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage:")
    assert os.environ["OMP_WAIT_POLICY"] == (chosen or "passive")


def test_server_without_its_extra_is_a_line_on_stderr(monkeypatch, capsys):
    for name in [
        name for name in sys.modules if name.startswith(("openunmix.web.server", "uvicorn"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "openunmix.cli._serve", raising=False)
    monkeypatch.delattr(cli, "_serve", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit) as end:
        cli.serve()
    assert str(end.value).startswith("umx-serve: the server needs a package")
    assert "openunmix[serve]" in str(end.value)
