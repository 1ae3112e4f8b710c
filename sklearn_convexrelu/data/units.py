"""Units in which inputs, targets and objective are of order one."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from sklearn_convexrelu.data.statement import are_constant
from sklearn_convexrelu.model.loss import TargetUnits
from sklearn_convexrelu.model.neurons import power_of_two

__all__ = ["Units"]

# Constant columns are a hidden bias that is all but free once they are so many times
# as long as any row of the others: what more would change prices by is the square of
# its inverse, which certificates allow for. Cone programmes want few orders of
# magnitude: with 1e5 gaps of 1e-5 stalled, with 1e3 the same ones converged.
_FREE = 1e3
_LARGEST_ALPHA = 1e100
_LARGEST_LOSS = 1e290  # unit of a loss, or its inverse, that leaves room in double


@dataclass(frozen=True)
class JoinedConstants:
    """Constant columns made one, the last, and maybe shortened.

    Attributes
    ----------
    varying : ndarray of bool, (n_inputs,)
        Inputs that stay as they are.
    shares : ndarray of shape (n_constant,)
        Values of the others for the length of them all.
    length : float
        That length.
    constant : float
        Value of the one that they are made.
    """

    varying: np.ndarray
    shares: np.ndarray
    length: float
    constant: float

    @property
    def back(self):
        """Takes weights of the new inputs to those of the user's."""
        return self._map(self.shares * (self.constant / self.length))

    @property
    def there(self):
        """Takes weights the other way: as above, but for the length of the constant."""
        return self._map(self.shares * (self.length / self.constant)).T

    def _map(self, shares):
        n_inputs, kept = len(self.varying), np.flatnonzero(self.varying)
        ones = np.append(np.ones(len(kept)), shares)
        at = np.append(kept, np.flatnonzero(~self.varying))
        new = np.append(np.arange(len(kept)), np.full(len(shares), len(kept)))
        return sparse.csr_array((ones, (at, new)), (n_inputs, len(kept) + 1))


@dataclass(frozen=True)
class Units:
    """Units in which inputs, targets and objective are of order one.

    A network f' of the scaled problem, on the inputs ``X'`` with ``X = inputs X'
    there``, is ``f = size f' + offset`` of the original one; its hidden weights are
    those of f' times ``joined.back``.

    Attributes
    ----------
    inputs : float
        Unit of the inputs.
    targets : TargetUnits
        Units of targets, predictions and loss.
    joined : JoinedConstants or None
        How constant columns are one, where they outweigh all others.
    """

    inputs: float
    targets: TargetUnits
    joined: JoinedConstants | None = None

    @classmethod
    def of(cls, problem, gated=False):
        """Return the units of ``problem``, for ReLU or gated units.

        Raises
        ------
        ValueError
            If the targets have a loss beyond double precision.
        """
        joined, shape = None, problem.shape
        # A linear part has no share in constants where an intercept takes them over.
        has_own = problem.linear is not None and not problem.fit_intercept
        # The joint length is that of the 2-norm, and of columns of any sign.
        if shape.norm.is_euclidean and shape.monotone is None and not has_own:
            joined = _joined_constants(problem, problem.fit_intercept and not gated)
        rows = problem.rows
        if joined is not None:
            rows = rows.with_constant(joined.varying, joined.constant)
        constant = problem.best_constant() if problem.fit_intercept else None
        # Losses of workers' samples know their targets by the bounds alone.
        Y = problem.Y.bounds() if rows.is_spread else problem.Y
        targets = problem.loss.target_units(Y, constant)
        if not 1.0 / _LARGEST_LOSS < targets.factor < _LARGEST_LOSS:
            size = np.abs(Y).max()
            raise ValueError(
                f"Targets of size {size:.0e} have a loss beyond double precision; "
                "rescale them."
            )
        return cls(power_of_two(rows.sizes.max(initial=0.0)), targets, joined)

    @property
    def objective(self):
        """Unit of the objective."""
        return self.targets.factor

    @property
    def alpha(self):
        """Unit of the penalty strength."""
        return self.objective / self.targets.size * self.inputs

    def strengths(self, alpha):
        """Return penalty strengths in these units.

        Where prices are of order one, what is far from them needs no exact number.
        """
        with np.errstate(over="ignore", under="ignore"):
            strengths = np.divide(alpha, self.alpha)
        return np.clip(strengths, np.finfo(float).tiny, _LARGEST_ALPHA)

    def scaled(self, problem):
        """Return ``problem`` in these units."""
        rows = problem.rows
        if self.joined is not None:
            rows = rows.with_constant(self.joined.varying, self.joined.constant)
        linear = problem.linear
        if linear is not None and self.joined is not None:
            inputs = linear.inputs[self.joined.varying]
            linear = linear.on(np.append(inputs, False))
        elif linear is not None:
            linear = linear.on(linear.inputs)
        return replace(
            problem,
            linear=linear,
            rows=rows.divided(self.inputs),
            Y=self.targets.scaled(problem.Y),
            loss=problem.loss.in_units(self.targets.size),
            alpha=float(self.strengths(problem.alpha)),  # nan while it is open
        )

    def solver(self, solver):
        """Return the solver of the scaled problem: its patterns are of its inputs."""
        return solver if self.joined is None else solver.on_inputs(self.joined.there.T)

    def restore(self, network):
        """Return a network of the scaled problem in the user's units."""
        if self.joined is not None:
            network = network.mapped(self.joined.back)
        targets = self.targets
        return network.rescaled(
            targets.size / self.inputs, targets.size, targets.offset
        )

    def shrink(self, network):
        """Return a network of the user's problem in these units."""
        factor = 1.0 / self.targets.size
        network = network.rescaled(
            self.inputs * factor, factor, -self.targets.offset * factor
        ).astype(np.float64)
        return network if self.joined is None else network.mapped(self.joined.there)

    def certificate(self, certificate, objective):
        """Return a certificate of the scaled problem in the user's units.

        Where constant columns were cut prices may be larger by a factor, and bounds,
        concave along the dual point and not negative at zero, smaller by it.
        """
        over_all = certificate.over_all
        factor = 1.0 if self.joined is None else 1.0 + 1.0 / _FREE**2
        bound = self.objective / factor
        return replace(
            certificate,
            objective=objective,
            lower_bound=certificate.lower_bound * bound,
            price=certificate.price * self.alpha,
            price_bound=certificate.price_bound * self.alpha * factor,
            proven_lower_bound=certificate.proven_lower_bound * bound,
            resolution=certificate.resolution * bound,
            over_all=None
            if over_all is None
            else self.certificate(over_all, objective),
        )

    def guarantee(self, low_rank):
        """Return what low-rank training guarantees in the user's units."""
        if low_rank is None:
            return None
        certificate = low_rank.certificate
        return replace(
            low_rank,
            residual_norm=low_rank.residual_norm * self.inputs,
            certificate=self.certificate(
                certificate, certificate.objective * self.objective
            ),
        )

    def translated(self, callback):
        """Return ``callback`` for a solver of the scaled problem."""

        def scaled_callback(record, network):
            return callback(self.record(record), self.restore(network))

        return scaled_callback

    def record(self, record):
        """Return a record of the history in the user's units."""
        unit = {
            "objective": self.objective,
            "dual_gap": self.objective,
            "price": self.alpha,
        }
        return {key: value * unit.get(key, 1) for key, value in record.items()}


def _joined_constants(problem, cut):
    """Return how constant columns are made one, where they outweigh all; or None.

    Only the sum of what constant columns contribute matters, and it costs least spread
    in proportion to their values: they act as one column of their joint length. With an
    intercept a ReLU needs no bias beyond the longest row of the others: all rows would
    pass it, or none. So with ``cut`` a column longer than ``_FREE`` times that row is
    shortened to it, which changes prices by less than ``1 / _FREE^2`` of themselves.
    """
    rows = problem.rows
    constant = are_constant(rows)
    values = rows.bounds[0, constant]
    largest = np.abs(values).max(initial=0.0)
    if largest == 0.0 or constant.all():
        return None
    length = largest * np.linalg.norm(values / largest)
    size = rows.sizes[~constant].max()
    # Not longer than the root of their number times the largest: rows themselves are
    # looked at only where that leaves it open.
    if length <= _FREE * size:
        return None
    others = rows.with_constant(~constant, 0.0).divided(power_of_two(size))
    lengths = others.squared_lengths()
    longest = np.sqrt(lengths.max()) * power_of_two(size)
    if length <= _FREE * longest:
        return None
    kept = _FREE * longest if cut else length
    return JoinedConstants(~constant, values / length, length, kept)
