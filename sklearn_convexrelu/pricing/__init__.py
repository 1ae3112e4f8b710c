"""Pricing: find the neurons that would lower the objective most."""
