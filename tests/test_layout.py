"""The folder shows the method: imports go one way, and docstrings are complete."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from numpydoc.validate import validate

import sklearn_convexrelu

ROOT = Path(sklearn_convexrelu.__file__).parent
ORDER = [
    "_threads",
    "_deadline",
    "data.calls",
    "data.cluster",
    "data.device",
    "data.rows",
    "model.chunks",
    "model.gain",
    "model.monotone",
    "model.norms",
    "model.linear",
    "model.neurons",
    "model.loss",
    "model.spread",
    "model.piecewise",
    "model.losses",
    "model.subnetworks",
    "model.unpenalised",
    "model.problem",
    "data.tables",
    "data.statement",
    "data.units",
    "certificates.certificate",
    "certificates.kinks",
    "patterns.geometry",
    "patterns.planes",
    "patterns.arrangements",
    "patterns.monotone",
    "patterns.subnetworks",
    "pricing.sweeps",
    "pricing.exact",
    "pricing.arcs",
    "pricing.polish",
    "pricing.kernels",
    "pricing.unseen",
    "pricing.ascent",
    "pricing.sampling",
    "pricing.sided",
    "pricing.rays",
    "pricing.search",
    "pricing.l1",
    "pricing.pairs",
    "pricing.tree_polish",
    "pricing.subnetworks",
    "pricing.judged",
    "certificates.relaxation.regions",
    "certificates.relaxation.semidefinite",
    "certificates.relaxation.composition",
    "certificates.relaxation.proof",
    "certificates.relaxation.descent",
    "certificates.relaxation.untied",
    "certificates.relaxation.search",
    "certificates.relaxation.one_norm",
    "model.solution",
    "model.pruning",
    "programmes.moments",
    "programmes.pivoting",
    "programmes.amplitudes",
    "programmes.group_lasso",
    "programmes.linear_map",
    "programmes.second_order_cones",
    "programmes.newton_system",
    "programmes.central_path",
    "programmes.interior_point",
    "programmes.fista",
    "programmes.cvxpy_backend",
    "programmes.smooth_rounds",
    "programmes.chosen_solver",
    "programmes.recovery",
    "programmes.decomposition",
    "programmes.chosen_patterns",
    "programmes.generated_cells",
    "programmes.fixed_patterns",
    "adaptive.slide",
    "adaptive.steps",
    "adaptive.start",
    "adaptive.policy",
    "adaptive.finish",
    "adaptive.multipliers",
    "adaptive.loop",
    "programmes.low_rank",
    "training",
    "_callbacks",
    "_failures",
    "_dask",
    "_arrays",
    "_posthoc",
    "_exports",
    "_base",
    "_classifier",
    "_regressor",
    "_path",
    "_folds",
    "_cv",
    "_columns",
    "_pipeline",
    "_displays",
    "onnx",
    "__init__",
    "demo.cells",
    "demo.files",
    "demo.kinds",
    "demo.columns",
    "demo.table",
    "demo.comparison",
    "demo.report",
    "demo.classification",
    "demo.outputs",
    "demo.picture",
    "demo.saved",
    "demo.predictions",
    "demo.arguments",
    "demo.run",
    "__main__",
]
# Extended summaries, examples and cross references only where they help.
UNCHECKED = {"ES01", "EX01", "SA01", "GL01", "RT02", "SS06"}


def modules():
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in ROOT.rglob("*.py")
    }
    return {module for module in found if not module.endswith(".__init__")}


def test_every_module_has_its_place():
    assert modules() == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_to_the_left(module):
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith(ROOT.name):
            target = node.module.removeprefix(ROOT.name).lstrip(".") or "__init__"
            assert ORDER.index(target) < ORDER.index(module), node.module


def test_importing_the_package_is_light():
    code = (
        "import sys, sklearn_convexrelu; heavy = "
        "{'cvxpy', 'dask', 'distributed', 'matplotlib', 'torch'}; "
        "print(*heavy & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == []


def public_names():
    for name in sklearn_convexrelu.__all__:
        yield name
        thing = getattr(sklearn_convexrelu, name)
        for member, value in vars(thing).items():
            if inspect.isfunction(value) and not member.startswith("_"):
                yield f"{name}.{member}"


@pytest.mark.parametrize("name", sorted(public_names()))
def test_public_docstrings_are_numpydoc(name):
    errors = validate(f"sklearn_convexrelu.{name}")["errors"]
    assert [error for error in errors if error[0] not in UNCHECKED] == []


def test_slow_tests_are_there():
    folder = Path(__file__).parent
    for name in (folder / "slow.txt").read_text().split():
        file, test = name.split("::")
        assert f"def {test}(" in (folder / file).read_text(), name
