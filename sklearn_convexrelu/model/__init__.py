"""What is trained: losses, units, networks, the problem and its solution."""
