"""Principal components: a cloud of vectors in the few directions in which it is widest."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...arguments import shown

FLAT = 1e-12  # a direction with less than this fraction of the largest variance is rounding
EVEN = 1e-6  # entries whose sizes differ by less, relatively, count as equal


@dataclass(frozen=True, eq=False)
class Components:
    """The k directions of largest variance, found exactly, in fp64.

    coordinates: of the vectors, from their mean, fp64 [vector, k]; directions: orthonormal, [k, d],
    rows of 0 if the cloud has fewer; shares: fractions of the whole variance, [k]; mean [d];
    distances: of each vector from the mean, in all d dimensions, [vector].
    """

    coordinates: Tensor = field(repr=False)
    directions: Tensor = field(repr=False)
    shares: Tensor
    mean: Tensor = field(repr=False)
    distances: Tensor = field(repr=False)

    @property
    def kept(self) -> Tensor:
        """The fraction of each vector's squared distance from the mean that the k directions hold,
        [vector], 0 to 1; 1 for the mean itself.
        """
        whole = self.distances.pow(2)
        part = self.coordinates.pow(2).sum(-1)
        return torch.where(whole > 0, part / whole.clamp(min=1e-300), 1.0).clamp(max=1.0)


def principal_components(vectors: Tensor, k: int = 3) -> Components:
    """Return the k directions in which vectors [vector, d] vary most, from their mean.

    The largest entry of each direction is above 0 (the first of equal ones), so that every
    processor gives the same picture. Directions of equal variance are any that span the same plane.

    Raises:
        ValueError: if the vectors are not a matrix of finite numbers, or k is below 1.

    Source: Pearson 1901; the smaller of the Gram and the covariance matrix is decomposed.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if vectors.dim() != 2 or not len(vectors):
        raise ValueError(f"vectors must have shape [vector, d_model], got {list(vectors.shape)}")
    x = vectors.detach().cpu().double()
    if not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).any(-1).nonzero()[0])
        raise ValueError(f"vectors must hold finite numbers only; vectors[{bad}] does not")
    mean = x.mean(0)
    x = x - mean
    n, d = x.shape
    found = torch.linalg.eigh(x @ x.T if n <= d else x.T @ x)
    most = min(k, len(found.eigenvalues))
    sizes = found.eigenvalues.flip(0)[:most].clamp(min=0)
    vectors_ = found.eigenvectors.flip(1)[:, :most]
    there = sizes > FLAT * sizes[:1].clamp(min=1e-300)
    directions = torch.zeros(k, d, dtype=torch.float64)
    rows = (x.T @ vectors_ / sizes.clamp(min=1e-300).sqrt()).T if n <= d else vectors_.T
    directions[:most] = torch.where(there[:, None], rows * _signs(rows)[:, None], 0.0)
    total = x.pow(2).sum()
    shares = torch.zeros(k, dtype=torch.float64)
    if total > 0:
        shares[:most] = torch.where(there, sizes / total, 0.0)
    return Components(x @ directions.T, directions, shares, mean, x.norm(dim=-1))


def random_cloud(vectors: Tensor, *, seed: int = 0) -> Tensor:
    """Return as many vectors [vector, d] in random directions, each as long as its counterpart's
    distance from the mean: the control, whose principal components are due to chance and lengths
    alone.

    Raises:
        ValueError: if the seed is not a whole number of at least 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {shown(seed)}")
    x = vectors.detach().cpu().double()
    chance = torch.Generator().manual_seed(seed)
    drawn = torch.randn(x.shape, generator=chance, dtype=torch.float64)
    return drawn / drawn.norm(dim=-1, keepdim=True) * (x - x.mean(0)).norm(dim=-1, keepdim=True)


def _signs(rows: Tensor) -> Tensor:
    """The signs that make the largest entry of each row positive, [row]."""
    sizes = rows.abs()
    largest = sizes >= sizes.amax(-1, keepdim=True) * (1 - EVEN)
    first = largest.double().argmax(-1)  # the first of those that are True
    at = rows.gather(-1, first[:, None])[:, 0]
    return torch.where(at < 0, -1.0, 1.0).to(rows.dtype)
