"""Low-rank training: on a few directions of the features, with a guarantee for all.

With P the projector on the leading right singular vectors of the features (and on the
bias) and ``X_r = X P``, a network that is optimal for X_r, its hidden weights projected
by P, has the same objective on X; that is at most ``1 + sigma c / alpha`` times the
optimum (Ergen & Pilanci, NeurIPS 2023, section 5; with one factor here, not its
square). For fixed r the arrangement of X_r has polynomially many patterns, so complete
training is polynomial in the number of samples and features.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sklearn_convexrelu.adaptive.loop import AdaptiveSolver
from sklearn_convexrelu.certificates.certificate import (
    Certificate,
    certify,
    dual_point,
    less_missed,
    lower_bound,
    no_bound,
    price_bound,
)
from sklearn_convexrelu.data.units import Units
from sklearn_convexrelu.pricing.judged import judged
from sklearn_convexrelu.pricing.subnetworks import exact_pricing_of, pricer_of

__all__ = ["LowRank", "LowRankGuarantee"]


@dataclass(frozen=True)
class LowRankGuarantee:
    """What training on rank-r features says of the problem with all of them.

    Attributes
    ----------
    rank : int
        Directions of the features that were kept; the bias is kept besides.
    residual_norm : float
        Spectral norm sigma of ``diag(sqrt(s / S)) (X - X_r)``, s the sample weights and
        S their sum: for equal weights ``||X - X_r||_2 / sqrt(n_samples)``.
    factor_before : float
        No network for all features is better than this one by more than this factor, as
        could be said before training: ``1 + sigma sqrt(2 b L_0 M) / alpha`` with the
        loss L_0 of the best constant, the smoothness b of the loss and the number M of
        paths of a sub-network (1 for two layers and for weight decay). Infinite for the
        Poisson loss, whose gradient has no such bound. As all factors, it holds for the
        optimum of the rank-r problem, and so up to that one's gap.
    factor_after : float
        The same after training, ``1 + sigma ||N|| sqrt(M) / alpha`` with the gradient
        N there. Where a constant is best for the rank-r problem at any alpha, which is
        zero then, both factors are 1 if it is best for all features too, else infinite.
    certificate : Certificate
        Of the rank-r problem.
    """

    rank: int
    residual_norm: float
    factor_before: float
    factor_after: float
    certificate: Certificate


@dataclass(frozen=True)
class LowRank:
    """A solver on the rank-r approximation of the features.

    Attributes
    ----------
    solver : AdaptiveSolver or FixedPatterns
        What solves the reduced problem. Unless it ``proves``, so do the certificates of
        solutions speak of that one alone.
    rank : int
        Number of directions of the features.
    has_bias : bool
        Whether the last input is the column of ones, which is kept as it is.
    """

    solver: object
    rank: int
    has_bias: bool

    @property
    def tol(self):
        """Tolerance of the solver."""
        return self.solver.tol

    @property
    def proves(self):
        """Whether certificates matter."""
        return self.solver.proves

    def reduction(self, problem):
        """Return the Reduction of a problem.

        Raises
        ------
        ValueError
            If the rank is larger than the number of features.
        """
        n_inputs = problem.rows.n_inputs
        n_features = n_inputs - self.has_bias
        if self.rank > n_features:
            raise ValueError(
                f"rank={self.rank} is more than the number of features, {n_features}."
            )
        features = problem.X[:, :n_features] * np.sqrt(problem.weights)[:, None]
        vectors = np.linalg.eigh(features.T @ features)[1]
        basis = np.zeros((n_inputs, self.rank + self.has_bias))
        basis[:n_features, : self.rank] = vectors[:, ::-1][:, : self.rank]
        if self.has_bias:
            basis[-1, -1] = 1.0
        return Reduction(problem, basis)

    def over(self, problem):
        """Return the LowRankFit to a problem, at whatever alpha.

        Raises
        ------
        ValueError
            If the rank is larger than the number of features.
        """
        return LowRankFit(self, problem)

    @property
    def gated(self):
        """Whether units are gated."""
        return self.solver.gated

    def on_inputs(self, basis):
        """Return the solver of the inputs ``X basis``, the last one a constant."""
        n_inputs, n_kept = basis.shape
        rank = self.rank
        if rank <= n_inputs - self.has_bias:  # else it is refused
            rank = min(rank, n_kept - 1)
        solver = self.solver.on_inputs(basis)
        return replace(self, solver=solver, rank=rank, has_bias=True)

    def on_standardised(self, scales):
        """Return the solver of features divided by scales: given gates are of those."""
        return replace(self, solver=self.solver.on_standardised(scales))


class LowRankFit:
    """Low-rank training at one problem: its reduction, and the fit to that.

    Attributes
    ----------
    solver : LowRank
        The solver.
    problem : Problem
        With all features, at whatever alpha.
    reduction : Reduction
        The problem on some directions of the features.
    inner : AdaptiveFit or PatternsFit
        The fit of these; given gates are projected.
    """

    def __init__(self, solver, problem):
        self.solver, self.problem = solver, problem
        self.reduction = solver.reduction(problem)
        inner = solver.solver.on_inputs(self.reduction.basis)
        self.inner = inner.over(self.reduction.problem)

    def restated(self, problem):
        """Return the fit to other weights: the directions are of those."""
        return LowRankFit(self.solver, problem)

    def known_bound(self, N):
        """Return what no price exceeds at a dual point."""
        return self.reduction.price_bound(N) if self.solver.proves else no_bound(N)

    def largest_alpha(self):
        """Return the least strength at which a constant is best for the rank."""
        return self.inner.largest_alpha()

    def constant(self):
        """Return the best constant, its certificate, and the guarantee.

        It is for problems whose ``largest_alpha`` is zero: neurons of the kept
        directions of the features do not help. If others do, then nothing bounds by how
        much at an alpha of zero.
        """
        problem, reduction, inner = self.problem, self.reduction, self.inner
        network, own, _ = inner.constant()
        network = network.mapped(reduction.basis)
        units = Units.of(problem)
        price = AdaptiveSolver().over(units.scaled(problem)).largest_alpha()
        price *= units.alpha
        factor = np.inf if price > 0.0 else 1.0
        guarantee = LowRankGuarantee(
            self.solver.rank, reduction.residual_norm, factor, factor, own
        )
        if price > 0.0:
            certificate = certify(problem, network, price)
        else:
            certificate = AdaptiveSolver().over(problem).constant()[1]
        programme = inner.programme_on(problem, reduction.basis)
        if programme is not None:
            price = programme.largest_alpha() if price > 0.0 else price
            bound = certificate.lower_bound
            certificate = Certificate(
                kind="restricted",
                objective=certificate.objective,
                lower_bound=bound,
                price=price,
                price_bound=price,
                proven_lower_bound=bound,
                over_all=None if self.solver.gated else certificate,
            )
        return network, certificate, guarantee

    def path(self, alphas, start=None, callback=None, deadline=None):
        """Solve at one penalty strength after another, as the solver does.

        Parameters
        ----------
        alphas : iterable of float
            Penalty strengths.
        start : Network, default=None
            Where to start; it is projected.
        callback : callable, default=None
            As the solver's; networks are those for all features.
        deadline : Deadline, default=None
            As the solver's. Certificates on all features are made whatever the time.

        Yields
        ------
        Solution
            For all features, with its guarantee.
        """
        problem, reduction = self.problem, self.reduction
        basis = reduction.basis
        certified = _Certified(self) if self.solver.proves else None

        def mapped_callback(record, network):
            return callback(record, network.mapped(basis))

        path = self.inner.path(
            alphas,
            None if start is None else start.mapped(basis.T),
            None if callback is None else mapped_callback,
            deadline,
        )
        for alpha, solved in zip(alphas, path, strict=False):
            network, at_alpha = solved.network.mapped(basis), problem.with_alpha(alpha)
            N = solved.dual_point
            if N is None:
                N = dual_point(at_alpha, network.forward(problem.rows))
            mapped = replace(
                solved,
                network=network,
                directions=None,
                dual_network=None,
                low_rank=reduction.guarantee(
                    self.solver.rank,
                    alpha,
                    N,
                    less_missed(at_alpha, solved.certificate),
                ),
            )
            yield mapped if certified is None else certified(mapped, at_alpha, N)


class _Certified:
    """Gives solutions of the reduced problem certificates on all features."""

    def __init__(self, fit):
        self.reduction = fit.reduction
        self.pricer = None if fit.solver.gated else pricer_of(fit.problem)
        self.programme = fit.inner.programme_on(fit.problem, fit.reduction.basis)

    def __call__(self, solved, problem, N):
        """Return a solution with another certificate; ``N`` is its dual point."""
        over_all, directions = None, None
        if self.pricer is not None:
            over_all, directions = self.over_all(solved, problem, N)
        if self.programme is None:
            return replace(solved, certificate=over_all, directions=directions)
        prices = self.programme.at(problem.alpha).prices(N)
        price = float(prices.max(initial=0.0))
        bound = lower_bound(problem, N, price)
        own = Certificate(
            kind="restricted",
            objective=problem.objective(solved.network),
            lower_bound=bound,
            price=price,
            price_bound=price,
            proven_lower_bound=bound,
            over_all=over_all,
        )
        return replace(solved, certificate=own)

    def over_all(self, solved, problem, N):
        """Return the certificate among all networks, and the directions priced."""
        return judged(
            problem,
            solved.network,
            pricer=self.pricer,
            known_bound=self.reduction.price_bound,
            N=N,
        )


class Reduction:
    """A problem on some directions of its features.

    Attributes
    ----------
    basis : ndarray of shape (n_inputs, n_directions)
        Orthonormal columns.
    problem : Problem
        The reduced problem, with the inputs ``X basis``.
    residual_norm : float
        Spectral norm of ``diag(sqrt(s / S)) (X - X_r)``.
    """

    def __init__(self, problem, basis):
        self.basis, X = basis, problem.X @ basis
        linear = problem.linear
        if linear is not None:  # the bias, where there is one, has no part in it
            linear = linear.on(basis[linear.inputs].any(axis=0))
        self.problem = replace(problem, rows=X, linear=linear)
        self.reach = problem.shape.reach
        self.roots = np.sqrt(problem.weights)[:, None]
        rest = problem.X - X @ basis.T
        size = np.abs(rest).max(initial=0.0)
        self.residual_norm = 0.0
        if size > 1e-14 * np.abs(problem.X).max(initial=0.0):  # else rounding
            rest *= self.roots / size
            largest = np.linalg.eigvalsh(rest.T @ rest)[-1]
            self.residual_norm = float(size * np.sqrt(max(largest, 0.0)))

    @cached_property
    def exact(self):
        """The exact pricing of the reduced problem, None where it costs too much."""
        return exact_pricing_of(self.problem)

    def gradient_norm(self, N):
        """Return the spectral norm of ``diag(s / S)^(-1/2) N``."""
        return float(np.linalg.norm(N / self.roots, ord=2))

    def price_bound(self, N):
        """Return a number that no price over all features exceeds.

        Prices on X and X_r differ by at most ``residual_norm * gradient_norm(N)``, for
        sub-networks times the square root of the number of paths (path norm).
        """
        if self.exact is not None:
            price = float(self.exact.price(N).prices[0]) + self.exact.slack(N)
        else:
            price = price_bound(self.problem, N)
        return price + self.reach * self.residual_norm * self.gradient_norm(N)

    def guarantee(self, rank, alpha, N, certificate):
        """Return the guarantee that a solution with the gradient N gives."""
        problem, sigma = self.problem, self.reach * self.residual_norm
        constant = problem.null_network().forward(problem.rows)
        loss_of_constant = problem.loss.value(constant, problem.Y, problem.weights)
        before = sigma * self.gradient_norm(N)
        after = before
        if sigma > 0.0:
            slope = np.sqrt(2.0 * problem.loss.smoothness * loss_of_constant)
            if problem.n_outputs == 1:  # of several, what one output's norm says
                slope = min(slope, problem.loss.largest_slope)
            before = sigma * slope
        return LowRankGuarantee(
            rank=rank,
            residual_norm=self.residual_norm,
            factor_before=float(1.0 + before / alpha),
            factor_after=float(1.0 + after / alpha),
            certificate=certificate,
        )
