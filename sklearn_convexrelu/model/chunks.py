"""How much of a large product is made at a time, so that temporaries stay small."""

__all__ = ["ENTRIES", "chunks"]

ENTRIES = 4_000_000  # floats of a temporary: 32 MB, whatever the size of the problem


def chunks(n_items, entries):
    """Yield slices of ``n_items`` items whose ``entries`` floats each fit the cap."""
    step = max(ENTRIES // max(entries, 1), 1)
    for start in range(0, n_items, step):
        yield slice(start, start + step)
