"""Solutions of lesson 00b, PyTorch and tl in an hour."""

import torch
import torch.nn.functional as F
from torch import nn

import transformer_lab as tl


def pairwise_distances(x, y):
    difference = x[:, None, :] - y[None, :, :]
    return difference.square().sum(dim=-1).sqrt()


class TwoLayers(nn.Module):
    def __init__(self, n_in, n_hidden, n_out):
        super().__init__()
        self.first = nn.Linear(n_in, n_hidden)
        self.second = nn.Linear(n_hidden, n_out)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def fit(model, x, y, steps, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def head_effect(reader, text, token, layer, head):
    before = reader.trace(text).logits[0, -1].softmax(dim=-1)[token]
    with tl.edit(reader, tl.ablate(layer, head)):
        after = reader.trace(text).logits[0, -1].softmax(dim=-1)[token]
    return after - before
