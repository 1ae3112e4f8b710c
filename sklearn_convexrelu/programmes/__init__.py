"""Convex programmes over given patterns: their solvers, and networks from blocks."""
