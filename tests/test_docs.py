"""Code and commands of the documentation are run, with tiny random models and no network.

The Python blocks of a page run in order, in one namespace. Shell commands are parsed by the parsers
of the project; those of ``umx`` are run too.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from unittest import mock

import pytest
import soundfile
from helpers.models import save_model
from helpers.sounds import mixture

from openunmix import pretrained
from openunmix._version import __version__
from openunmix.audio import AudioWriter
from openunmix.cli import _catalogue, _evaluate, _models, _separate, _serve, _train
from openunmix.model import NETWORKS, OpenUnmix, Separator
from openunmix.pretrained.registry import MODELS

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
RATE = 44100

PARSERS = {
    "umx": _separate.parser,
    "umx-catalogue": _catalogue.parser,
    "umx-evaluate": _evaluate.parser,
    "umx-models": _models.parser,
    "umx-serve": _serve.parser,
    "umx-train": _train.parser,
}

# Commands that are not checked, and why.
EXCLUDED = {
    "pip": "changes the environment, and needs a registry",
    "ray": "needs a cloud",
    "docker": "needs a daemon; the entry point has a test of its own",
    "torchrun": "needs several GPUs; processes on the CPU have tests of their own",
    "accelerate": "as torchrun",
}


def blocks(page, language):
    """Return the fenced blocks of a page that are in a language."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(page):
    """Return the shell commands of a page as (variables, words)."""
    found = []
    for line in "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        variables = {}
        while words and re.match(r"[A-Z_]+=", words[0]):
            name, _, variables[name] = words.pop(0).partition("=")
        if words:
            found.append((variables, words))
    return found


ALL_COMMANDS = [(page, *command) for page in PAGES for command in commands(page)]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Work in a folder with songs, where every known model is a tiny one and nothing is fetched."""
    sources = tmp_path / "models"
    folders = {
        name: save_model(sources / name, tiny_model(entry)) for name, entry in MODELS.items()
    }

    def fetch_model(entry, targets=None, **_):
        return {
            target: folders[entry.name] / f"{target}.safetensors"
            for target in targets or entry.targets
        }

    monkeypatch.setattr(pretrained, "fetch_model", fetch_model)
    monkeypatch.setattr(pretrained, "bundled_folder", lambda entry: folders[entry.name])
    desk = tmp_path / "desk"
    for folder in ("album", "live", "more"):
        (desk / folder).mkdir(parents=True)
    monkeypatch.chdir(desk)
    shutil.copytree(ROOT / "docs/onnx", "docs/onnx")
    soundfile.write("song.wav", mixture(RATE // 2).T.numpy(), RATE)
    for copy in ("song.mp3", "album/song.mp3", "more/other.flac", "live/encore.flac"):
        with AudioWriter(copy, RATE, 2) as writer:
            writer.write(mixture(RATE // 2).numpy())
    shutil.copy("song.mp3", "concert.mp4")
    stems = Path("musdb18hq", "test", "song")
    stems.mkdir(parents=True)
    for seed, target in enumerate(("vocals", "drums", "bass", "other")):
        soundfile.write(stems / f"{target}.wav", mixture(RATE // 2, seed).T.numpy(), RATE)
    shutil.copytree(folders["umxs"], "my-model")
    shutil.copytree(folders["umxs"], "runs/mine")
    (desk / "open-unmix").symlink_to(ROOT)
    return desk


def tiny_model(entry):
    """Return random networks with the transform of a known model and a width of 4."""
    stft, channels = entry.config.stft, entry.config.channels
    return Separator(
        {target: OpenUnmix(stft.bins, channels, 4).eval() for target in entry.targets},
        sample_rate=stft.sample_rate,
        n_fft=stft.n_fft,
        n_hop=stft.n_hop,
        nb_channels=channels,
    )


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_of_a_page_runs(page, desk, capsys):
    namespace = {"__name__": "__main__"}
    with mock.patch.dict(NETWORKS):  # pages add their own
        for number, block in enumerate(blocks(page, "python"), 1):
            exec(compile(block, f"{page}, Python block {number}", "exec"), namespace)


@pytest.mark.parametrize(("page", "variables", "words"), ALL_COMMANDS)
def test_commands_of_a_page_are_understood(page, variables, words):
    program, *arguments = words
    if program in EXCLUDED:
        return
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(arguments) <= set(targets)
    elif program == "python":
        script, *arguments = arguments
        if script == "scripts/train.py":
            _train.parser().parse_args(arguments)
            return
        known = (ROOT / script).read_text("utf-8")
        assert all(f'"{word}"' in known for word in arguments if word.startswith("-"))
    else:
        PARSERS[program]().parse_args(arguments[: redirection(arguments)])


def redirection(arguments):
    """Return how many arguments come before a redirection to a file."""
    return arguments.index(">") if ">" in arguments else len(arguments)


SEPARATIONS = [command for command in ALL_COMMANDS if command[2][0] == "umx"]


@pytest.mark.parametrize(("page", "variables", "words"), SEPARATIONS)
def test_separations_of_a_page_run(page, variables, words, desk, monkeypatch, capsys):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if "--start" in words:  # half a second of song cannot be started at its second minute
        words = ["0.1" if word == "60" else word for word in words]
    before = set(os.listdir())
    assert _separate.main(words[1 : redirection(words)]) == 0
    assert set(os.listdir()) - before or "--dry-run" in words


def test_excluded_commands_are_still_in_use():
    assert {words[0] for _, _, words in ALL_COMMANDS} >= EXCLUDED.keys()


def test_a_wrong_option_would_be_found(capsys):
    with pytest.raises(SystemExit):
        test_commands_of_a_page_are_understood("", {}, ["umx", "song.mp3", "--input_file"])


def test_languages_of_all_blocks_are_known():
    # A block that says nothing, or something else, would not be run.
    for page in PAGES:
        fences = re.findall(r"^```(.*)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
        assert set(fences[::2]) <= {"python", "bash", "text"}
        assert set(fences[1::2]) <= {""}


OPTION_TABLES = {
    "docs/inference.md": _separate.parser,
    "docs/serve.md": _serve.parser,
    "docs/training.md": _train.parser,
}


def documented_options(page):
    """Return value and default of every option in the table of a page, by option."""
    text = (ROOT / page).read_text("utf-8")
    rows = re.findall(r"^\| `(--[a-z-]+) ?(.*?)` \| ?(.*?) \| ", text, re.MULTILINE)
    return {option: (value, default) for option, value, default in rows}


def actions(page):
    """Return what the parser of a page knows, by option, without what it hides."""
    return {
        action.option_strings[-1]: action
        for action in OPTION_TABLES[page]()._actions
        if action.option_strings and action.help != argparse.SUPPRESS
    }


@pytest.mark.parametrize("page", OPTION_TABLES)
def test_every_option_of_the_command_is_documented(page):
    assert documented_options(page).keys() == actions(page).keys()


@pytest.mark.parametrize(
    ("page", "option"),
    [(page, option) for page in OPTION_TABLES for option in actions(page) if option != "--help"],
)
def test_value_and_default_of_an_option_are_documented(page, option):
    value, default = documented_options(page)[option]
    action = actions(page)[option]
    assert value == shown_value(action)
    if action.default not in (None, False, argparse.SUPPRESS):
        assert default.strip("`") in (str(action.default), str(action.default).removesuffix(".0"))


def shown_value(action):
    """Return the value of an option as a usage line shows it."""
    if action.nargs == 0:
        return ""
    choices = "{" + ",".join(action.choices) + "}" if action.choices else None
    value = choices or action.metavar or action.dest.upper()
    return {"+": f"{value} ...", "?": f"[{value}]"}.get(action.nargs, value)


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
def test_models_are_described_as_in_the_registry(page):
    text = (ROOT / page).read_text("utf-8")
    for entry in MODELS.values():
        assert f"`{entry.name}`" in text
        assert entry.terms.licence in text or page == "README.md"


def test_links_between_pages_lead_somewhere():
    for page in [*PAGES, "CHANGELOG.md"]:
        text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text("utf-8"), flags=re.M | re.S)
        for link in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text):
            assert (ROOT / page).parent.joinpath(link).exists(), f"{page}: {link}"


def test_version_is_the_same_everywhere():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["umx", "song.mp3"], "umx song.mp3"),
        (["song.mp3", "--ext", ".flac"], "umx song.mp3 --ext .flac"),
        (["umx-models", "list"], "umx-models list"),
        (["two words.mp3"], "umx two words.mp3"),
        ([], "umx"),
    ],
)
def test_entry_point_of_the_docker_image(arguments, command, tmp_path):
    for name in ("umx", "umx-models"):
        program = tmp_path / name
        program.write_text('#!/bin/sh\necho "$(basename "$0")" "$@"\n')
        program.chmod(0o755)
    done = subprocess.run(
        ["sh", ROOT / "scripts/docker-entrypoint.sh", *arguments],
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == command
