"""From convex blocks to networks: weight recovery, cone decomposition, pruning."""
