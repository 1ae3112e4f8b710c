"""The demo: a convex network and scikit-learn's MLP side by side, on any CSV."""
