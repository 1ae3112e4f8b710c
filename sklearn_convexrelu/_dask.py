"""Dask collections: taken in for a fit, predicted for lazily, scored block by block.

What ``fit`` is given is checked where it is, part by part, as scikit-learn checks
arrays. Blocks, or partitions of a dataframe, are put together to about one part for
each thread of the workers; the rest of training knows them as ``data/cluster.py`` does.
"""

from copy import copy
from functools import partial

import numpy as np
from sklearn.utils import check_array, check_X_y
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_convexrelu.data.cluster import Cluster, Constant, Spread, Traffic
from sklearn_convexrelu.data.tables import with_a_hint

__all__ = [
    "facts_of_labels",
    "is_dask",
    "lazily",
    "refuse_dask",
    "scored",
    "taken_in",
]

_FLOATS = [np.float64, np.float32]
_SHOWN = 100  # distinct labels of a part that tell what kind of targets they are


def is_dask(X):
    """Tell whether a table is a dask collection."""
    return hasattr(X, "__dask_graph__")


def refuse_dask(what, *collections):
    """Refuse dask collections, where rows are needed here."""
    if any(is_dask(each) for each in collections):
        raise ValueError(
            f"{what} takes no dask collections: its rows are needed in one process. "
            "Give it arrays, such as X.compute(), or a sample of the rows."
        )


def taken_in(estimator, X, y, sample_weight, **targets):
    """Return what ``fit`` is given, on the workers, without rows of zero weight.

    Parameters
    ----------
    estimator : estimator
        On which the number and names of features are noted.
    X : dask array or dataframe of shape (n_samples, n_features)
        The table.
    y : dask array, series or dataframe
        Targets, in as many blocks.
    sample_weight : dask array or series, or None
        Weights.
    **targets : dict
        What scikit-learn's ``check_X_y`` takes for targets.

    Returns
    -------
    X : Spread of shape (n_samples, n_features)
        The table, single or double precision.
    y : Spread
        The targets, as they were given.
    weights : Spread of shape (n_samples,)
        The weights.

    Raises
    ------
    ValueError
        If there is no client, some of the three are no dask collections, or values are
        not what scikit-learn takes.
    """
    client = _client()
    _refuse_others(X=X, y=y, sample_weight=sample_weight)
    stand_in = _stand_in(X)
    validate_data(estimator, stand_in, skip_check_array=True)
    dtype = _precision(stand_in)
    n_threads = sum(client.nthreads().values())
    blocks = [
        client.compute(list(each)) for each in _blocks(X, y, sample_weight) if each
    ]
    groups = np.array_split(np.arange(len(blocks[0])), min(len(blocks[0]), n_threads))
    options = {"dtype": dtype, **targets}
    parts = [
        client.submit(
            _checked_part,
            *([own[k] for k in group] for own in blocks),
            options=options,
            pure=False,
        )
        for group in groups
    ]
    facts = client.gather(client.map(_facts, parts, pure=False))
    return _spreads(client, parts, facts, sample_weight is not None)


def _spreads(client, parts, facts, has_weights):
    """Return the table, targets and weights of parts that have rows."""
    live = [k for k, fact in enumerate(facts) if fact[0]]
    if not live:
        what = "Sample weights must not all be zero."
        raise ValueError(what if has_weights else "Found array with 0 sample(s).")
    parts, facts = [parts[k] for k in live], [facts[k] for k in live]
    if len({fact[1:] for fact in facts}) > 1:
        raise ValueError("Blocks of X and y differ in their columns or types.")
    lengths, (columns, dtype, tail, kind, _) = [fact[0] for fact in facts], facts[0][1:]
    cluster = Cluster(client, tuple(lengths), Traffic())
    table = Spread(cluster, columns, dtype).fill(parts, 0)
    targets = Spread(cluster, tail, kind).fill(parts, 1)
    weights = Constant(cluster, np.float64(1.0))
    if has_weights:
        weights = Spread(cluster, (), np.float64).fill(parts, 2)
    return table, targets, weights


def _client():
    """Return the client of this process, which dask knows."""
    from distributed import get_client

    try:
        client = get_client()
    except ValueError as error:
        raise ValueError(
            "Dask collections are trained on by the workers of a cluster: make a "
            "client first, as dask.distributed.Client()."
        ) from error
    if client.asynchronous or not client.nthreads():
        raise ValueError("The dask client must be synchronous, and have workers.")
    return client


def _precision(stand_in):
    """Return the precision of a table, given a small one like it."""
    try:
        return check_array(stand_in, dtype=_FLOATS, ensure_all_finite=False).dtype
    except ValueError as error:
        raise with_a_hint(error, stand_in) from error


def _refuse_others(**given):
    """Refuse what is no dask collection beside one."""
    for name, each in given.items():
        if each is not None and not is_dask(each):
            raise ValueError(
                f"{name} must be a dask collection where X or y is one, got "
                f"{type(each).__name__}."
            )


def _stand_in(X):
    """Return a small table with the columns and precision of a collection."""
    if hasattr(X, "_meta_nonempty"):
        return X._meta_nonempty
    if getattr(X, "ndim", 0) != 2 or np.isnan(X.shape[1]):
        raise ValueError(f"Expected 2D array, got {getattr(X, 'ndim', 0)}D array.")
    if not isinstance(X._meta, np.ndarray):
        raise ValueError(
            f"Blocks of X are of {type(X._meta).__name__}; training takes blocks that "
            "are numpy arrays."
        )
    return np.ones((1, X.shape[1]), X.dtype)


def _blocks(X, y, sample_weight):
    """Return the blocks of rows of collections, in lists as long as one another."""
    chunks = getattr(X, "chunks", None)
    is_known = chunks is not None and not np.isnan(chunks[0]).any()
    lists = []
    for each in (X, y, sample_weight):
        if getattr(each, "chunks", None) is not None:
            same = is_known and not np.isnan(each.chunks[0]).any()
            if same and len(each) != len(X):
                raise ValueError(
                    "Found input variables with inconsistent numbers of samples: "
                    f"{[len(X), len(each)]}"
                )
            rows = {0: chunks[0]} if same else {}
            each = each.rechunk(rows | dict.fromkeys(range(1, each.ndim), -1))
        lists.append([] if each is None else list(np.ravel(each.to_delayed())))
    if len({len(own) for own in lists if own}) > 1:
        raise ValueError(
            "X, y and sample_weight must be in as many blocks: "
            f"{[len(own) for own in lists if own]}."
        )
    return lists


def _checked_part(X, y, weights=None, *, options):
    """Task: check blocks as scikit-learn does; return those of positive weight."""
    options = dict(options)
    X, y = _joined(X), _joined(y)
    if not len(X):
        return X, y, weights
    if weights is not None:
        # Not as scikit-learn checks them: those of a part may all be zero.
        weights = check_array(
            _joined(weights),
            ensure_2d=False,
            dtype=np.float64,
            input_name="sample_weight",
        )
        if weights.shape != (len(X),):
            raise ValueError(
                f"sample_weight.shape == {weights.shape} for {len(X)} rows."
            )
        if weights.min() < 0.0:
            raise ValueError("Negative values in data passed to `sample_weight`")
    X, y = check_X_y(X, y, **options)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if weights is None or (weights > 0.0).all():
        return X, y, weights
    live = weights > 0.0
    return X[live], y[live], weights[live]


def _joined(blocks):
    """Return blocks one below the other."""
    if len(blocks) == 1:
        return blocks[0]
    if hasattr(blocks[0], "iloc"):
        import pandas

        return pandas.concat(blocks)
    return np.concatenate(blocks)


def _facts(part):
    """Task: rows of a part, and shapes and types that all parts share."""
    X, y, weights = part
    if not len(X):
        return 0, None, None, None, None, None
    kind = y.dtype.kind if y.dtype.kind in "OUS" else y.dtype.str
    return len(X), X.shape[1:], X.dtype.str, y.shape[1:], kind, weights is None


def facts_of_labels(y, weights):
    """Return what labels on workers tell: classes and the weight that each has.

    Parameters
    ----------
    y : Spread
        Labels, or indicators of several.
    weights : Spread of shape (n_samples,)
        Weights of the samples.

    Returns
    -------
    classes : ndarray
        Distinct labels, or one number for each column of indicators.
    totals : ndarray of shape (n_classes,)
        Weight of the samples that have each.
    total : float
        Weight of all.
    multilabel : bool
        Whether these are indicators.
    """
    if y.ndim == 2:
        found = y.cluster.run(_facts_of_indicators, y, weights)
        if not all(fact[0] for fact in found):
            raise ValueError("Multilabel targets must be indicators, zeros and ones.")
        totals, total = (sum(fact[k] for fact in found) for k in (1, 2))
        return np.arange(y.shape[1]), totals, total, True
    found = y.cluster.run(_facts_of_classes, y, weights)
    check_classification_targets(np.concatenate([own[:_SHOWN] for own, _ in found]))
    classes = np.unique(np.concatenate([own for own, _ in found]))
    totals = np.zeros(len(classes))
    for own, weight in found:
        totals[np.searchsorted(classes, own)] += weight
    return classes, totals, totals.sum(), False


def _facts_of_indicators(y, weights):
    return np.isin(y, (0, 1)).all(), weights @ (y != 0), weights.sum()


def _facts_of_classes(y, weights):
    classes, codes = np.unique(y, return_inverse=True)
    if y.dtype.kind == "f" and (classes != np.floor(classes)).any():
        return classes[:_SHOWN], None  # no labels: they are refused
    return classes, np.bincount(codes, weights, len(classes))


# Predictions.


def lazily(estimator, method, X):
    """Return what a method predicts of every block, as a dask array not computed yet.

    Parameters
    ----------
    estimator : estimator
        A fitted one.
    method : str
        Name of its method.
    X : dask array or dataframe of shape (n_samples, n_features)
        Features.
    """
    import dask.array as da

    plain, dtype = _nameless(estimator, X)
    if not hasattr(X, "chunks"):
        X = X.to_dask_array()
    X = X.rechunk({1: -1})
    few = getattr(plain, method)(np.zeros((1, plain.n_features_in_), dtype))
    shape = (
        {"drop_axis": 1} if few.ndim == 1 else {"chunks": (X.chunks[0], few.shape[1])}
    )
    call = partial(_called, plain, method)
    meta = np.empty((0,) * few.ndim, few.dtype)
    return da.map_blocks(call, X, dtype=few.dtype, meta=meta, **shape)


def _nameless(estimator, X):
    """Check the columns of X; return a copy that asks blocks for no names, and a dtype.

    Blocks are arrays.
    """
    check_is_fitted(estimator)
    stand_in = _stand_in(X)
    validate_data(estimator, stand_in, skip_check_array=True, reset=False)
    dtype = _precision(stand_in)
    plain = copy(estimator)
    for name in ("feature_names_in_", "history_"):
        vars(plain).pop(name, None)
    return plain, dtype


def _called(estimator, method, X):
    """Task: call a method, on a block without rows too."""
    if len(X):
        return getattr(estimator, method)(X)
    one = np.zeros((1, estimator.n_features_in_), _FLOATS[0])
    return getattr(estimator, method)(one)[:0]


def scored(estimator, X, y, sample_weight, is_classifier):
    """Return the accuracy or R2 of predictions, from sums over the blocks.

    Parameters
    ----------
    estimator : estimator
        A fitted one.
    X, y, sample_weight : dask collections
        Features, targets and weights, in as many blocks; weights may be None.
    is_classifier : bool
        Whether to count predictions that are right; all labels of a sample have to be.
    """
    from dask import compute, delayed

    _refuse_others(X=X, y=y, sample_weight=sample_weight)
    plain, _ = _nameless(estimator, X)
    lists = _blocks(X, y, sample_weight)
    blocks = zip(*(own for own in lists if own), strict=True)
    count = delayed(_right if is_classifier else _residuals)
    plain = delayed(plain)
    sums = compute(*(count(plain, *own) for own in blocks))
    sums = [own for own in sums if own is not None]
    if is_classifier:
        right, total = np.sum(sums, axis=0)
        return float(right / total)
    return _r2(sums)


def _right(estimator, X, y, weights=None):
    """Task: weight of the samples that are predicted right, and of all."""
    X, y, weights = _plain(X, y, weights)
    if not len(X):
        return None
    right = estimator.predict(X) == y.reshape(len(y), *y.shape[1:])
    right = right.reshape(len(y), -1).all(axis=1)
    return weights @ right, weights.sum()


def _residuals(estimator, X, y, weights=None):
    """Task: weight, means, squares about them, and squared residuals, by output."""
    X, y, weights = _plain(X, y, weights)
    total = weights.sum()
    if not total > 0.0:
        return None
    y = y.astype(np.float64).reshape(len(y), -1)
    residuals = estimator.predict(X).reshape(y.shape) - y
    mean = weights @ y / total
    return total, mean, weights @ (y - mean) ** 2, weights @ residuals**2


def _plain(X, y, weights):
    y = np.asarray(y)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    weights = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    return np.asarray(X), y, weights


def _r2(sums):
    """Return the mean R2 over outputs, by scikit-learn's rules for constant ones."""
    totals, means, squares, residuals = (
        np.array(each) for each in zip(*sums, strict=True)
    )
    mean = totals @ means / totals.sum()
    about = (squares + totals[:, None] * (means - mean) ** 2).sum(axis=0)
    left = residuals.sum(axis=0)
    constant = np.where(left > 0.0, 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(about > 0.0, 1.0 - left / about, constant).mean())
