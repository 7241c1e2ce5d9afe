import re

import numpy as np
import pytest
from charts import Style, chart, grooves, is_popular

LIBRARY = """
DefGroove Twang        Plain.
DefGroove TwangSus     With strings.
DefGroove TwangIntro   Four bars.
   defgroove TwangEND
Begin Bass
"""


def test_introductions_and_endings_are_no_grooves_for_sections():
    assert grooves(LIBRARY) == ("Twang", "TwangSus")


@pytest.mark.parametrize("file", ["countryblues", "casio/heavymetal", "bossanova", "popballad"])
def test_a_chart_names_chords_and_lasts_long_enough(file):
    text = chart(Style(file, ("A", "B")), 30.0, np.random.default_rng(5))
    lines = text.splitlines()
    assert lines[2] == f"Use {file}"
    tempo = int(lines[1].removeprefix("Tempo "))
    bars = [line for line in lines[3:] if not line.startswith("Groove ")]
    assert all(re.fullmatch(r"[A-G]b?(m|m7|M7|7|5)?", bar) for bar in bars)
    # The shortest bars have two beats.
    assert len(bars) * 2 * 60 / tempo >= 30


def test_popular_styles_are_told_from_others():
    assert is_popular(Style("zoom/punk", ("A",)))
    assert not is_popular(Style("vienesewaltz", ("A",)))
