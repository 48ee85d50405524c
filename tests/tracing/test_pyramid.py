"""A pattern at every zoom against the whole pattern: nothing is lost, nothing is sampled."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import transformer_lab as tl
from tests.adapters.families import ours, text, tiny
from tests.factories import maps_only, small
from transformer_lab.attention import AttentionCall, Cut
from transformer_lab.tracing import pyramid as module
from transformer_lab.tracing.pyramid import Pyramid
from transformer_lab.tracing.weights import as_shown

NEAR = dict(rtol=1e-5, atol=2e-6)
FAMILIES = ["llama", "mistral", "gemma2", "gpt_oss", "mimo_v2_flash", "t5", "bart"]


def random_call(n_query=61, n_key=61, *, heads=4, kv_heads=2, d=8, **more):
    chance = torch.Generator().manual_seed(n_query + n_key)
    q = 3 * torch.randn(2, heads, n_query, d, generator=chance)
    k = torch.randn(2, kv_heads, n_key, d, generator=chance)
    given = dict(bias=None, causal=False, scale=d**-0.5) | more
    return AttentionCall(q, k, None, **given)


def windowed(n, size):
    place = torch.arange(n)
    return (place[:, None] - place < size)[None, None]


def padded(n, left):
    """transformers' masks: the smallest number; rows of padding attend to all keys equally."""
    bias = torch.zeros(2, 1, n, n).masked_fill(torch.ones(n, n).triu(1).bool(), -3.4e38)
    bias[1, :, :, :left] = torch.finfo(torch.float32).min
    return bias


CALLS = {
    "causal": lambda: random_call(causal=True),
    "encoder": lambda: random_call(),
    "cross": lambda: random_call(37, 61),
    "with a cache": lambda: random_call(20, 61, causal=True),
    "more queries than keys": lambda: random_call(61, 40, causal=True),
    "windows": lambda: random_call(causal=True, bias=windowed(61, 5)),
    "padding": lambda: random_call(bias=padded(61, 7)),
    "a column of a bias": lambda: random_call(bias=torch.linspace(-2, 2, 61)[None, None, None]),
    "softcap": lambda: random_call(causal=True, softcap=2.0),
    "sinks": lambda: random_call(causal=True, sinks=torch.linspace(-1, 3, 4)[None, :, None, None]),
    "a sink a row": lambda: random_call(sinks=torch.randn(2, 4, 61, 1)),
    "half precision": lambda: random_call(causal=True, scale=0.3),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 1000)  # several blocks even of short texts


def check(found, whole, nothing):
    """Check every cell of every level, both stored and computed on demand."""
    n_query, n_key = whole.shape
    assert found.shape(found.last) == (1, 1)
    for level in range(found.last + 1):
        size = 2**level
        rows, columns = found.shape(level)
        assert (rows, columns) == (-(-n_query // size), -(-n_key // size))
        most, mean = found.tile(level, (0, rows), (0, columns))
        short = F.pad(whole, (0, columns * size - n_key, 0, rows * size - n_query), value=-1.0)
        assert_close(most, F.max_pool2d(short[None], size)[0], **NEAR)
        there = short.masked_fill(short < 0, float("nan")).unflatten(1, (-1, size))
        assert_close(mean, there.unflatten(0, (-1, size)).nanmean((1, 3)), **NEAR)
        # A tile is part of its level.
        some = (rows // 3, rows // 3 + 1 + rows // 2), (columns // 4, columns)
        part, _ = found.tile(level, *some)
        assert_close(part, most[slice(*some[0]), slice(*some[1])], **NEAR)
        # The position of a cell's largest weight.
        row, column = rows // 2, columns // 3
        query, key, weight = found.peak(level, row, column)
        assert weight == pytest.approx(float(most[row, column]), rel=1e-4, abs=1e-6)
        assert float(whole[query, key]) == pytest.approx(weight, rel=1e-4, abs=1e-6)
        assert (query // size, key // size) == (row, column)
    some = [0, n_query - 1, n_query // 2]
    assert_close(found.rows(some), whole[some], **NEAR)
    assert_close(found.column(n_key // 3), whole[:, n_key // 3], **NEAR)
    assert_close(found.nothing, nothing, **NEAR)
    spans = [(0, 3), (3, 4), (10, n_query)], [(0, 1), (2, n_key // 2), (n_key // 2, n_key)]
    sums = [[whole[slice(*a), slice(*b)].sum() for b in spans[1]] for a in spans[0]]
    assert_close(found.sums(*spans), torch.tensor(sums), rtol=1e-5, atol=2e-5)
    best = whole.flatten().topk(12).values
    assert_close(torch.tensor([w for _, _, w in found.strongest(12)]), best, **NEAR)
    some = (n_query // 4, n_query - n_query // 5), (1, n_key // 2 + 3)
    best = whole[slice(*some[0]), slice(*some[1])].flatten().topk(7).values
    strongest = found.strongest(7, *some)
    assert_close(torch.tensor([w for _, _, w in strongest]), best[: len(strongest)], **NEAR)
    assert float(best[len(strongest) :].sum()) == 0
    for query, key, weight in strongest:
        assert float(whole[query, key]) == pytest.approx(weight, rel=1e-4)


@pytest.mark.parametrize("name", CALLS)
def test_every_level_is_made_of_the_whole_map(name):
    call = CALLS[name]()
    for batch, head in ((0, 0), (1, 3)):
        whole = call.pattern(batch, head)
        for side in (1000, 16):
            check(Pyramid(call, head, batch, side), whole, call.to_nothing(batch, head))


@pytest.mark.parametrize("kind", ["decoder", "encoder", "encoder-decoder"])
def test_of_our_models_with_padding_and_with_a_cut(kind):
    model = small(kind, sharpness=3.0, n_kv_heads=2)
    mask = torch.ones(1, 40, dtype=torch.bool)
    mask[:, -6:] = kind == "decoder"
    given = dict(target=torch.arange(30)[None]) if kind == "encoder-decoder" else {}
    with tl.edit(model, tl.knock_out(layer=0, head=1, query=9, key=3)):
        trace = tl.trace(model, torch.arange(40)[None], mask=mask, **given)
    for of in trace.kinds:
        for head in (1, 2):
            whole = trace.pattern(0, head, kind=of)
            found = Pyramid(trace.call(0, kind=of), head, side=8)
            check(found, whole, trace.to_nothing(0, head, kind=of))
            assert_close(trace.pyramid(0, head, kind=of).tile(0, (0, 9), (0, 9))[0], whole[:9, :9])
    if kind == "decoder":
        assert float(trace.pyramid(0, 1).rows([9])[0, 3]) == 0
    with pytest.raises(tl.tracing.trace.TraceError, match="head=4 is outside 0 … 3"):
        trace.pyramid(0, 4)


@pytest.mark.parametrize("name", FAMILIES)
def test_of_models_of_transformers(name):
    model = tiny(name)
    trace = tl.trace(model, **ours(text(model, 33, left=4)))
    for kind in trace.kinds:
        for layer in trace.attending(kind):
            whole = trace.pattern(layer, 1, kind=kind, batch=1)
            found = Pyramid(trace.call(layer, kind=kind), 1, 1, side=8)
            check(found, whole, trace.to_nothing(layer, 1, kind=kind, batch=1))


@pytest.mark.parametrize("name", ["causal", "sinks", "padding", "a cut"])
def test_hidden_keys_and_value_lengths_are_as_in_a_view(name):
    cuts = (Cut(slice(1, 3), slice(20, 30), slice(0, 9)),)
    call = random_call(causal=True, cuts=cuts) if name == "a cut" else CALLS[name]()
    norms = torch.linspace(0.2, 3, 61)
    for hidden, lengths in (([0], None), ([0, 7, 60], norms), ([], norms)):
        whole = as_shown(call.pattern(0, 2), hidden, lengths)
        found = Pyramid(call, 2, side=8, hidden=hidden, norms=lengths)
        check(found, whole, call.to_nothing(0, 2))
    everything = Pyramid(call, 2, side=8, hidden=range(61))
    assert float(everything.tile(everything.last, (0, 1), (0, 1))[0]) == 0


def test_of_maps_that_were_given():
    trace = maps_only(n=27)
    check(Pyramid(trace.call(1), 2, side=4), trace.pattern(1, 2), trace.to_nothing(1, 2))


def test_no_weight_above_a_twentieth_is_lost_at_any_zoom():
    """A few large weights among thousands of small ones."""
    for seed in range(6):
        chance = torch.Generator().manual_seed(seed)
        n = int(torch.randint(33, 300, (1,), generator=chance))
        q = torch.zeros(1, 1, n, 4)
        bias = torch.zeros(1, 1, n, n)
        places = torch.randint(0, n, (12, 2), generator=chance)
        bias[0, 0, places[:, 0], places[:, 1]] = 20 * torch.rand(12, generator=chance)
        call = AttentionCall(q, q, None, bias, causal=bool(seed % 2), scale=1.0)
        whole, found = call.pattern(0, 0), Pyramid(call, 0, side=8)
        for level in range(found.last + 1):
            most, _ = found.tile(level, *((0, count) for count in found.shape(level)))
            for query, key in (whole > 0.05).nonzero().tolist():
                cell = float(most[query >> level, key >> level])
                assert cell >= float(whole[query, key]) * (1 - 1e-5)


def test_the_whole_map_is_never_there(monkeypatch):
    """At most two blocks of weights at once; only a small part is stored."""
    monkeypatch.setattr(module, "AT_ONCE", 2**15)
    sizes = []
    real = torch.mm

    def seen(a, b, **more):
        sizes.append(a.shape[0] * b.shape[1])
        return real(a, b, **more)

    monkeypatch.setattr(torch, "mm", seen)
    n = 2048
    call = random_call(n, n, heads=1, kv_heads=1, causal=True)
    found = Pyramid(call, 0, side=64)
    assert max(sizes) <= 2**16 < n * n / 60
    # Of a causal pattern only the visible half was computed.
    assert sum(sizes) < 0.53 * n * n
    assert found.nbytes() < 0.1 * 4 * n * n
    sizes.clear()
    found.tile(0, (1000, 1064), (512, 576))
    assert sum(sizes) == 64 * 64  # a tile costs its own rows × columns


def test_what_is_not_there_is_refused():
    found = Pyramid(random_call(causal=True), 0, side=16)
    for given, message in (
        ((7, (0, 1), (0, 1)), r"level=7 is outside 0 … 6"),
        ((1, (0, 32), (0, 9)), r"rows=\(0, 32\) is outside the 31 rows of level 1"),
        ((0, (0, 2), (5, 5)), r"columns=\(5, 5\) is outside the 61 columns of level 0"),
    ):
        with pytest.raises(ValueError, match=message):
            found.tile(*given)
