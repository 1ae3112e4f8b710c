"""What a fitted estimator can still be asked, given its training data once more."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from numbers import Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, check_scalar

from sklearn_convexrelu._dask import refuse_dask
from sklearn_convexrelu._threads import one_blas_thread
from sklearn_convexrelu.model.subnetworks import GatedTreeNetwork
from sklearn_convexrelu.programmes.decomposition import (
    cone_decomposition,
    tree_decomposition,
)
from sklearn_convexrelu.training import proven, pruned, searched

__all__ = ["PosthocMixin"]

# Attributes that say how training went.
_OF_THE_RUN = ("n_iter_", "history_", "status_", "tolerance_")


class PosthocMixin:
    """Methods of a fitted estimator that change its network or its certificate."""

    def prune(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Trade linearly dependent neurons for fewer, at equal predictions.

        Where outputs of neurons on the training data are linearly dependent,
        amplitudes are moved along the dependence, never raising the penalty, until some
        vanish [1]_. At most ``n_samples * n_outputs`` neurons remain.

        Parameters
        ----------
        X, y, sample_weight : as in ``fit``
            The training data, which the estimator does not keep.

        Returns
        -------
        estimator
            Itself, with the smaller network.

        Raises
        ------
        ValueError
            If these are not the data of the last fit.

        References
        ----------
        .. [1] Mishkin & Pilanci (2023), "Optimal Sets and Solution Paths of ReLU
           Networks", ICML, section 4.
        """
        data, problem = self._training_problem(X, y, sample_weight)
        with one_blas_thread():
            network = pruned(problem, data.to_standard(self.network_))
            network = network.astype(self.network_.intercept.dtype)
        objective = problem.objective(network)
        certificate, over_all = self.certificate_, self.certificate_.over_all
        if over_all is not None:
            over_all = replace(over_all, objective=objective)
        # Equal predictions have the same dual point, and so the same bound.
        self._set_network(
            data, network, replace(certificate, objective=objective, over_all=over_all)
        )
        return self

    def certify(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        time_limit: float = 10.0,
    ) -> Self:
        """Prove a lower bound on the objective of every network of this kind.

        That is, of any number of neurons, or of sub-networks of these widths. A dual
        point is optimised whose price no direction exceeds, by a semidefinite
        relaxation of the price, tightened by splitting the sphere of directions until
        the time is over [1]_; under ``norm="l1"`` by a linear relaxation, tightened by
        cutting its unit ball. The price of a sub-network is bounded by those of its
        leaves with a plus and with a minus. The proof does not rest on the solver. A
        certificate of the kind "exact" is a proof already and stays as it is: that of
        data of rank two or less, of rank three with one output and up to 2000 distinct
        rows, of two leaves on data of rank two, and of a complete arrangement.

        Parameters
        ----------
        X, y, sample_weight : as in ``fit``
            The training data, which the estimator does not keep.
        time_limit : float, default=10.0
            Seconds after which no further tightening is begun.

        Returns
        -------
        estimator
            Itself. Its certificate, or for fixed patterns the ``over_all`` one, has the
            kind "bound" and the best bound that is proven.

        Raises
        ------
        ValueError
            If the network is gated or has a skip connection, or these are not the data
            of the last fit.

        References
        ----------
        .. [1] Shor (1987), "Quadratic Optimization Problems", Soviet Journal of
           Computer and Systems Sciences 25; Burer & Monteiro (2003), "A Nonlinear
           Programming Algorithm for Solving Semidefinite Programs via Low-Rank
           Factorization", Mathematical Programming 95.
        """
        check_is_fitted(self)
        check_scalar(time_limit, "time_limit", Real, min_val=0.0)
        if np.isnan(time_limit):
            raise ValueError("time_limit must be a number of seconds, not nan.")
        if self.network_.is_gated:
            raise ValueError(
                "certify proves bounds of ReLU networks; the bound of a gated one is a "
                "proof already, for its patterns."
            )
        if self.network_.linear is not None:
            raise ValueError(
                "certify proves bounds of networks without a skip connection: its "
                "relaxations do not choose dual points that a linear part allows. "
                "certificate_ has what is proven besides."
            )
        data, problem = self._training_problem(X, y, sample_weight)
        certificate = self.certificate_
        restricted = certificate.kind == "restricted"
        known = certificate.over_all if restricted else certificate
        if known.kind != "exact":
            with one_blas_thread():
                own = data.to_standard(self.network_)
                known = proven(problem, own, known, time_limit)
        if restricted:
            known = replace(certificate, over_all=known)
        self._set_network(data, data.to_standard(self.network_), known)
        return self

    def to_relu(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Return a ReLU network that predicts the same on the training data.

        On samples of positive weight, that is. Each gated block is split into a
        difference of two points of its gate's cell, of least total norm (cone
        decomposition [1]_). That norm can be much larger than the block's;
        ``norm_ratio_`` of the result tells. A gated sub-network becomes two, in the
        cell of all neurons of its gate.

        Parameters
        ----------
        X, y, sample_weight : as in ``fit``
            The training data, which the estimator does not keep.

        Returns
        -------
        estimator
            A copy with ``activation="relu"`` and the attributes of a ReLU network, its
            objective and certificate: "restricted", since the gated optimum is a lower
            bound for the ReLU networks of the same patterns, and ``over_all``.
            ``norm_ratio_`` is its penalty, as a multiple of the gated one. It was not
            trained, so it has no ``status_``, ``tolerance_``, ``n_iter_`` and
            ``history_``; ``alpha_`` and ``alpha_max_`` stay those of the gated fit.

        Raises
        ------
        ValueError
            If the model is not gated, these are not the data of the last fit, or a
            gate, or a neuron of it, is zero at a sample.

        References
        ----------
        .. [1] Mishkin, Sahiner & Pilanci (2022), "Fast Convex Optimization for
           Two-Layer ReLU Networks: Equivalent Model Classes and Cone Decompositions",
           ICML, section 4.
        """
        check_is_fitted(self)
        if not self.network_.is_gated:
            raise ValueError("Only a model of activation='gated_relu' is decomposed.")
        data, problem = self._training_problem(X, y, sample_weight)
        with one_blas_thread():
            own = data.to_standard(self.network_)
            decomposed = cone_decomposition
            if isinstance(own, GatedTreeNetwork):
                decomposed = tree_decomposition
            network = decomposed(own, problem.X)
            network = network.astype(self.network_.intercept.dtype)
            over_all = searched(problem, network)
        gated = self.certificate_
        certificate = replace(gated, objective=over_all.objective, over_all=over_all)
        relu = copy(self).set_params(activation="relu")
        relu._drop_network()
        for name in _OF_THE_RUN:
            del vars(relu)[name]
        relu._set_network(data, network, certificate)
        relu.norm_ratio_ = network.penalty() / max(own.penalty(), 1e-300)
        return relu

    def _training_problem(self, X, y, sample_weight):
        """Return the CheckedData and the Problem of the last fit, given its data."""
        check_is_fitted(self)
        refuse_dask("This method", X, y)
        now = self._problem_params()
        changed = [name for name in now if now[name] != self._fitted_params[name]]
        if changed:
            raise ValueError(
                f"{', '.join(changed)} changed since the fit: set the parameters back, "
                "or fit again."
            )
        # Adaptive: a network that cones were given to may have several outputs.
        twin = clone(self).set_params(patterns="adaptive")
        data = twin._data(X, y, sample_weight)
        problem = data.problem(**self._statement()).with_alpha(self.alpha_)
        shape = problem.rows.n_inputs, problem.n_outputs
        fitted = self.n_features_in_ + bool(self.hidden_bias), self.n_outputs_
        objective = np.nan
        if shape == fitted:
            objective = problem.objective(data.to_standard(self.network_))
        rounding = 1e-9 * abs(problem.loss_at(problem.constant(0.0)))
        if not np.isclose(objective, self.objective_, rtol=1e-6, atol=rounding):
            raise ValueError(
                "X, y and sample_weight must be those of the last fit: on these the "
                f"network's objective is {objective:.6g}, in the fit it was "
                f"{self.objective_:.6g}."
            )
        return data, problem

    def _set_network(self, data, network, certificate):
        """Put another network, with its certificate, in the place of the fitted one."""
        vars(self).update(
            self._network_attributes(data, network),
            certificate_=certificate,
            objective_=certificate.objective,
            lower_bound_=certificate.lower_bound,
            dual_gap_=certificate.gap,
        )
