"""Benchmarks: each module answers one question and is run on its own (README.md)."""

import os

# One thread a fit. The numerical libraries read these when they are first imported,
# so they are set here, before any module of the package can import one.
os.environ |= dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
