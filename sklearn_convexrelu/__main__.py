"""The command line: ``python -m sklearn_convexrelu [data.csv --target NAME]``.

Trains a network on a table of yours, CSV or parquet, and says what it took each column
as; prints scores and certificate, saves the model, predicts another file, draws how the
duality gap closed, and last trains scikit-learn's MLP in the same pipeline. Without a
file it does so on the diabetes data, then for classifiers on the breast cancer and
digits data.

Its pieces serve from Python too: ``make_model(estimator, read_table("data.csv", "y"))``
is the pipeline that it trains.
"""

import os
import sys

from sklearn_convexrelu.demo.cells import DataError
from sklearn_convexrelu.demo.comparison import make_model
from sklearn_convexrelu.demo.run import main
from sklearn_convexrelu.demo.table import read_table

__all__ = ["DataError", "main", "make_model", "read_table"]

if __name__ == "__main__":
    # Names of columns may have letters that the terminal has not.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("\ninterrupted; what is printed as written is there", file=sys.stderr)
        sys.exit(130)
