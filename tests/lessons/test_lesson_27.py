"""The check of lesson 27 accepts right answers, however written, and names mistakes."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.lessons.answers import checks_of


class Base(nn.Module):
    def __init__(self, d_model, n_features, k):
        nn.Module.__init__(self)
        self.decoder = nn.Linear(n_features, d_model)
        self.encoder = nn.Linear(d_model, n_features)
        self.kept = k


class ByThreshold(Base):
    def encode(self, x):
        f = F.relu(self.encoder(x - self.decoder.bias))
        least = f.sort(dim=1, descending=True).values[:, self.kept - 1 : self.kept]
        return torch.where(f >= least, f, torch.zeros_like(f))

    def decode(self, features):
        return features @ self.decoder.weight.T + self.decoder.bias

    def loss(self, x):
        return F.mse_loss(self.decode(self.encode(x)), x) / x.var(dim=0, unbiased=False).mean()


class InLoops(Base):
    def encode(self, x):
        rows = []
        for vector in x:
            f = self.encoder.weight @ (vector - self.decoder.bias) + self.encoder.bias
            best = set(f.topk(self.kept).indices.tolist())
            rows.append(
                torch.stack([max(v, 0 * v) if i in best else 0 * v for i, v in enumerate(f)])
            )
        return torch.stack(rows)

    def decode(self, features):
        return torch.stack([self.decoder(f) for f in features])

    def loss(self, x):
        errors = sum(((self.decode(self.encode(v[None]))[0] - v) ** 2).sum() for v in x)
        return errors / sum(((v - x.mean(0)) ** 2).sum() for v in x)


class Masked(Base):
    def encode(self, x):
        f = self.encoder(x - self.decoder.bias[None])
        ranks = f.argsort(dim=-1, descending=True).argsort(dim=-1)
        return f.clamp(min=0) * (ranks < self.kept)

    def decode(self, features):
        return F.linear(features, self.decoder.weight, self.decoder.bias)

    def loss(self, x):
        rest = x - self.decode(self.encode(x))
        return rest.norm() ** 2 / (x - x.mean(0, keepdim=True)).norm() ** 2


class Batched(Masked):
    def encode(self, x):
        f = self.encoder(x - self.decoder.bias).relu()
        return f * (f >= f.max() / 2)


class Unscaled(Masked):
    def loss(self, x):
        return (x - self.decode(self.encode(x))).square().sum()


class Nameless(nn.Module):
    def __init__(self, d_model, n_features, k):
        super().__init__()
        self.up, self.down = nn.Linear(d_model, n_features), nn.Linear(n_features, d_model)


class Silent(Masked):
    def encode(self, x):
        return None


class Tied(Masked):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.decoder = nn.Linear(sizes[1], sizes[0], bias=False)


test_right, _, test_wrong = checks_of(
    "27",
    {"SparseAutoencoder": (ByThreshold, InLoops, Masked)},
    {
        "SparseAutoencoder": {
            "threshold": (Batched, "`encode`"),
            "sum": (Unscaled, "Divide by the sum of squares"),
            "names": (Nameless, "no weights `encoder.weight`"),
            "no bias": (Tied, "no weights `decoder.bias`"),
            "no class": (lambda *_: None, "not a module"),
            "no constructor": (lambda *_: 1 / 0, "ZeroDivisionError"),
            "nothing": (Silent, "returned nothing"),
        }
    },
)
