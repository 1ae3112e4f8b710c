"""The examples run as they are, without a warning, and write what they announce."""

import importlib.util
import re
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
    "classification",
    "deeper_subnetworks",
    "robustness",
}


@pytest.fixture(autouse=True)
def scratch(monkeypatch, tmp_path):
    """Pictures go to a scratch folder, and no figure stays open."""
    monkeypatch.chdir(tmp_path)
    pyplot.switch_backend("agg")
    yield tmp_path
    pyplot.close("all")


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(monkeypatch, capsys, name, *argv):
    """Run an example as a script would be; return what it printed."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, argv)])
    load(name).main()
    return capsys.readouterr().out


def test_the_folder_has_examples():
    assert set(EXAMPLES) >= PICTURED | {"quick_start", "against_mlp"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name, monkeypatch, capsys, scratch):
    output = run(monkeypatch, capsys, name)

    assert len(output.splitlines()) >= 5
    assert max(map(len, output.splitlines())) <= 88
    assert not re.search(r"\bnan\b", output)
    pictures = set(re.findall(r"\S+\.png", output))
    assert bool(pictures) == (name in PICTURED)
    assert {path.name for path in scratch.iterdir()} == pictures
    for picture in pictures:
        content = (scratch / picture).read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert pyplot.imread(scratch / picture)[..., :3].std() > 0.0
    claims = {
        "quick_start": "prediction by hand equals predict: True",
        "certificate": "0 of 5 are below the lower bound",
    }
    assert claims.get(name, "") in output


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_readme_has_a_line_for_it(name):
    assert f"\n- `{name}.py`: " in (FOLDER / "README.md").read_text()


def table(folder):
    """A CSV file with a hole, a text column and a row without a target."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    lines = ["size,age,town,price"]
    lines += [f"{a},{b},north,{abs(a) + b}" for a, b in X]
    lines += ["0.5,,south,1.0", "0.1,0.2,south,"]
    path = folder / "houses.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_against_mlp_reads_a_csv_file(monkeypatch, capsys, scratch):
    pytest.importorskip("pandas")
    path = table(scratch)
    output = run(monkeypatch, capsys, "against_mlp", path, "--target", "price")
    assert "45 rows to train, 16 to test, 2 columns" in output


@pytest.mark.parametrize("target", [[], ["--target", "town"], ["--target", "nope"]])
def test_against_mlp_names_the_columns(target, monkeypatch, capsys, scratch):
    pytest.importorskip("pandas")
    path = table(scratch)
    with pytest.raises(SystemExit):
        run(monkeypatch, capsys, "against_mlp", path, *target)
    assert "['size', 'age', 'price']" in capsys.readouterr().err


def test_against_mlp_says_that_it_needs_pandas(monkeypatch, capsys, scratch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SystemExit):
        run(monkeypatch, capsys, "against_mlp", table(scratch), "--target", "price")
    assert "pip install pandas" in capsys.readouterr().err


def test_an_example_runs_from_the_command_line(scratch):
    ran = subprocess.run(
        [sys.executable, FOLDER / "quick_start.py"],
        cwd=scratch,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout and not ran.stderr
