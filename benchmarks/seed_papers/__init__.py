"""The experiments of the papers on three-layer and path-regularised networks."""
