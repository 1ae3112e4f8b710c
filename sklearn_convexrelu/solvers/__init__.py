"""Solvers of the convex training problem."""
