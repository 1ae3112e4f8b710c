"""Semidefinite bounds: proven lower bounds on the optimum at any rank."""
