"""The command ``umx-serve``."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest
from helpers.models import save_model
from helpers.web_server import send, wait_for, wav_bytes

from openunmix import cli
from openunmix.cli import _serve
from openunmix.cli._serve import main, parser
from openunmix.web.server.settings import LOOPBACK_NAMES, Settings


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENUNMIX_TOKEN", raising=False)


def settings(*arguments):
    """Return the settings that arguments ask for."""
    return _serve._settings(parser().parse_args(arguments))


def exit_code(*arguments):
    """Run the command; return its exit code."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


def test_defaults_are_those_of_the_settings(tmp_path):
    folder = tmp_path / "home" / "openunmix" / "serve"
    assert settings("--device", "cpu") == Settings(folder)


def test_options_become_settings(tmp_path):
    changed = settings(
        *("--data", str(tmp_path), "--model", "umxs", "--device", "cpu", "--loaded", "3"),
        *("--max-upload", "1.5", "--max-duration", "60", "--max-jobs", "4", "--max-disk", "0.5"),
        *("--keep", "0.5", "--token", "sixteen letters!", "--allow-host", "Music.Example"),
    )
    assert changed == Settings(
        folder=tmp_path,
        model="umxs",
        token="sixteen letters!",
        hosts=(*LOOPBACK_NAMES, "music.example"),
        max_upload=1_500_000,
        max_duration=60.0,
        max_jobs=4,
        max_disk=500_000_000,
        retention=43200.0,
        models=3,
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_server_on_loopback_needs_no_token_but_its_name(host):
    assert settings("--host", host).token is None
    assert settings("--host", host).hosts == LOOPBACK_NAMES


@pytest.mark.parametrize(
    "arguments", [["--host", "0.0.0.0"], ["--host", "192.168.1.5"], ["--allow-host", "a.example"]]
)
def test_server_that_others_can_reach_has_a_random_token(arguments):
    first, second = settings(*arguments).token, settings(*arguments).token
    assert len(first) >= 43
    assert first != second


def test_token_can_be_kept_out_of_the_list_of_processes(monkeypatch):
    monkeypatch.setenv("OPENUNMIX_TOKEN", "from the environment")
    assert settings().token == "from the environment"
    assert settings("--token", "from the command line").token == "from the command line"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--token", "short"], "--token needs at least 16 ASCII characters"),
        (["--port", "70000"], "--port 70000: ports go from 0 to 65535"),
        (["--max-jobs", "0"], "max_jobs=0 must be positive"),
        (["--max-disk", "1e999"], "cannot convert float infinity"),
        (["--keep", "-1"], "must not be negative"),
        (["--device", "mps"], "--device mps: torch finds no such device here"),
    ],
)
def test_wrong_usage_is_explained(arguments, message, capsys):
    assert exit_code(*arguments) == 2
    assert message in capsys.readouterr().err


def test_unknown_model_is_wrong_usage(capsys):
    assert exit_code("--model", "umxx", "--port", 0) == 2
    assert "'umxx' is neither a known model (did you mean 'umx" in capsys.readouterr().err


def test_port_that_is_taken_is_reported(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert exit_code("--port", port) == 1
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use; choose another" in (
        capsys.readouterr().err
    )


def test_folder_that_cannot_be_used_is_reported(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert exit_code("--data", tmp_path / "file", "--port", 0) == 1
    assert "umx-serve: " in capsys.readouterr().err


def test_missing_package_names_the_extra(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("openunmix.web.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert exit_code("--port", 0) == 1
    assert "install the extra: pip install 'openunmix[serve]'" in capsys.readouterr().err


def test_warning_and_token_are_shown_where_others_can_reach_the_server(capsys):
    args = parser().parse_args(["--host", "0.0.0.0"])
    made = _serve._settings(args)
    _serve._announce("http://machine:8765/", made, args)
    captured = capsys.readouterr()
    assert captured.out == f"http://machine:8765/?token={made.token}\n"
    assert "warning: others can reach this server" in captured.err


def test_given_token_is_not_shown(capsys):
    args = parser().parse_args(["--token", "sixteen letters!", "--quiet"])
    _serve._announce("http://127.0.0.1:8765/", _serve._settings(args), args)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("http://127.0.0.1:8765/\n", "")


def test_browser_is_opened_on_request(monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(_serve.webbrowser, "open", opened.append)
    args = parser().parse_args(["--open"])
    _serve._announce("http://127.0.0.1:1/", _serve._settings(args), args)
    assert opened == ["http://127.0.0.1:1/"]


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:"), ("[::1]", "http://[::1]:")],
)
def test_address_is_one_for_browsers(host, address):
    try:
        listener = _serve._listen(host, 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert _serve._address(host, listener).startswith(address)


def test_entry_point_ends_with_the_exit_code(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["umx-serve", "--port", "-1"])
    with pytest.raises(SystemExit) as end:
        cli.serve()
    assert end.value.code == 2


@pytest.mark.skipif(os.name != "posix", reason="interrupts a process as POSIX does")
@pytest.mark.parametrize("number", [signal.SIGINT, getattr(signal, "SIGHUP", 1)])
def test_command_serves_until_it_is_interrupted(tmp_path, tiny_separator, number):
    model = save_model(tmp_path / "tiny", tiny_separator())
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from openunmix.cli import serve; serve()"),
            *("--port", "0", "--model", str(model), "--data", str(tmp_path / "data")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    address = process.stdout.readline().strip()
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        job = send(client, content=wav_bytes()).json()["id"]
        state = wait_for(
            lambda: (
                (now := client.get(f"/api/jobs/{job}").json()["state"]) != "running"
                and now != "waiting"
                and now
            ),
            60,
        )
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (state, process.returncode, out) == ("done", 0, "")
    lines = err.splitlines()
    assert lines[0].startswith(f"umx-serve: uploads and results are in {tmp_path / 'data'}")
    assert [line for line in lines if f"{job}: done in " in line]
    assert "Traceback" not in err
