"""From what users give to the rows and units that solvers work in."""
