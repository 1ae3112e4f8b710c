"""The campaign: small cases of every kind, and whether it sees what is planted."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.campaign.__main__ import report, too_many, violations
from benchmarks.campaign.audit import Outcome, _Audit, claims_of, is_refusal, run
from benchmarks.campaign.cases import FEATURES, MODES, PROBLEMS, draw
from benchmarks.campaign.descent import Descent
from benchmarks.campaign.restated import Stated
from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.model.solution import Status

N_CASES = 40
LARGEST = 300  # entries of X


def small_cases():
    """The first small cases, of every kind of features in turn."""
    taken, found, most = Counter(), [], -(-N_CASES // len(FEATURES))
    for case in (draw(0, index) for index in range(1000)):
        if is_small(case) and taken[case.features] < most and len(found) < N_CASES:
            taken[case.features] += 1
            found.append(case)
    return found


def is_small(case):
    """Tell whether a case takes a second at most, as a rule."""
    parts = {"sub-networks": 10, "weight decay": 10, "proven": 4, "random": 2}
    return case.size <= LARGEST // parts.get(case.mode, 1)


@pytest.mark.parametrize("case", small_cases(), ids=lambda case: str(case.index))
def test_small_case(case):
    outcome = run(case)
    assert not violations([outcome])
    assert not outcome.over_time


def test_small_cases_are_of_every_kind():
    cases = small_cases()
    assert {case.features for case in cases} == set(FEATURES)
    assert {case.loss for case in cases} == {loss for loss, _ in PROBLEMS}
    assert {case.mode for case in cases} == set(MODES)


def test_a_case_is_what_its_index_says():
    first, second = draw(3, 17), draw(3, 17)
    assert first == second != draw(4, 17)
    np.testing.assert_array_equal(first.data().X, second.data().X)
    np.testing.assert_array_equal(first.data().y, second.data().y)


@pytest.fixture
def audit():
    """An audit of a plain case with a fitted model that passes."""
    case = next(
        case
        for case in map(lambda index: draw(0, index), range(1000))
        if (case.features, case.mode, case.targets) == ("normal", "neurons", "one")
        and case.dtype == "float64"
        and case.n_features > 3
        and case.n_samples > 15
    )
    audit = _Audit(case, Outcome(case))
    audit.model = audit.fit("fit")
    audit.stated = Stated.of(case, audit.data)
    audit.tolerance = audit.model.tolerance_
    audit.scale = audit.tolerance / audit.model.tol
    return audit


def found(audit):
    """Admit the model and judge it; return the kinds of findings."""
    audit.admit("fit", audit.model)
    audit.descend(audit.model)
    audit.judge()
    return {finding.kind for finding in audit.outcome.findings}


def test_nothing_is_found_where_nothing_is_wrong(audit):
    assert audit.model.n_neurons_ > 0
    assert found(audit) == set()
    assert too_many([audit.outcome]) is False


def test_a_proof_of_too_much_is_found(audit):
    above = audit.model.objective_ + 0.01 * audit.tolerance
    audit.model.certificate_ = replace(
        audit.model.certificate_, proven_lower_bound=above
    )
    assert found(audit) == {"proof"}


def test_an_estimate_of_too_much_is_counted(audit):
    above = audit.model.objective_ + 0.7 * audit.tolerance
    certificate = replace(audit.model.certificate_, kind="priced", lower_bound=above)
    audit.model.certificate_ = certificate
    assert found(audit) <= {"priced"}
    assert max(audit.outcome.excesses) >= 0.7 * (1 - 1e-9)
    assert too_many([audit.outcome]) is True
    assert "1 (" in report([audit.outcome])


def test_a_wrong_objective_is_found(audit):
    audit.model.objective_ *= 1.0 + 1e-5
    assert "objective" in found(audit)


@pytest.mark.parametrize("name", ["coefs_", "lower_bound_", "alpha_max_"])
def test_what_is_not_finite_is_found(audit, name):
    value = getattr(audit.model, name)
    if isinstance(value, list):
        value[0] = value[0].copy()
        value[0][0, 0] = np.nan
    else:
        setattr(audit.model, name, np.nan)
    with np.errstate(invalid="ignore"):
        assert "non-finite" in found(audit)


def test_a_status_without_warning_is_found(audit):
    audit.model.status_ = Status.STALLED
    audit.listen("fit", audit.model, [])
    assert [finding.kind for finding in audit.outcome.findings] == ["status"]


def test_a_gap_that_is_called_converged_is_found(audit):
    audit.model.tolerance_ = audit.model.dual_gap_ / 2.0
    audit.check_gap("fit", audit.model)
    assert [finding.kind for finding in audit.outcome.findings] == ["status"]


def test_a_crash_is_a_violation_and_a_refusal_is_none(audit, monkeypatch):
    def crash(*args, **options):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(AdaptiveSolver, "over", crash)
    outcome = run(audit.case)
    assert [finding.kind for finding in outcome.findings] == ["crash"]
    with pytest.raises(ValueError) as refusal:
        audit.case.estimator(tol=-1.0).fit(audit.data.X, audit.data.y)
    assert is_refusal(refusal.value)


def test_restricted_claims_are_about_given_patterns_alone(audit):
    own = audit.model.certificate_
    certificate = replace(own, kind="restricted", over_all=own)
    families = [claim.family for claim in claims_of("fit", certificate)]
    assert families == ["given", "given", "all", "all"]


MODELS = {
    "neurons": {},
    "three layers": {"subnetwork_widths": (3,)},
    "weight decay": {"subnetwork_widths": (2,), "penalty": "weight_decay"},
    "four layers": {"subnetwork_widths": (2, 2)},
}


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_descent_starts_at_the_objective_of_the_fit(audit, options):
    model = audit.case.estimator(tol=1e-2, **options)
    model.fit(audit.data.X, audit.data.y, audit.data.weights)
    descent = Descent.of(audit.stated, model)
    trees, intercept = descent.trees_of(model), model.intercepts_[-1]
    assert len(trees.leaves) == model.n_neurons_ > 0
    start = descent._objective(descent._packed(trees, intercept), trees)
    assert start == pytest.approx(audit.stated.objective(model), rel=1e-9)
    assert start == pytest.approx(model.objective_, rel=1e-9)


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_descent_has_the_right_gradient(audit, options):
    model = audit.case.estimator(max_iter=1, **options)
    model.alpha_ = 0.1
    descent = Descent.of(audit.stated, model)
    trees = descent.random(4, seed=0)
    z = descent._turned(descent._packed(trees, np.array([0.3])), trees, back=True)
    direction = np.random.default_rng(1).standard_normal(len(z))

    def value(step):
        weights = descent._turned(z + step * direction, trees)
        return descent._value(weights, trees)[0]

    gradient = descent._value(descent._turned(z, trees), trees)[1]
    slope = descent._turned_back(gradient, trees) @ direction
    step = 1e-7
    assert slope == pytest.approx(
        (value(step) - value(-step)) / (2 * step), rel=1e-4, abs=1e-7
    )
