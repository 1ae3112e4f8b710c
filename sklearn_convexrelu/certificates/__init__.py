"""Lower bounds on the optimum: what a network is judged by."""
