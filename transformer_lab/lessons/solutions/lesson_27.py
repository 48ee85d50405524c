"""Solutions of lesson 27, What an MLP knows."""

import torch
from torch import nn


class SparseAutoencoder(nn.Module):
    def __init__(self, d_model, n_features, k):
        super().__init__()
        self.k = k
        self.encoder = nn.Linear(d_model, n_features)
        self.decoder = nn.Linear(n_features, d_model)

    def encode(self, x):
        activations = self.encoder(x - self.decoder.bias).relu()
        top, active = activations.topk(self.k, dim=-1)
        return torch.zeros_like(activations).scatter(-1, active, top)

    def decode(self, features):
        return self.decoder(features)

    def loss(self, x):
        missed = self.decode(self.encode(x)) - x
        return missed.pow(2).sum() / (x - x.mean(dim=0)).pow(2).sum()
