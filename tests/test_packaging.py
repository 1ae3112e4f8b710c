"""What a release is made of agrees with itself; ``make release-check`` builds one."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from inspect import signature
from pathlib import Path

import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

import sklearn_convexrelu
from sklearn_convexrelu.model.solution import Status

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_version_stands_in_one_place():
    assert "version" in PYPROJECT["project"]["dynamic"]
    assert version("sklearn-convexrelu") == sklearn_convexrelu.__version__
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert cited[1] == sklearn_convexrelu.__version__


def test_annotations_are_found():
    assert (Path(sklearn_convexrelu.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize(
    "requirement",
    PYPROJECT["project"]["dependencies"]
    + PYPROJECT["project"]["optional-dependencies"]["plot"],
)
def test_the_oldest_versions_are_those_that_are_tested(requirement):
    name, oldest = requirement.split(">=")
    pins = dict(
        line.split("==")
        for line in (ROOT / "tests" / "oldest.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    assert pins[name] == f"{oldest}.0"
    said = (ROOT / "docs" / "install.md").read_text()
    assert name in said and (oldest in said or name == "matplotlib")


def test_a_default_fit_does_without_cvxpy():
    code = (
        "import sys; from sklearn.datasets import load_diabetes as load; "
        "from sklearn_convexrelu import ConvexReLURegressor as Model; "
        "Model(0.1).fit(*load(return_X_y=True)); print('cvxpy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout == "False\n", ran.stderr


def test_pages_have_every_extra_and_every_way_to_stop():
    install = (ROOT / "docs" / "install.md").read_text()
    for extra in PYPROJECT["project"]["optional-dependencies"]:
        assert f"`{extra}`" in install
    page = (ROOT / "docs" / "convergence.md").read_text()
    untold = Status.CONVERGED, Status.SETTLED  # the second ends folds alone
    assert all(f"`{s.name}`" in page for s in Status if s not in untold)


@pytest.mark.parametrize("mlp", [MLPRegressor, MLPClassifier])
def test_the_page_for_newcomers_has_every_parameter(mlp):
    page = (ROOT / "docs" / "coming_from_mlp.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("|")]
    named = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert set(signature(mlp).parameters) <= named


def test_every_page_of_the_site_has_a_title():
    for page in (ROOT / "docs").glob("*.md"):
        text = page.read_text()
        assert text.startswith(("# ", "```{include} ../")), page.name
