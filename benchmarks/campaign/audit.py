"""Run a case: fit, let rivals loose on it, and hold every claim against the evidence.

A claim is a lower bound, over all networks or over models of the given patterns alone;
it is a proof or an estimate. The evidence is the least objective of any network known,
recomputed from its weights. A claim above the evidence is false.
"""

import signal
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field

import cvxpy as cp
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks.campaign.descent import Descent
from benchmarks.campaign.restated import Stated, path_norm
from sklearn_convexrelu import enumerate_patterns
from sklearn_convexrelu.model.solution import Status

__all__ = ["Finding", "Outcome", "run"]

# Parts of the loss of the best constant that count as rounding.
ROUNDING = 1e-9
# Parts of a bound that are rounding where they are more than the tolerance: such fits
# warn, whatever their gap (``Status.PRECISION``).
ROUNDED_BOUND = 1e-8
MISMATCH = 1e-6  # of the objective
NOTED = 0.1  # tolerances, from which an estimate that is too high is listed
OVERRUN = 2e-3  # of the tolerance, by which a gap may exceed it and count as within
SECONDS = 120  # after which a case is given up
SMALL = 5000  # entries of X up to which a rival with a smaller tolerance is cheap
DESCENTS = {50: 200, 300: 60}  # units, steps
NEW_UNITS, OWN_STEPS = 10, 200  # of the descent from our own network
CONES = 8  # samples up to which the programme over all patterns is solved
TAME = "normal", "duplicates", "collinear", "integers", "one-hot", "few samples"


@dataclass(frozen=True)
class Finding:
    """Something that must not be: its kind, and what was seen."""

    kind: str
    text: str


@dataclass(frozen=True)
class Claim:
    """A lower bound: over which networks, whether it is proven, and whose it is.

    The resolution of an estimate is what its certificate says that it can be too high.
    """

    bound: float
    family: str
    proven: bool
    source: str
    resolution: float = 0.0


@dataclass
class Outcome:
    """What a case showed.

    Attributes
    ----------
    case : Case
        The case.
    seconds : float
        Wall time.
    refused : str or None
        Why the package refused the data or parameters.
    n_fits : int
        Fits, rivals included.
    not_converged : int
        Those that said so.
    excesses : list of float
        By how many tolerances estimated bounds are above the evidence; at least zero.
    beyond : list of float
        By how many they are above it beyond what their certificates allow for.
    n_proofs : int
        Proofs that were held against the evidence.
    findings : list of Finding
        Violations.
    over_time : bool
        Whether the case was given up.
    """

    case: object
    seconds: float = 0.0
    refused: str | None = None
    n_fits: int = 0
    not_converged: int = 0
    excesses: list = field(default_factory=list)
    beyond: list = field(default_factory=list)
    n_proofs: int = 0
    findings: list = field(default_factory=list)
    over_time: bool = False

    def find(self, kind, text):
        """Add a finding."""
        self.findings.append(Finding(kind, text))


class OverTimeError(Exception):
    """A case took too long."""


def run(case, seconds=SECONDS):
    """Return the outcome of a case; whatever happens is one."""
    outcome, begin = Outcome(case), time.perf_counter()
    audit = _Audit(case, outcome)
    try:
        with limited(seconds):
            audit.run()
    except OverTimeError:
        outcome.over_time = True
    except Exception as error:  # noqa: BLE001 - of predictions or proofs, say
        outcome.find("crash", f"{type(error).__name__}: {error}")
    audit.judge()
    outcome.seconds = time.perf_counter() - begin
    return outcome


@contextmanager
def limited(seconds):
    """Raise after so many seconds, where the system has alarms."""

    def stop(*_):
        raise OverTimeError

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class _Audit:
    """One case under way: claims on one side, objectives of known networks beside."""

    def __init__(self, case, outcome):
        self.case, self.outcome = case, outcome
        self.data = case.data()
        self.claims, self.guarantees = [], []
        self.known = {"all": [], "given": []}

    def run(self):
        """Fit, and collect the claims and the networks of rivals."""
        model = self.fit("fit")
        if model is None:
            return
        self.stated = Stated.of(self.case, self.data)
        self.tolerance = model.tolerance_
        self.scale = model.tolerance_ / model.tol
        self.admit("fit", model)
        if self.case.is_certified:
            self.prove(model)
        for label, changes in rivals(self.case, model):
            rival = self.fit(label, **changes)
            if rival is not None:
                self.admit(label, rival)
        self.descend(model)
        if solves_cones(self.case, self.stated, model):
            self.known["all"].append(cone_optimum(self.stated, model))

    def fit(self, label, **changes):
        """Return a fitted estimator, or None where it was refused or failed."""
        model = self.case.estimator(**changes)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                model.fit(self.data.X, self.data.y, self.data.weights)
            except OverTimeError:
                raise
            except Exception as error:  # noqa: BLE001 - a crash is a finding
                self.failed(label, error)
                return None
        self.outcome.n_fits += 1
        self.listen(label, model, caught)
        return model

    def failed(self, label, error):
        """Note a refusal of the fit itself; anything else is a violation."""
        text = " ".join(str(error).split())
        if label == "fit" and is_refusal(error):
            self.outcome.refused = text
        elif not is_refusal(error):
            self.outcome.find("crash", f"{label}: {type(error).__name__}: {text}")

    def listen(self, label, model, caught):
        """Compare warnings with the status."""
        warned = [w for w in caught if issubclass(w.category, ConvergenceWarning)]
        for other in caught:
            advises = "standardize=True" in str(other.message)
            if other not in warned and not advises:
                name = other.category.__name__
                self.outcome.find("warning", f"{label}: {name}: {other.message}")
        converged = model.status_ is Status.CONVERGED
        self.outcome.not_converged += not converged
        if converged == bool(warned):
            self.outcome.find(
                "status", f"{label}: {model.status_.name}, {len(warned)} warnings"
            )

    def admit(self, label, model):
        """Check a fitted model by itself; take its network and claims into account."""
        self.check_finite(label, model)
        objective = self.check_objective(label, model)
        self.check_gap(label, model)
        if np.isfinite(objective):
            if is_given(model):
                self.known["given"].append(objective)
            if not hasattr(model, "gates_"):
                self.known["all"].append(objective)
        self.claims += claims_of(label, model.certificate_)
        if hasattr(model, "low_rank_"):
            self.guarantees.append(model)

    def check_finite(self, label, model):
        """Look for what is not a number."""
        for name, value in vars(model).items():
            if name in FINITE and not all_finite(value):
                self.outcome.find("non-finite", f"{label}: {name}")
        if not all_finite(predicted(model, self.data.X)):
            self.outcome.find("non-finite", f"{label}: predictions")

    def check_objective(self, label, model):
        """Return the objective of the weights; compare the attribute with it."""
        objective = self.stated.objective(model)
        allowed = MISMATCH * abs(objective) + 1e-3 * ROUNDING * self.scale
        if not abs(model.objective_ - objective) <= allowed:
            self.outcome.find(
                "objective",
                f"{label}: {model.objective_:.12g}, of the weights {objective:.12g}",
            )
        gap = model.objective_ - model.lower_bound_
        if not abs(gap - model.dual_gap_) <= 1e-9 * abs(gap):
            self.outcome.find("objective", f"{label}: dual_gap_ is no difference")
        return objective

    def check_gap(self, label, model):
        """Look for fits that call a gap above the tolerance converged."""
        bound = model.lower_bound_
        if hasattr(model, "low_rank_"):
            bound = model.low_rank_.certificate.lower_bound
        gap = model.objective_ - bound
        if model.status_ is Status.CONVERGED and not (
            gap <= (1.0 + OVERRUN) * model.tolerance_
        ):
            self.outcome.find(
                "status",
                f"{label}: converged at a gap of {gap / model.tolerance_:.3g} "
                "tolerances",
            )

    def prove(self, model):
        """Add the claim of a proof on request."""
        model.certify(self.data.X, self.data.y, self.data.weights, time_limit=0.5)
        self.claims += claims_of("certify", model.certificate_)

    def descend(self, model):
        """Add networks that descent reaches, from random weights and from ours."""
        descent = Descent.of(self.stated, model)
        constant = descent.best_constant()
        for seed, (n_units, n_steps) in enumerate(DESCENTS.items()):
            trees = descent.random(n_units, [self.case.seed, self.case.index, seed])
            self.known["all"].append(descent.run(trees, constant, n_steps))
        if hasattr(model, "gates_"):
            return
        new = descent.random(NEW_UNITS, [self.case.seed, self.case.index, 9], 0.1)
        trees = descent.trees_of(model).joined(new)
        intercept = model.intercepts_[-1].astype(np.float64)
        self.known["all"].append(descent.run(trees, intercept, OWN_STEPS))

    def judge(self):
        """Hold every claim against the best network that it speaks of."""
        best = {
            family: min((x for x in objectives if np.isfinite(x)), default=np.inf)
            for family, objectives in self.known.items()
        }
        for claim in self.claims:
            if claim.proven:
                self.judge_proof(claim, best[claim.family])
            else:
                self.judge_estimate(claim, best[claim.family])
        for model in self.guarantees:
            self.judge_guarantee(model, best["all"])

    def judge_proof(self, claim, best):
        """Note a proof of what is not so."""
        self.outcome.n_proofs += 1
        excess = claim.bound - best
        if not excess <= ROUNDING * self.scale:
            self.outcome.find("proof", self.above(claim, best))

    def judge_estimate(self, claim, best):
        """Count by how much an estimate is too high."""
        unit = max(self.tolerance, ROUNDED_BOUND * abs(claim.bound))
        excess = (claim.bound - best) / unit
        if np.isnan(excess) or excess == np.inf:
            self.outcome.find("non-finite", f"{claim.source}: {claim.bound:.12g}")
            return
        self.outcome.excesses.append(max(excess, 0.0))
        self.outcome.beyond.append(max(excess - claim.resolution / unit, 0.0))
        if excess > NOTED:
            stated = f"; {claim.resolution / self.tolerance:.2g} are its resolution"
            self.outcome.find("priced", self.above(claim, best) + stated)

    def above(self, claim, best):
        """Say by how much a bound is above the evidence."""
        excess = claim.bound - best
        return (
            f"{claim.source}: {claim.bound:.12g}, but a network has {best:.12g}: "
            f"{excess / self.tolerance:.2g} tolerances less, or "
            f"{excess / self.scale:.1e} of the constant's loss"
        )

    def judge_guarantee(self, model, best):
        """Hold the factors of low-rank training against the evidence.

        They are proven up to the gap of the low-rank problem, where that is proven.
        """
        guarantee = model.low_rank_
        own = guarantee.certificate
        slack = own.objective - own.proven_lower_bound + ROUNDING * self.scale
        for name in ("factor_before", "factor_after"):
            allowed = getattr(guarantee, name) * best + slack
            if model.objective_ > allowed:
                self.outcome.find(
                    "proof",
                    f"{name}: {model.objective_:.12g}, at most {allowed:.12g}",
                )


FINITE = (
    "objective_",
    "lower_bound_",
    "dual_gap_",
    "alpha_",
    "alpha_max_",
    "tolerance_",
    "coefs_",
    "skip_coef_",
    "intercepts_",
    "gates_",
    "blocks_",
    "intercept_",
)


def all_finite(value):
    """Tell whether numbers, or all arrays of a list, are finite."""
    if isinstance(value, list):
        return all(np.isfinite(part).all() for part in value)
    return bool(np.isfinite(value).all())


def predicted(model, X):
    """Return what a model predicts, as numbers."""
    with np.errstate(over="ignore"):  # Poisson means of rows of zero weight
        if hasattr(model, "classes_"):
            return model.decision_function(X)
        values = model.predict(X)
    return np.log(values) if model.loss == "poisson" and values.min() > 0 else values


def is_refusal(error):
    """Tell whether an error is one that the package or scikit-learn raised to say no.

    Errors of linear algebra are ValueErrors too, raised elsewhere.
    """
    if not isinstance(error, ValueError) or isinstance(error, np.linalg.LinAlgError):
        return False
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_globals["__name__"].startswith("sklearn")


def is_given(model):
    """Tell whether a model is one of the patterns that the case gives."""
    return not (isinstance(model.patterns, str) and model.patterns == "adaptive")


def claims_of(label, certificate, family="all"):
    """Return the lower bounds that a certificate states."""
    if certificate.kind == "restricted":
        family = "given"
    proven = certificate.kind != "priced"
    source = f"{label}, {certificate.kind}"
    resolution = certificate.resolution
    claims = [Claim(certificate.lower_bound, family, proven, source, resolution)]
    if not (proven and certificate.proven_lower_bound == certificate.lower_bound):
        also = certificate.proven_lower_bound
        claims.append(Claim(also, family, True, f"{source}, proven"))
    if certificate.over_all is not None:
        claims += claims_of(f"{label}, over all", certificate.over_all)
    return claims


def rivals(case, model):
    """Return labels and changed parameters of other fits of the same problem."""
    seed, tol = model.random_state, model.tol
    same = {"alpha": model.alpha_, "relative_alpha": False}
    if model.alpha_ == 0.0:  # a constant is best at any strength
        same = {}
    found = []
    if is_given(model):
        found.append(("given, tol / 10", same | {"tol": tol / 10}))
        found += [(other, same | {"solver": other}) for other in solvers(case, model)]
    if hasattr(model, "gates_"):
        return found
    free = same | {"patterns": "adaptive", "rank": None}
    found.append(("another seed", free | {"random_state": seed + 1}))
    if case.size <= SMALL:
        changes = {"random_state": seed + 2, "tol": max(tol / 10, 1e-5)}
        found.append(("a smaller tol", free | changes))
    return found


def solvers(case, model):
    """Return other solvers of the programme over the same patterns."""
    small = case.n_samples * model.n_patterns <= 500 and case.mode != "exact"
    found = ["cvxpy"] if small and case.features in TAME else []
    if case.mode == "gated":
        found.append("fista")
    return found


def solves_cones(case, stated, model):
    """Tell whether the programme over all patterns is solved beside."""
    flat = not model.subnetwork_widths and model.alpha_ > 0.0
    few = len(stated.X) <= CONES and case.n_features + model.hidden_bias <= 3
    return flat and few and stated.Y.shape[1] == 1 and case.features in TAME


def cone_optimum(stated, model):
    """Return the objective of the network of the convex programme over all patterns.

    The programme is that of Pilanci & Ergen (2020), stated here for CVXPY. What counts
    is the objective of its network, recomputed: the solver need not be trusted.
    """
    X = stated.X
    if model.hidden_bias:
        X = np.column_stack([X, np.ones(len(X))])
    patterns = np.asarray(enumerate_patterns(X)[0], dtype=float)
    f, blocks, constraints = cp.Variable() * float(model.fit_intercept), [], []
    f = f + np.zeros(len(X))
    for pattern in patterns:
        for sign in (1.0, -1.0):
            v = cp.Variable(X.shape[1])
            f = f + sign * cp.multiply(pattern, X @ v)
            constraints.append(cp.multiply(2.0 * pattern - 1.0, X @ v) >= 0.0)
            blocks.append((sign, v))
    penalty = sum(cp.norm(v) for _, v in blocks)
    loss = stated.weights @ cone_loss(stated, f, model)
    programme = cp.Problem(cp.Minimize(loss + model.alpha_ * penalty), constraints)
    try:
        programme.solve(solver=cp.CLARABEL)
    except cp.SolverError:
        return np.inf
    if blocks[0][1].value is None:
        return np.inf
    return network_value(stated, model, X, blocks, f)


def network_value(stated, model, X, blocks, f):
    """Return the objective of the network whose neurons are the blocks."""
    hidden = np.column_stack([v.value for _, v in blocks])
    output = np.array([[sign] for sign, _ in blocks])
    H = np.maximum(X @ hidden, 0.0) @ output
    intercept = np.median(f.value - H[:, 0]) * model.fit_intercept
    penalty = path_norm([hidden, output])
    return stated.loss_at(H + intercept) + model.alpha_ * float(penalty)


def cone_loss(stated, f, model):
    """Return the losses of rows for CVXPY."""
    y = stated.Y[:, 0]
    if stated.name == "huber":
        return cp.huber(f - y, model.huber_threshold) / 2
    if stated.name == "poisson":
        return cp.exp(f) - cp.multiply(y, f)
    if stated.name == "log_loss":
        return cp.logistic(f) - cp.multiply(y, f)
    if stated.name == "squared_hinge":
        return cp.square(cp.pos(1 - cp.multiply(y, f))) / 2
    return cp.square(f - y) / 2
