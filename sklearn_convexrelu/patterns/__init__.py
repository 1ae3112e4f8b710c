"""Activation patterns: sampled, listed, counted; the geometry that searches go by."""
