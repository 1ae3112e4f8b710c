"""Duality certificates: how far a network is from the best of its kind, provably.

The dual of the training problem (Pilanci & Ergen, ICML 2020, Theorem 1, with the
penalty in its unconstrained form) is::

    max_V -L*(V)   subject to   ||V^T relu(X u)||_2 <= alpha for all ||u||_2 <= 1,

and ``1^T V = 0`` with an unpenalised intercept, ``X^T V = 0`` with a free linear part;
one that is penalised has a price of its own, ``||X^T V|| <= alpha``. The gradient ``N``
of the loss at any network, scaled by ``s <= alpha / price``, is feasible once ``price``
is at least the maximum of ``||N^T relu(X u)||``. So the certificate is as good as the
price: how the price was found is its ``kind``.
"""

from dataclasses import dataclass, replace

import numpy as np

from sklearn_convexrelu.data.statement import are_constant
from sklearn_convexrelu.model.norms import ONE_NORM

__all__ = [
    "Certificate",
    "beyond_rounding",
    "certificate_at",
    "certify",
    "certify_at",
    "dual_point",
    "has_resolution",
    "less_missed",
    "lower_bound",
    "missed",
    "no_bound",
    "price_bound",
    "rounding_of_prices",
    "with_chance",
]

# Of the largest price: what a search many times as hard found more, over the chance of
# an unseen maximum. At 49 dual points of 21 tables (12 to 1236 rows, 4 to 20 columns,
# tolerances of 1e-4 to 1e-2) that was .022 in the mean. It was at most the estimate at
# 77% of them and at most three times as much at 98%, whatever the chance, from .001 to
# .9. How high the maxima stand that were hit once told nothing more: a network holds
# down those that its searches saw, and the others are as high as they happen to be.
_HIGHER = 0.022
# The same where the programme over cells has ended on several fine searches that found
# nothing, about as hard as that one: ten fits of 40 to 100 rows (tolerances of 1e-5 and
# 1e-6) were off by 6e-9 of the constant's loss in the mean, and objectives of diabetes
# at relative alpha .03 differ by 2e-6 of it.
_HIGHER_FINE = 3e-4
# Of more inputs second moments are taken along so many axes, and along the rest their
# trace: two matrices of 785 inputs for each of ten classes took a twentieth of a fit to
# 2000 images. On 1000 images, raw and scaled, bounds are 1.02 and 1.13 times those of
# eigenvalues, in a ninth of the time; with half as many axes 1.03 and 1.24.
_MOST_INPUTS, _N_AXES = 256, 128
_ROUNDING = 1e-12  # of a squared length, for what is left of it along other axes


@dataclass(frozen=True)
class Certificate:
    """A lower bound on the optimum, beside the objective of one network.

    The dual point behind the bound may be that of another network: that a solver priced
    before it improved it a last time.

    Attributes
    ----------
    kind : {"exact", "bound", "priced", "restricted"}
        "exact": the price is the true maximum, so the gap is a proof. "bound": no price
        exceeds ``price_bound``, so it is one too. "priced": the price is the best of
        many local searches, so the gap is an estimate. "restricted": the bound is a
        proof, but for models of given patterns only, gated where the model is.
    objective : float
        Objective of the network, recomputed from its weights.
    lower_bound : float
        Lower bound on every network's objective; proven unless the kind is "priced".
    price : float
        Largest ``||N^T relu(X u)||_2`` over unit vectors u that was found; for kind
        "restricted" the largest of the given units. At an optimum with neurons it
        equals alpha.
    price_bound : float
        Number that no price at a dual point can exceed: the price plus rounding when
        exact. After ``certify`` (kind "bound") that point is the optimised one that
        proves the bound, not the one that ``price`` is of, which may be the larger.
    proven_lower_bound : float
        Lower bound that follows from ``price_bound``: a proof whatever the kind, for
        kind "restricted" for the models that it speaks of.
    over_all : Certificate or None
        Beside a "restricted" one of a ReLU network, that over all networks.
    unseen_chance : float
        Of kind "priced": estimated chance that one more independent start of the search
        ends in a maximum that none of its starts has ended in (Good 1953). One where a
        search made none; zero where the gap is a proof.
    resolution : float
        Of kind "priced": by how much a search many times as hard is expected to lower
        ``lower_bound``, which follows from the chance: of sub-networks beyond what is
        taken off that already. A gap is to be believed up to this, not below. Zero
        where it is a proof.
    """

    kind: str
    objective: float
    lower_bound: float
    price: float
    price_bound: float
    proven_lower_bound: float
    over_all: "Certificate | None" = None
    unseen_chance: float = 0.0
    resolution: float = 0.0

    @property
    def gap(self):
        """Objective minus lower bound."""
        return self.objective - self.lower_bound

    @property
    def proven_gap(self):
        """Objective minus the proven lower bound."""
        return self.objective - self.proven_lower_bound


def dual_point(problem, F, overwrites=False):
    """Return the gradient N of the loss at predictions ``F``, balanced per output.

    It may be written over the predictions.

    With an unpenalised intercept the columns of N must sum to zero, with a free linear
    part be orthogonal to those of X. The caller refits these; what is left is taken out
    here.
    """
    return problem.balanced(problem.gradient_at(F, overwrites))


def certify(problem, network, price, exact_bound=None, known_bound=np.inf):
    """Return the Certificate of ``network``, given the price of its dual point.

    Parameters
    ----------
    problem : Problem
        What is minimised.
    network : Network
        The network to judge; with ``problem.fit_intercept`` its intercept should be
        the best for its neurons, or the bound is weak.
    price : float
        Largest price known at the dual point.
    exact_bound : float, default=None
        From exact pricing: what no price exceeds, rounding included. It makes the
        certificate's kind "exact"; without it the kind is "priced".
    known_bound : float, default=inf
        A rigorous bound on the price that is known already.

    Returns
    -------
    Certificate
        Objective and dual point are recomputed from the weights; that the price is
        theirs is up to the caller.
    """
    F = network.forward(problem.rows)
    objective = problem.objective(network, F)
    N = dual_point(problem, F, overwrites=True)
    return certify_at(problem, objective, N, price, exact_bound, known_bound)


def certify_at(
    problem, objective, N, price, exact_bound=None, known_bound=np.inf, like=None
):
    """Return the Certificate of an objective, given the price of a dual point N.

    Every dual point bounds every network. Whatever the kind, the price is bounded
    rigorously too; and what searches of sub-networks are known to miss is taken from
    the lower bound. What its search has not seen is as a Certificate ``like`` it says.
    The other parameters are those of ``certify``.
    """
    if exact_bound is None:
        known_bound = max(price, min(known_bound, price_bound(problem, N)))
    certificate = certificate_at(problem, objective, N, price, exact_bound, known_bound)
    if like is not None:
        certificate = replace(
            certificate, unseen_chance=like.unseen_chance, resolution=like.resolution
        )
    return less_missed(problem, certificate)


def certificate_at(problem, objective, N, price, exact_bound=None, known_bound=np.inf):
    """Return the Certificate of an objective at the dual point N.

    The other parameters are those of ``certify``; nothing else is looked at. What was
    not seen is for ``with_chance`` to say.
    """
    exact = exact_bound is not None
    bound, proven = exact_bound if exact else known_bound, -np.inf
    if np.isfinite(bound):
        proven = lower_bound(problem, N, bound)
    return Certificate(
        kind="exact" if exact else "priced",
        objective=objective,
        lower_bound=proven if exact else lower_bound(problem, N, price),
        price=price,
        price_bound=bound,
        proven_lower_bound=proven,
        unseen_chance=0.0 if exact else 1.0,
    )


def with_chance(problem, N, certificate, chance, is_fine=False):
    """Return a certificate with the chance that a price was not seen, if "priced".

    ``is_fine`` says that several fine searches in a row have found nothing.
    """
    if certificate.kind != "priced":
        return certificate
    part = (_HIGHER_FINE if is_fine else _HIGHER) * chance
    more = lower_bound(problem, N, certificate.price * (1.0 + part))
    resolution = float(max(certificate.lower_bound - more, 0.0))
    return replace(certificate, unseen_chance=chance, resolution=resolution)


def beyond_rounding(problem, N, price):
    """Return a price at the dual point N, or zero where it may be rounding."""
    return price if price > rounding_of_prices(problem, N) else 0.0


def rounding_of_prices(problem, N):
    """Return a price at the dual point N that may be rounding."""
    size = np.sqrt(problem.rows.column_squares().sum())
    if problem.has_free_part:  # what it left of N may be rounding itself
        problem = replace(problem, linear=None)
        constant = problem.null_network().intercept
        N = problem.gradient_at(np.zeros(problem.Y.shape) + constant)
    length = np.sqrt(problem.rows.reduce(_square, N.shape[1], N)[0])
    return 1e-13 * length * size


# A constant input that is so many times as long as the others makes searches under
# weight decay miss more, ``_FREE`` times: lower bounds of fits with one of 10 to 1e6
# times lay up to 4.4e-3 of the constant's loss above another seed's objective.
_LONG, _FREE = 3.0, 10.0
# Of four layers and several outputs searches miss more, too: one of 57 lower bounds of
# the campaign lay 5.4e-3 of the constant's loss above another seed's objective, and
# seven in twelve searches of four times the effort missed that maximum as well.
_DEEP = 6.0


def has_resolution(problem):
    """Tell whether the resolution of a "priced" certificate is to be judged by.

    Of several outputs the chance is that of ends which hardly differ in price: ten
    classes of digits (n = 300, tolerances of 1e-3 and 1e-4) had 1.8 to 25 tolerances,
    and were off by 0 to .3. Losses with kinks were not among the fits that the estimate
    was held against.
    """
    return problem.n_outputs == 1 and problem.loss.is_smooth


def missed(problem):
    """Return what searches of sub-networks are known to miss of a gap; else zero."""
    shape, rows = problem.shape, problem.rows
    if not shape.is_tree:
        return 0.0
    known = shape.resolution * problem.loss_scale()
    if not shape.decays:  # which four layers never do
        deep = len(shape.widths) > 1 and problem.n_outputs > 1
        return known * (_DEEP if deep else 1.0)
    constant = are_constant(rows)
    longest = rows.sizes[constant].max(initial=0.0)
    others = rows.sizes[~constant].max(initial=0.0)
    return known * (_FREE if longest > _LONG * others else 1.0)


def less_missed(problem, certificate):
    """Return a certificate less what searches of sub-networks are known to miss."""
    if certificate.kind != "priced" or not problem.shape.is_tree:
        return certificate
    known = missed(problem)
    return replace(
        certificate,
        lower_bound=max(
            certificate.lower_bound - known, certificate.proven_lower_bound
        ),
        resolution=max(certificate.resolution - known, 0.0),
    )


def no_bound(N):
    """Return what no price exceeds where nothing is known: infinity."""
    return np.inf


def lower_bound(problem, N, price):
    """Return the best dual value along ``N`` when no price exceeds ``price``.

    That is the price of units; a linear part's is added here.
    """
    price = max(price, problem.linear_price(N))
    limit = problem.alpha / price if price > 0.0 else np.inf
    return problem.best_dual_value(N, limit)


def price_bound(problem, N):
    """Return a number that no price exceeds.

    For one column v of N, ``relu(z) = (z + |z|) / 2`` gives::

        v^T relu(X u) <= ||X^T v||_* / 2 + sum_i max(v_i, 0) |x_i u| / 2

    and Cauchy-Schwarz bounds the sum by ``sqrt(sum_i v_i+ * lmax(X^T diag(v+) X))``
    times the largest 2-norm of u. Both signs of v are taken, and columns are combined
    by their squares. Under the 1-norm the convex part at single inputs is a bound too,
    and the smaller one is taken. Signs of weights, of monotone networks, leave fewer
    units. Sub-networks: see ``_bound_of_trees``.
    """
    rows, norm = problem.rows, problem.shape.norm
    if problem.shape.is_tree:
        return _bound_of_trees(problem, N)
    halves, radius = 0.5 * norm.dual_lengths(rows.sums(N)), norm.radius(rows.n_inputs)
    bounds = [
        halves + 0.5 * radius * _part_of_sign(rows, N, sign) for sign in (1.0, -1.0)
    ]
    bound = float(np.linalg.norm(np.maximum(*bounds)))
    return min(bound, _largest_parts(rows, N)) if norm == ONE_NORM else bound


def _bound_of_trees(problem, N):
    """Return a number that no price of sub-networks exceeds, of any depth.

    A neuron's value is between zero and the sum of those of its children with a plus,
    so a sub-network's is between zero and ``sum_p relu(x v_p)`` over its leaves. With
    the lengths of the leaves at most ``reach`` in sum its price is ``reach`` times the
    one of a neuron where N is positive, or negative, alone. That is bounded as the
    price of neurons is, and by ``||X||_2 ||N+||_2``; the smaller one is taken. What
    neurons with a minus take away is not seen: it is a weak bound.
    """
    rows, norm = problem.rows, problem.shape.norm
    radius, largest = norm.radius(rows.n_inputs), []
    ones = rows.map(_ones, 1, rows.empty(1))
    size = radius * np.sqrt(_largest_moments(rows, ones, 1.0)[0])
    squares = rows.reduce(_signed_squares, N.shape[1], N)
    for sign, square in zip((1.0, -1.0), squares, strict=True):
        (sums,) = rows.reduce(_sums_of_sign, N.shape[1], N, sign)
        halves = norm.dual_lengths(sums) + radius * _part_of_sign(rows, N, sign)
        bound = np.minimum(0.5 * halves, size * np.sqrt(square))
        if norm == ONE_NORM:  # convex in u, so the most is at single inputs
            bound = np.minimum(bound, rows.input_totals(N, sign).max(axis=(0, 1)))
        largest.append(bound)
    return float(problem.shape.reach * np.linalg.norm(np.maximum(*largest)))


def _largest_parts(rows, N):
    """Return what no price exceeds over 1-norms of one, from single inputs.

    The convex part of the price is the largest at one of them, with a sign, and the
    other part is not positive.
    """
    parts = []
    for sign in (1.0, -1.0):
        parts.append(rows.input_totals(N, sign).max(axis=(0, 1)))
    return float(np.linalg.norm(np.maximum(*parts)))


def _part_of_sign(rows, N, sign):
    """Return ``max_u sum_i max(sign N_ic, 0) |x_i u|``, bounded, for each column c."""
    (totals,) = rows.reduce(_totals_of_sign, N.shape[1], N, sign)
    return np.sqrt(totals * _largest_moments(rows, N, sign))


def _largest_moments(rows, N, sign):
    """Return what no eigenvalue of ``X^T diag(max(sign N_c, 0)) X`` exceeds, by column.

    Of few inputs they are the largest eigenvalues. Of many the matrix is split along
    the leading axes of the rows and what is orthogonal to them: the largest eigenvalue
    of a positive semidefinite matrix is no more than those of its diagonal blocks
    together, and that of a block no more than its trace.
    """
    if rows.n_inputs > _MOST_INPUTS:
        axes = rows.leading_axes(_N_AXES)
        width = _N_AXES + N.shape[1]
        inner, rest = rows.reduce(_split_moments, width, N, sign, rows.weights(axes))
        return _largest_eigenvalues(inner) + rest
    largest = []
    for k in range(N.shape[1]):
        v = rows.map(_part, 1, rows.empty(), N, sign, k)
        largest.append(_largest_eigenvalues(rows.moments(v)))
    return np.array(largest)


def _largest_eigenvalues(moments):
    return np.maximum(np.linalg.eigvalsh(moments)[..., -1], 0.0)


# Kernels.


def _square(block, rows, N):
    N = N[rows]
    return (np.vdot(N, N),)


def _signed_squares(block, rows, N):
    return tuple((np.maximum(s * N[rows], 0.0) ** 2).sum(axis=0) for s in (1.0, -1.0))


def _sums_of_sign(block, rows, N, sign):
    return (block.sums(np.maximum(sign * N[rows], 0.0)),)


def _ones(block, rows):
    return np.ones((len(block), 1))


def _part(block, rows, N, sign, k):
    return np.maximum(sign * N[rows, k], 0.0)


def _totals_of_sign(block, rows, N, sign):
    return (np.maximum(sign * N[rows], 0.0).sum(axis=0),)


def _split_moments(block, rows, N, sign, axes):
    """Kernel: moments along axes, (n_columns, n_axes, n_axes), and the rest's trace."""
    V, H = np.maximum(sign * N[rows], 0.0), block.values(axes)
    lengths = block.squared_lengths()
    rest = lengths - np.einsum("ij,ij->i", H, H)
    rest = np.maximum(rest, 0.0) + _ROUNDING * lengths
    return np.array([(H.T * v) @ H for v in V.T]), V.T @ rest
