"""Principal components against the singular value decomposition, and against chance."""

import pytest
import torch

from transformer_lab.analysis.circuits import principal_components, random_cloud


def cloud(n, d, seed=0, offset=5.0):
    chance = torch.Generator().manual_seed(seed)
    stretched = torch.randn(n, d, generator=chance) * torch.linspace(3, 0.5, d)
    return stretched + offset


@pytest.mark.parametrize(("n", "d"), [(40, 8), (8, 40), (12, 12), (4, 100), (300, 3)])
def test_components_are_those_of_the_singular_value_decomposition(n, d):
    x = cloud(n, d)
    found = principal_components(x)
    centred = x.double() - x.double().mean(0)
    u, s, v = torch.linalg.svd(centred, full_matrices=False)
    k = min(3, n - 1)
    # Directions are unique up to their sign.
    torch.testing.assert_close(found.coordinates[:, :k].abs(), (u * s)[:, :k].abs())
    torch.testing.assert_close(found.directions[:k].abs(), v[:k].abs())
    torch.testing.assert_close(found.shares[:k], (s**2 / (s**2).sum())[:k])
    torch.testing.assert_close(found.distances, centred.norm(dim=-1))
    torch.testing.assert_close(found.coordinates, centred @ found.directions.T)


def test_the_sign_is_fixed_whatever_the_processor_found():
    x = cloud(30, 6)
    for directions in (principal_components(x).directions, principal_components(-x).directions):
        largest = directions.gather(-1, directions.abs().argmax(-1, keepdim=True))
        assert (largest > 0).all()
    # Entries that are equal up to rounding: the first decides the sign.
    line = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]) * torch.arange(1.0, 3)[:, None]
    for slip in (1e-9, -1e-9):
        first = principal_components(line.double() + torch.tensor([0, slip]) * line).directions[0]
        assert first[0] > 0


def test_what_is_kept_of_a_vector_sums_to_the_shares():
    x = cloud(50, 9)
    found = principal_components(x)
    weighted = (found.kept * found.distances**2).sum() / (found.distances**2).sum()
    torch.testing.assert_close(weighted, found.shares.sum())
    assert principal_components(x, 9).kept.min() > 1 - 1e-9


@pytest.mark.parametrize("x", [torch.ones(1, 5), torch.ones(7, 5), torch.zeros(2, 1)])
def test_a_cloud_without_spread_lies_in_its_middle(x):
    found = principal_components(x)
    assert not found.coordinates.any() and not found.shares.any() and (found.kept == 1).all()


def test_two_points_have_one_direction():
    found = principal_components(cloud(2, 10))
    assert found.shares[0] == pytest.approx(1)
    assert not found.shares[1:].any() and not found.coordinates[:, 1:].any()


def test_a_random_cloud_has_the_same_lengths_and_nothing_else():
    x = cloud(300, 20)
    drawn = random_cloud(x)
    lengths = (x.double() - x.double().mean(0)).norm(dim=-1)
    torch.testing.assert_close(drawn.norm(dim=-1), lengths)
    torch.testing.assert_close(drawn, random_cloud(x))
    assert not torch.equal(drawn, random_cloud(x, seed=1))
    # A low-dimensional cloud is explained better than chance; a random one is not.
    assert principal_components(x).shares.sum() > 1.3 * principal_components(drawn).shares.sum()
    again = principal_components(random_cloud(drawn, seed=2)).shares.sum()
    assert again == pytest.approx(float(principal_components(drawn).shares.sum()), rel=0.2)


@pytest.mark.parametrize(
    ("x", "k", "said"),
    [
        (torch.ones(3), 3, r"vectors must have shape \[vector, d_model\], got \[3\]"),
        (torch.ones(0, 3), 3, r"vectors must have shape .* got \[0, 3\]"),
        (torch.tensor([[1.0], [float("nan")]]), 3, r"finite numbers only; vectors\[1\]"),
        (torch.ones(3, 3), 0, "k must be at least 1, got 0"),
    ],
)
def test_what_is_no_cloud_is_refused(x, k, said):
    with pytest.raises(ValueError, match=said):
        principal_components(x, k)
