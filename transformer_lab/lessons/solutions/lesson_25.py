"""Solutions of lesson 25, Learning in context."""

import torch


def function_vectors(z, tasks, n_tasks):
    last = z[:, :, -1]
    return torch.stack([last[tasks == task].mean(dim=0) for task in range(n_tasks)])
