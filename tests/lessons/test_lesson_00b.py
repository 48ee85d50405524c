"""The checks of lesson 00b accept right answers, however written, and name mistakes."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

import transformer_lab as tl
from tests.lessons.answers import checks_of


def by_products(x, y):
    squares = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    return squares.clamp(min=0) ** 0.5


def point_by_point(x, y):
    return torch.stack([torch.stack([(a - b).norm() for b in y]) for a in x])


class Sequenced(nn.Module):
    def __init__(self, n_in, n_hidden, n_out):
        super().__init__()
        self.first, self.second = nn.Linear(n_in, n_hidden), nn.Linear(n_hidden, n_out)

    def forward(self, x):
        return nn.Sequential(self.first, nn.ReLU(), self.second)(x)


class Functional(nn.Module):
    def __init__(self, n_in, n_hidden, n_out):
        nn.Module.__init__(self)
        self.add_module("second", nn.Linear(n_hidden, n_out))
        self.add_module("first", nn.Linear(n_in, n_hidden))

    def forward(self, x):
        return F.linear(F.relu(self.first(x)), self.second.weight, self.second.bias)


class ByHand(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
        self.first, self.second = (nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x):
        hidden = x @ self.first.weight.T + self.first.bias
        return self.second(hidden.clamp(min=0))


class InAList(Functional):
    def __init__(self, *sizes):
        nn.Module.__init__(self)
        self.layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]


def fit_by_hand(model, x, y, steps, lr):
    losses = []
    for _ in range(steps):
        model.zero_grad()
        loss = -model(x).log_softmax(-1)[torch.arange(len(y)), y].mean()
        losses.append(loss.item())
        loss.backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= lr * weight.grad
    return torch.tensor(losses, dtype=x.dtype)


def fit_with_grad(model, x, y, steps, lr):
    losses, weights = torch.zeros(steps, dtype=x.dtype), list(model.parameters())
    for step in range(steps):
        losses[step] = loss = nn.CrossEntropyLoss()(model(x), y)
        for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.data.add_(slope, alpha=-lr)
    return losses


def fit_cleared_afterwards(model, x, y, steps, lr):
    optimizer, losses = torch.optim.SGD(list(model.parameters()), lr), []
    while len(losses) < steps:
        losses += [F.cross_entropy(model(x), y)]
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    return torch.stack(losses)


def effect_by_predict(reader, text, token, layer, head):
    def chance():
        return reader.trace(text).logits.softmax(-1)[0, -1, token].item()

    before = chance()
    with tl.edit(reader, *[tl.ablate(layer=layer, head=head)]):
        return torch.tensor(chance() - before)


def effect_on_the_model(reader, text, token, layer, head):
    ids = reader.encode(text)[None]
    with torch.no_grad():
        off = tl.edit(reader.model, tl.ablate(layer, head))
        with off:
            changed = reader.model(ids)[0, -1].softmax(0)
        return (changed - reader.model(ids)[0, -1].softmax(0))[token]


def effect_from_all(reader, text, token, layer, head):
    edits = tl.ablate(layer, head)
    usual = torch.softmax(reader.trace(text).logits[0], -1)[-1]
    with tl.edit(reader, edits):
        without = torch.softmax(reader.trace(text).logits[0], -1)[-1]
    return without[token] - usual[token]


class Lacking(nn.Module):
    def __init__(self, n_in, n_hidden, n_out):
        self.first = nn.Linear(n_in, n_hidden)


RIGHT = {
    "pairwise_distances": (torch.cdist, by_products, point_by_point),
    "TwoLayers": (Sequenced, Functional, ByHand),
    "fit": (fit_by_hand, fit_with_grad, fit_cleared_afterwards),
    "head_effect": (effect_by_predict, effect_on_the_model, effect_from_all),
}
WRONG = {
    "TwoLayers": {
        "layers in a list": (InAList, "nn.ModuleList"),
        "no super().__init__()": (Lacking, "__init__() call"),
    }
}


test_right, test_odd, test_wrong = checks_of("00b", RIGHT, WRONG)
