"""The command ``umx-evaluate``: arguments, exit codes, what it prints and writes."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import soundfile
from helpers import models
from helpers import sounds as synth

from openunmix.cli._evaluate import main, parser

RATE = 8000


@pytest.fixture
def data(tmp_path, track_folder, tiny_separator, monkeypatch):
    """Work in a folder with two tracks, a model, and estimates of another program."""
    monkeypatch.chdir(tmp_path)
    models.save_model(tmp_path / "tiny", tiny_separator())
    for number in range(2):
        stems = {"vocals.wav": synth.tone(9000), "drums.wav": synth.noise(9000, seed=number)}
        track_folder(f"test/song {number}", stems)
        folder = tmp_path / "other tool" / f"song {number}"
        folder.mkdir(parents=True)
        for name, stem in stems.items():
            estimate = stem + synth.noise(9000, seed=9, amplitude=0.03)
            soundfile.write(folder / name, estimate.T.numpy(), RATE)
    return tmp_path


def test_model_is_scored_and_everything_written(data, capsys):
    assert main(["--root", "tracks", "--model", "./tiny", "--outdir", "out", "--no-cuda"]) == 0
    out, err = capsys.readouterr()
    assert "tiny: medians over frames, then over 2 tracks" in out
    assert "SDR" in out
    assert "2 of 2, song 1" in err
    folder = data / "evaluation_tiny"
    scores = json.loads((folder / "test" / "song 0.json").read_text())
    assert {target["name"] for target in scores["targets"]} == {"vocals", "drums"}
    assert scores["openunmix"]["settings"]["wiener_win_len"] == 300
    assert len((folder / "bss_eval.csv").read_text().splitlines()) == 5
    assert "song 1" in (folder / "report.html").read_text()
    assert (data / "out" / "test" / "song 1" / "vocals.wav").is_file()


def test_other_tools_are_scored_beside_oracles(data, capsys):
    arguments = ["--root", "tracks", "--estimates", "other tool", "--targets", "vocals", "drums"]
    assert main([*arguments, "--oracles", "irm2", "mixture", "--evaldir", "e", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split(":")[0] for line in out.splitlines() if "medians" in line] == [
        "other tool",
        "irm2",
        "mixture",
    ]
    assert (data / "e" / "oracles" / "irm2" / "test" / "song 0.json").is_file()


def test_second_run_goes_on_with_what_is_left(data, capsys):
    arguments = ["--root", "tracks", "--model", "./tiny", "--evaldir", "e"]
    main(arguments)
    capsys.readouterr()
    (data / "e" / "test" / "song 1.json").unlink()
    assert main(arguments) == 0
    err = capsys.readouterr().err
    assert "1 of 2 already scored in e" in err
    assert "2 of 2, song 1" in err
    assert "song 0" not in err


@pytest.mark.parametrize("own", [True, False])
def test_worst_tracks_get_pages_to_listen_to(data, own):
    system = ["--model", "./tiny", "--outdir", "out"] if own else ["--estimates", "other tool"]
    arguments = ["--root", "tracks", *system, "--targets", "vocals", "drums", "--evaldir", "e"]
    assert main([*arguments, "--player", "--quiet"]) == 0
    report = (data / "e" / "report.html").read_text()
    for number in range(2):
        page = data / "e" / "players" / "test" / f"song {number}" / "index.html"
        assert "SDR of vocals" in page.read_text()
        assert f'href="players/test/song%20{number}/index.html"' in report
        folder = "out/test" if own else "other%20tool"
        assert f'src="../{folder}/song%20{number}/drums.wav"' in report


def test_bad_track_gives_a_line_and_exit_code_1(data, capsys):
    (data / "tracks" / "test" / "song 0" / "drums.wav").write_bytes(b"no audio")
    assert main(["--root", "tracks", "--model", "./tiny", "--evaldir", "e"]) == 1
    out, err = capsys.readouterr()
    assert "song 0: " in err
    assert "1 of 2 tracks could not be scored" in err
    assert "over 1 tracks" in out
    assert "drums.wav" in (data / "e" / "report.html").read_text()


def test_aggregate_and_residual(data, capsys):
    sums = '{"vocals": ["vocals"], "accompaniment": ["residual"]}'
    arguments = ["--root", "tracks", "--model", "./tiny", "--targets", "vocals", "--residual"]
    assert main([*arguments, "--aggregate", sums, "--evaldir", "e", "--niter", "0"]) == 0
    assert "accompaniment" in capsys.readouterr().out


def test_pairs_take_the_place_of_root_and_estimates(data, capsys):
    (data / "pairs.csv").write_text("tracks/test/song 0,other tool/song 0\n")
    assert main(["--pairs", "pairs.csv", "--targets", "vocals", "drums"]) == 0
    assert "pairs: medians over frames, then over 1 tracks" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--root DIR or --pairs CSV"),
        (["--root", "tracks", "--pairs", "x"], "give either"),
        (["--pairs", "x", "--estimates", "y"], "omit --estimates"),
        (["--root", "tracks", "--player"], "--player needs --outdir"),
        (["--root", "tracks", "--cores", "0"], "--cores must be positive"),
        (["--root", "tracks", "--subset", "../x"], "name of a folder"),
        (["--root", "tracks", "--model", "./tiny", "--targets", "vocals"], "needs two or more"),
        (["--root", "tracks", "--aggregate", "{"], "is not JSON"),
        (["--root", "tracks", "--aggregate", '{"a": "b"}'], "is not of the form"),
    ],
)
def test_wrong_usage_is_exit_code_2(data, capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_missing_folders_and_unknown_models(data, capsys):
    assert main(["--root", "nowhere"]) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err
    assert main(["--root", "tracks", "--model", "umxhqq"]) == 2
    assert "umxhq" in capsys.readouterr().err


def test_scores_of_other_settings_and_damaged_ones_are_made_again(data, capsys):
    """Scores of another setting, and an empty file of a full disk, ended all as wrong usage."""
    arguments = ["--root", "tracks", "--model", "./tiny", "--evaldir", "e"]
    main(arguments)
    (data / "e" / "test" / "song 1.json").write_text("")
    capsys.readouterr()
    assert main([*arguments, "--niter", "2"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith(
        "song 0: scoring again: e/test/song 0.json was made with others of: niter"
    )
    assert "song 1: scoring again: e/test/song 1.json is not a file of scores" in lines[1]
    assert "2 of 2, song 1" in lines[3]


def test_perfect_estimates_are_infinitely_good_and_stay_so(data, capsys):
    """Stems given as their own estimates had a dash for their SDR, as if it was not defined."""
    arguments = ["--root", "tracks", "--estimates", "tracks", "--targets", "vocals", "drums"]
    for _ in range(2):
        assert main([*arguments, "--evaldir", "e"]) == 0
        out, err = capsys.readouterr()
        assert re.findall(r"(\w+) +SDR +(\S+)", out) == [("vocals", "inf"), ("drums", "inf")]
        assert "use only SDR" not in err
    assert "2 of 2 already scored" in err
    json.loads((data / "e" / "test" / "song 0.json").read_text(), parse_constant=pytest.fail)
    assert "song 0,vocals,inf," in (data / "e" / "bss_eval.csv").read_text()
    report = (data / "e" / "report.html").read_text()
    assert re.findall("<b>(.*?)</b>", report) == ["inf"] * 4


def test_flags_of_1_3_0_and_their_defaults_are_there():
    args = parser().parse_args([])
    assert args.model == "umxhq"
    assert (args.subset, args.cores, args.niter, args.wiener_win_len) == ("test", 1, 1, 300)
    assert (args.no_cuda, args.is_wav, args.residual) == (False, False, False)
    assert args.targets is args.outdir is args.evaldir is args.root is args.aggregate is None


def test_entry_point_runs():
    code = "from openunmix.cli import evaluate; import sys; sys.argv[1:] = ['--help']; evaluate()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "umx-evaluate" in done.stdout
