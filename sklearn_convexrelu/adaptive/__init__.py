"""Adaptive training: generate the neurons that matter, prove when none is left."""
