"""Marks the slow tests, which ``make test-fast`` leaves out; shared fixtures."""

from dataclasses import replace
from pathlib import Path

import pytest

from sklearn_convexrelu._posthoc import PosthocMixin
from sklearn_convexrelu.pricing import subnetworks

SLOW = frozenset((Path(__file__).parent / "slow.txt").read_text().split())


def pytest_collection_modifyitems(items):
    """Mark what ``slow.txt`` names, whatever its parameters.

    A list, not a decorator at each test: it is measured (``pytest --durations=0``; the
    cases of a test together took more than two seconds) and measured again.
    """
    for item in items:
        if f"{item.path.name}::{item.originalname}" in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def brief(monkeypatch):
    """Search briefly for sub-networks, for tests that do not ask how good one is."""
    for effort, size in subnetworks._EFFORTS.items():
        size = replace(size, n_hops=min(size.n_hops, 1), n_raw=0, n_polished=0)
        monkeypatch.setitem(subnetworks._EFFORTS, effort, size)


@pytest.fixture
def short_proofs(monkeypatch):
    """Prove for half a second at most, where pages and examples take several."""
    certify = PosthocMixin.certify

    def shortly(model, *args, time_limit=10.0):
        return certify(model, *args, time_limit=min(time_limit, 0.5))

    monkeypatch.setattr(PosthocMixin, "certify", shortly)
