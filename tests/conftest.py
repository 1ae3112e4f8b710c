"""Marks the slow tests, which ``make test-fast`` leaves out."""

from pathlib import Path

import pytest

SLOW = frozenset((Path(__file__).parent / "slow.txt").read_text().split())


def pytest_collection_modifyitems(items):
    """Mark what ``slow.txt`` names, whatever its parameters.

    A list, not a decorator at each test: it is measured (``pytest --durations=0``; the
    cases of a test together took more than two seconds) and measured again.
    """
    for item in items:
        if f"{item.path.name}::{item.originalname}" in SLOW:
            item.add_marker(pytest.mark.slow)
