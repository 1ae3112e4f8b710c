"""Activation patterns: the search for the neurons that matter."""
