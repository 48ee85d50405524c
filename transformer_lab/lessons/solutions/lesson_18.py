"""Solutions of lesson 18, Fine-tuning."""

import copy

import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear = linear
        for weight in linear.parameters():
            weight.requires_grad_(False)
        like = linear.weight
        self.A = nn.Parameter(like.new_empty(rank, linear.in_features))
        self.B = nn.Parameter(like.new_zeros(linear.out_features, rank))
        nn.init.normal_(self.A, std=linear.in_features**-0.5)
        self.scale = alpha / rank

    def forward(self, x):
        return self.linear(x) + self.scale * (x @ self.A.T) @ self.B.T

    def merge(self):
        merged = copy.deepcopy(self.linear)
        with torch.no_grad():
            merged.weight += self.scale * self.B @ self.A
        return merged


def add_lora(model, names, rank, alpha):
    for weight in model.parameters():
        weight.requires_grad_(False)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if name in names and isinstance(child, nn.Linear):
                setattr(parent, name, LoRALinear(child, rank, alpha))
    return sum(w.numel() for w in model.parameters() if w.requires_grad)


def rank_shares(before, after):
    sizes = torch.linalg.svdvals(after - before) ** 2
    return sizes.cumsum(0) / sizes.sum()
