"""The notebook in `examples/`: its cells run in order, as they are."""

from __future__ import annotations

import json
from pathlib import Path

from openunmix.web.notebook import StemPlayer

NOTEBOOK = Path(__file__).parent.parent / "examples/separate.ipynb"


def code_cells():
    """Return the code of all cells but the one that installs the package."""
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    return ["".join(c["source"]) for c in code if "install" not in c["metadata"].get("tags", [])]


def run(cells, namespace):
    """Execute cells; return the value of each last line, which a notebook shows."""
    shown = []
    for number, cell in enumerate(cells):
        *_, last = cell.splitlines()
        exec(compile(cell, f"cell {number}", "exec"), namespace)
        is_value = not last.startswith((" ", "}")) and "=" not in last.partition("(")[0]
        shown.append(eval(last, namespace) if is_value else None)
    return shown


def test_cells_separate_show_and_save(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, shapes, player, saved = run(code_cells(), {"__name__": "__main__"})
    assert shapes == dict.fromkeys(["vocals", "drums", "bass", "other"], (1, 2, 6 * 44100))
    assert isinstance(player, StemPlayer)
    assert saved == ["bass.wav", "drums.wav", "other.wav", "vocals.wav"]
    assert sorted(path.name for path in Path("stems").iterdir()) == saved


def test_no_output_is_stored():
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert all(cell.get("outputs", []) == [] for cell in cells)
