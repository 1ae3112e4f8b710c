"""Gradient descent on parallel three-layer networks, in torch: a rival."""

import numpy as np

__all__ = ["ParallelNetwork", "descend"]


class ParallelNetwork:
    """``sum_k w3_k relu(w2_k relu(W1_k x))`` with K sub-networks of m neurons."""

    def __init__(self, torch, n_inputs, n_outputs, K, m, seed):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape, scale):
            values = torch.randn(*shape, generator=generator) * scale
            return values.requires_grad_()

        self.torch = torch
        self.W1 = normal(K, m, n_inputs, scale=n_inputs**-0.5)
        self.w2 = normal(K, m, scale=m**-0.5)
        self.w3 = normal(K, n_outputs, scale=K**-0.5)

    @property
    def weights(self):
        """Return the three layers."""
        return [self.W1, self.w2, self.w3]

    def forward(self, X):
        """Return the outputs."""
        K, m, d = self.W1.shape
        H = self.torch.relu(X @ self.W1.reshape(K * m, d).T).reshape(-1, K, m)
        return self.torch.relu((H * self.w2).sum(dim=2)) @ self.w3

    def penalty(self, kind):
        """Return the path norm, or weight decay with a first layer of length one.

        The network is homogeneous: weight decay under the constraint is the product of
        the layers' lengths at the best scaling.
        """
        lengths, outer = self.W1.norm(dim=2), self.w3.norm(dim=1)
        if kind == "path":
            return ((lengths * self.w2).norm(dim=1) * outer).sum()
        return (lengths.norm(dim=1) * self.w2.norm(dim=1) * outer).sum()

    def arrays(self):
        """Return the weights as arrays."""
        return [weights.detach().double().numpy() for weights in self.weights]


def descend(network, X, Y, loss, alpha, kind, rule, rate, n_steps, watch=None):
    """Minimise loss plus penalty by full-batch Adam, or by SGD with momentum.

    ``watch`` is called with the number of each 50th step.
    """
    torch = network.torch
    X = torch.as_tensor(np.asarray(X), dtype=torch.float32)
    if rule == "Adam":
        steps = torch.optim.Adam(network.weights, lr=rate)
    else:
        steps = torch.optim.SGD(network.weights, lr=rate, momentum=0.9)
    for i in range(n_steps):
        if watch is not None and i % 50 == 0:
            watch(i)
        steps.zero_grad()
        value = loss(network.forward(X), Y) + alpha * network.penalty(kind)
        if not torch.isfinite(value):
            break
        value.backward()
        steps.step()
    return network
