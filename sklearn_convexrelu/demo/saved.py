"""Trained pipelines in files of skops, which run no code when they are loaded."""

import json
import zipfile

from sklearn.utils.validation import check_is_fitted

from sklearn_convexrelu.demo.cells import DataError, shown
from sklearn_convexrelu.demo.columns import ReadColumns
from sklearn_convexrelu.demo.outputs import check_output, suffix_among, write_output

__all__ = ["SUFFIX", "check_model", "load_model", "save_model"]

SUFFIX = "skops"
# What a model of ours holds beside what skops trusts by itself: our own types, the
# folds that chose alpha, and the dtypes of scikit-learn's encoders.
TRUSTED = ("sklearn_convexrelu.", "sklearn.model_selection._split.", "numpy.dtype")


def check_model(path):
    """Refuse a model that could not be written after training."""
    _skops()
    suffix_among(path, "a model", (SUFFIX,))
    check_output(path, "model", "--save", _is_ours)


def save_model(pipeline, path):
    """Write a fitted pipeline.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, of :func:`sklearn_convexrelu.demo.comparison.make_model`.
    path : str
        Where to.

    Returns
    -------
    str
        What was done, and how to predict with it.
    """
    content = _skops().dumps(pipeline)
    done = write_output(path, "model", "--save", _is_ours, content)
    return (
        f"{done}; python -m sklearn_convexrelu {shown(path)} --predict new.csv "
        "--output predictions.csv predicts with it"
    )


def load_model(path):
    """Read a pipeline that :func:`save_model` wrote; refuse all others.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    Pipeline
        Fitted.
    """
    skops, name = _skops(), shown(path)
    try:
        unknown = skops.get_untrusted_types(file=path)
        strange = [kind for kind in unknown if not kind.startswith(TRUSTED)]
        if strange:
            raise DataError(f"{name} holds {shown(strange[0])}, which is not trusted")
        model = skops.load(path, trusted=unknown)
        check_is_fitted(model)
    except OSError as error:
        raise DataError(f"cannot read {name}: {error.strerror}") from error
    except (zipfile.BadZipFile, json.JSONDecodeError, KeyError) as error:
        raise DataError(f"{name} is no model of skops: {error}") from error
    read = getattr(model, "steps", [("", None)])[0][1]
    if not isinstance(read, ReadColumns):
        raise DataError(f"{name} is no model that --save wrote")
    return model


def _is_ours(content):
    """Tell whether bytes are a model of this command; skops packs without squeezing."""
    return content.startswith(b"PK") and ReadColumns.__module__.encode() in content


def _skops():
    try:
        import skops.io
    except ImportError as error:
        raise DataError(
            "models are saved by skops, which is missing: pip install "
            "'sklearn-convexrelu[skops]'"
        ) from error
    return skops.io
