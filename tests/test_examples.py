"""The examples run as they are, without a warning, and draw what they show."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pyplot = pytest.importorskip("matplotlib.pyplot")

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))
PICTURED = {
    "certificate",
    "choosing_alpha",
    "choosing_features",
    "classification",
    "deeper_subnetworks",
    "monotone",
    "robustness",
    "skip_connection",
}
CLAIMS = {
    "quick_start": "prediction by hand equals predict: True",
    "certificate": "0 of 5 are below the lower bound",
}


@pytest.fixture(autouse=True)
def scratch(monkeypatch, tmp_path):
    """Nothing is written into the folder, and no figure is shown or stays open."""
    monkeypatch.chdir(tmp_path)
    pyplot.switch_backend("agg")
    monkeypatch.setattr(pyplot, "show", lambda: None)
    yield tmp_path
    pyplot.close("all")


def test_the_folder_has_examples():
    assert set(EXAMPLES) >= PICTURED | {"quick_start", "against_mlp"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name, monkeypatch, capsys, scratch, brief, short_proofs):
    path = FOLDER / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")

    output = capsys.readouterr().out
    assert len(output.splitlines()) >= 5
    assert max(map(len, output.splitlines())) <= 88
    assert not re.search(r"\bnan\b", output)
    assert CLAIMS.get(name, "") in output
    assert not list(scratch.iterdir())
    assert bool(pyplot.get_fignums()) == ("pyplot.show()" in path.read_text())
    assert bool(pyplot.get_fignums()) or name not in PICTURED
    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        figure.canvas.draw()
        assert np.std(np.asarray(figure.canvas.buffer_rgba())[..., :3]) > 0.0


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_site_can_show_it(name):
    """A title in reStructuredText: the gallery makes a page of each example."""
    title, rule, blank, *_ = (FOLDER / f"{name}.py").read_text().split("\n")[1:]
    assert rule == "=" * len(title) and blank == ""


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_readme_has_a_line_for_it(name):
    assert f"\n- `{name}.py`: " in (FOLDER / "README.md").read_text()


def test_an_example_runs_from_the_command_line(scratch):
    ran = subprocess.run(
        [sys.executable, FOLDER / "quick_start.py"],
        cwd=scratch,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout and not ran.stderr
