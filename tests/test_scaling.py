"""docs/scaling.md: its tables follow from the formulas and benchmarks/results.json."""

import pytest

from benchmarks.report import load
from benchmarks.scaling import (
    BEGIN,
    END,
    NVLINK,
    PAGE,
    Link,
    all_reduce,
    link_here,
    muon_share,
    step_on,
    tables,
)


def rows():
    return load(PAGE.parent.parent / "benchmarks")["scaling"]


def test_the_page_is_what_was_measured():
    inside = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert inside.strip() == tables(rows())


def test_a_ring_sends_each_byte_twice_and_one_process_nothing():
    link = Link(1e-3, 1e9)
    assert all_reduce(1, 1e9, link) == 0
    assert all_reduce(2, 1e9, link) == pytest.approx(2e-3 + 1)
    assert all_reduce(1000, 1e9, Link(0, 1e9)) == pytest.approx(2, rel=0.01)


def test_a_sum_costs_what_does_not_hide_behind_the_backward_pass():
    assert step_on(8, 1.0, 1e6, NVLINK) == 1.0
    slow = Link(0, 1e9)
    assert step_on(2, 1.0, 2e9, slow) == pytest.approx(1 + 2 - 2 / 3)
    assert step_on(2, 1.0, 2e9, slow, overlap=0) == pytest.approx(3)


def test_the_link_is_fitted_to_both_ends_of_what_was_measured():
    link, found = link_here(rows()), {r.name: r.value for r in rows()}
    assert 1e3 * all_reduce(2, 4, link) == pytest.approx(
        found["sum over two processes, 4 bytes"], rel=1e-3
    )
    largest = "sum over two processes, 16,777,216 bytes"
    assert 1e3 * all_reduce(2, 2**24, link) == pytest.approx(found[largest], rel=1e-3)


def test_muons_share_is_that_of_its_products(monkeypatch):
    """Against the counted FLOPs of orthogonalizing one layer's matrices."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from transformer_lab.optim import orthogonalize

    d = 32
    with FlopCounterMode(display=False) as counter:
        for _ in range(4):
            orthogonalize(torch.randn(d, d))
        orthogonalize(torch.randn(d, 4 * d))
        orthogonalize(torch.randn(4 * d, d))
    tokens = 1000
    counted = counter.get_total_flops() / (72 * d * d * tokens)
    assert muon_share(d, tokens, gram=True) == pytest.approx(counted, rel=0.01)
