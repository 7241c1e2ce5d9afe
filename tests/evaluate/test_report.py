"""The report: complete, self-contained, and safe against names."""

from __future__ import annotations

import math
import re
from urllib.parse import unquote

import pytest
from helpers.pages import PageParser

from openunmix.evaluate import TrackScores
from openunmix.evaluate.published import PUBLISHED
from openunmix.evaluate.report import worst_tracks, write_report
from openunmix.evaluate.scores import write_tables


def scores(name, sdr=5.0, **more):
    """Make the scores of a track with two targets and three frames."""
    values = {
        target: {metric: [sdr + shift, sdr + shift + 1, math.nan] for metric in METRICS}
        for shift, target in enumerate(("vocals", "drums"))
    }
    whole = {target: {"sdr_mdx21": sdr - 1, "si_sdr": sdr - 2} for target in values}
    return TrackScores(name, "test", values, whole, **more)


METRICS = ("SDR", "ISR", "SIR", "SAR")
TABLES = ["bss_eval.csv", "whole_track.csv"]


def rows(text):
    """Return the texts of the cells of every row."""
    return [
        [re.sub("<.*?>", "", cell) for cell in re.findall("<td.*?</td>", row)]
        for row in re.findall("<tr.*?</tr>", text, re.DOTALL)
        if "<td" in row
    ]


def report(tmp_path, *args, **kwargs):
    """Write a report and return its text."""
    write_report(tmp_path / "scores" / "report.html", *args, **kwargs)
    return (tmp_path / "scores" / "report.html").read_text("utf-8")


def test_report_is_one_well_formed_page_with_a_plot_for_each_measure(tmp_path):
    text = report(tmp_path, {"umxs": [scores("a"), scores("b", 7.0)], "irm2": [scores("a", 9.0)]})
    page = PageParser(text)
    assert page.open == []
    assert page.elements.count("svg") == 4
    assert page.links == TABLES
    assert "script" not in page.elements
    for metric in METRICS:
        assert f"{metric} in dB" in text


def test_medians_are_over_frames_then_tracks(tmp_path):
    text = report(tmp_path, {"umxs": [scores("a", 1.0), scores("b", 3.0), scores("c", 8.0)]})
    # Frames 3 and 4 of the middle track; the frame without a number does not count.
    assert ["vocals", "umxs", *["3.50"] * 4] in rows(text)
    assert ["drums", "umxs", *["4.50"] * 4] in rows(text)


def test_published_systems_are_marked_as_such(tmp_path):
    text = report(tmp_path, {"umxs": [scores("a")]})
    table = rows(text[text.index("Published systems") :])
    assert sum(row[-1].startswith("published: ") for row in table) == len(PUBLISHED)
    assert [row[0] for row in table if row[-1] == "measured here"] == ["umxs"]
    assert ["umxhq", "6.25", "6.04", "5.07", "4.28"] in [row[:5] for row in table]


def test_published_scores_are_plausible_and_say_where_they_are_from():
    assert len({entry.name for entry in PUBLISHED}) == len(PUBLISHED)
    for entry in PUBLISHED:
        assert all(2 < value < 14 for value in entry[1:5]), entry
        assert entry.source


def test_measures_of_whole_tracks_are_in_tables_of_their_own(tmp_path):
    text = report(tmp_path, {"umxs": [scores("a", 5.0)]})
    for table in re.findall("<table>.*?</table>", text, re.DOTALL):
        kinds = ["median over frames" in table, "SI-SDR" in table, "Demixing Challenge" in table]
        assert sum(kinds) <= 1


def test_worst_ten_tracks_come_with_links_to_listen(tmp_path):
    tracks = [scores(f"song #{number}", float(number)) for number in range(15)]
    assert worst_tracks(tracks[::-1]) == tracks[:10]
    folders = {track.name: tmp_path / "audio" / "test" / track.name for track in tracks}
    for folder in list(folders.values())[:12]:
        folder.mkdir(parents=True)
        (folder / "vocals.flac").touch()
    page = tmp_path / "scores" / "players" / "song #3" / "index.html"
    text = report(tmp_path, {"umxs": tracks}, audio=folders, players={"song #3": page})
    links = [(tmp_path / "scores" / unquote(link)).resolve() for link in PageParser(text).links]
    files = [folder / "vocals.flac" for folder in list(folders.values())[:10]]
    tables = [tmp_path / "scores" / name for name in TABLES]
    assert links == [*files[:3], page, *files[3:], *tables]


def test_tables_beside_the_report_are_linked(tmp_path):
    assert PageParser(report(tmp_path, {"x": [scores("a")]})).links == TABLES


def test_numbers_that_are_rounding_errors_are_not_given(tmp_path):
    # The mixture has no artifacts, and so a SAR of about 200 dB.
    text = report(tmp_path, {"mixture": [scores("a", 198.0)]})
    assert "&gt; 100" in text
    assert "198" not in text.replace("1987", "")


def test_undefined_scores_are_dashes_and_perfect_ones_infinite(tmp_path):
    """A perfect estimate had a dash, as if it could not be scored."""
    text = report(tmp_path, {"a": [scores("a", math.inf)], "b": [scores("b", math.nan)]})
    assert ["vocals", "a", *["inf"] * 4] in rows(text)
    assert ["vocals", "b", *["-"] * 4] in rows(text)
    assert [track.name for track in worst_tracks([scores("a", math.inf), scores("c")])] == [
        "c",
        "a",
    ]


def test_names_are_escaped(tmp_path):
    evil = '<script>alert("1")</script>'
    text = report(
        tmp_path,
        {evil: [scores(evil, notes=[evil])]},
        {evil: evil},
        {evil: tmp_path / evil},
        {evil: tmp_path / evil},
    )
    assert "<script" not in text
    assert PageParser(text).open == []


def test_failures_and_notes_are_listed(tmp_path):
    text = report(tmp_path, {"x": [scores("a", notes=["bass is silent"])]}, {"b": "stem missing"})
    assert "<b>b</b>, not scored: stem missing" in text
    assert "bass is silent" in text
    assert "Remarks" not in report(tmp_path, {"x": [scores("a")]})


def test_report_without_tracks_and_without_systems(tmp_path):
    assert PageParser(report(tmp_path, {"x": []}, {"a": "broken"})).open == []
    with pytest.raises(ValueError, match="at least one system"):
        write_report(tmp_path / "report.html", {})


def test_tables_hold_a_row_for_each_track_and_target(tmp_path):
    write_tables(tmp_path, [scores("a, b"), scores("c")])
    lines = (tmp_path / "bss_eval.csv").read_text().splitlines()
    assert lines[0] == "track,target,SDR,ISR,SIR,SAR"
    assert lines[1] == '"a, b",vocals,5.500,5.500,5.500,5.500'
    assert len(lines) == 5
    assert (tmp_path / "whole_track.csv").read_text().splitlines()[4] == "c,drums,4.000,3.000"
