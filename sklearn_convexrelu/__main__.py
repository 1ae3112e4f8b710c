"""The demo: ``python -m sklearn_convexrelu [data.csv --target NAME]``.

Trains ConvexReLURegressor and scikit-learn's MLPRegressor in the same pipeline, on the
diabetes data or on your own CSV file, prints scores and certificate side by side, and
draws how the duality gap closed. Without a file it then does the same for the
classifiers on the breast cancer and digits data.
"""

import os
import sys

from sklearn_convexrelu.demo.run import main

if __name__ == "__main__":
    # Names of columns may have letters that the terminal has not.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
