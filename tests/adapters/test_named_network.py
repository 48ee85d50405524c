"""`NamedNetwork`: a user's own module, unchanged, is traced, edited, swept and shown exactly,
or refused with the reason."""

import copy
import math
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

import transformer_lab as tl
from transformer_lab.edits.kinds import EditError
from transformer_lab.views.explorer.labels import labels_of

TEXT = torch.tensor([[3, 1, 4, 1, 5, 9, 2]])


class ByHand(nn.Module):
    def __init__(self, d=12, heads=3):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)

    def weights(self, q, k):
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        future = torch.ones(scores.shape[-2:]).triu(1).bool()
        return scores.masked_fill(future, -math.inf).softmax(-1)

    def sum(self, q, k, v):
        return self.weights(q, k) @ v

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(self.sum(q, k, v).transpose(1, 2).flatten(2))


class Fused(ByHand):
    def sum(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class BothWays(ByHand):
    def weights(self, q, k):
        return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)


class CutLate(ByHand):
    def weights(self, q, k):
        return (q @ k.mT).softmax(-1).tril()


class NoSoftmax(ByHand):
    def weights(self, q, k):
        return (q @ k.mT).tril()


class Layer(nn.Module):
    def __init__(self, attention, d=12):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(d), attention(d)
        self.up, self.down = nn.Linear(d, 20), nn.Linear(20, d)

    def forward(self, x):
        x = x + self.attention(self.norm(x))
        return x + self.down(F.gelu(self.up(x)))


class Mine(nn.Module):
    def __init__(self, attention=ByHand, d=12):
        super().__init__()
        self.embedding = nn.Embedding(11, d)
        self.layers = nn.ModuleList(Layer(attention, d) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 11)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


NAMES = dict(attention="layers.*.attention", mlp="layers.*.down", after=("norm", "head"))


def build(attention=ByHand):
    torch.manual_seed(0)
    return Mine(attention).eval()


def named(model, **changed):
    return tl.NamedNetwork(model, **(NAMES | changed))


@pytest.fixture(params=[ByHand, Fused])
def model(request):
    return build(request.param)


def test_a_trace_is_what_the_model_computes(model):
    network = named(model)
    plain = model(TEXT)
    trace = tl.trace(network, TEXT, keep="all")
    assert_close(trace.logits, plain, atol=1e-6, rtol=1e-6)
    assert (trace.n_layers(), trace.n_heads(), trace.kinds) == (3, 3, ("decoder",))
    x = model.embedding(TEXT)
    for i, layer in enumerate(model.layers):
        assert_close(trace.residual()["resid_pre"][i], x[0])
        q, k, _ = layer.attention.qkv(layer.norm(x)).unflatten(-1, (3, 3, -1)).unbind(2)
        weights = layer.attention.weights(q.transpose(1, 2), k.transpose(1, 2))
        assert_close(trace.pattern(i), weights[0])
        add = layer.attention(layer.norm(x))
        assert_close(trace.residual()["attn_out"][i], add[0])
        x = layer(x)
        assert_close(trace.residual()["resid_post"][i], x[0])
        assert_close(trace.output_weight(i), layer.attention.out.weight.T)
    lens, last = tl.circuits.logit_lens(trace), plain[0].softmax(-1)
    assert_close(lens.probabilities[-1], last.gather(-1, lens.tokens[-1]), atol=1e-5, rtol=1e-5)
    early = model.head(model.norm(model.embedding(TEXT)))[0].softmax(-1)
    assert_close(lens.probabilities[0], early.gather(-1, lens.tokens[0]), atol=1e-5, rtol=1e-5)


def test_nothing_is_left_on_the_model(model):
    network = named(model)
    before = {m: dict(m.__dict__) for m in model.modules()}
    tl.trace(network, TEXT)
    with tl.edit(network, tl.ablate(0, 1)):
        model(TEXT)
    for module, kept in before.items():
        assert set(module.__dict__) == set(kept)
        assert not module._forward_hooks and not module._forward_pre_hooks


def without_head(model, layer, head):
    """A copy whose W_O reads nothing from a head: the reference for an ablation."""
    twin = copy.deepcopy(model)
    twin.layers[layer].attention.out.weight.data[:, head * 4 : head * 4 + 4] = 0
    return twin


def test_ablations_cuts_skips_and_sweeps_are_exact(model):
    network = named(model)
    truth = without_head(model, 1, 2)(TEXT)
    with tl.edit(network, tl.ablate(1, 2)):
        assert_close(model(TEXT), truth, atol=1e-6, rtol=1e-5)
    sweep = tl.sweep_heads(network, TEXT)
    rows = [x.detach()[0, -1].log_softmax(-1)[sweep.tokens[0]] for x in (truth, model(TEXT))]
    assert abs(float(sweep.values[1, 2] - (rows[0] - rows[1]))) < 1e-5
    with tl.edit(network, tl.knock_out(layer=2, query=5, key=3)):
        cut = tl.trace(network, TEXT)
    assert float(cut.pattern(2)[:, 5, 3].abs().max()) == 0
    assert_close(cut.pattern(2)[:, 5].sum(-1), torch.ones(3))
    twin = copy.deepcopy(model)
    twin.layers[1].down.weight.data.zero_()
    twin.layers[1].down.bias.data.zero_()
    with tl.edit(network, tl.skip(1, "mlp")):
        assert_close(model(TEXT), twin(TEXT), atol=1e-6, rtol=1e-5)
    vector = torch.randn(12, generator=torch.Generator().manual_seed(1))
    handle = model.layers[2].register_forward_pre_hook(lambda m, args: (args[0] + vector,))
    steered = model(TEXT)
    handle.remove()
    with tl.edit(network, tl.steer(vector, 2, what="resid_pre")):
        assert_close(model(TEXT), steered, atol=1e-6, rtol=1e-5)
    assert_close(model(TEXT), named(model).run(tl.adapters.network.Inputs(TEXT)).logits)


def test_gradients_are_those_of_autograd(model):
    trace = tl.trace(named(model), TEXT, gradients=4)
    found = trace.gradient("resid_pre", layer=0)
    x = model.embedding(TEXT).detach().requires_grad_()
    y = x
    for layer in model.layers:
        y = layer(y)
    model.head(model.norm(y))[0, -1, 4].backward()
    assert_close(found.reshape(x.shape), x.grad, atol=1e-6, rtol=1e-5)


def test_a_model_in_training_is_left_alone_and_edits_hold_for_its_copy(model):
    network = named(model)
    model.train()
    with tl.edit(network, tl.ablate(0, 0)):
        trace = tl.trace(network, TEXT, keep="all")
    assert model.training
    assert not trace.activation("z", 0)[:, 0].any()
    model.eval()
    assert tl.trace(network, TEXT, keep="all").activation("z", 0)[:, 0].any()


def test_two_threads_see_their_own_passes(model):
    network, found = named(model), []
    texts = [TEXT[:, :n] for n in (3, 5, 7)] * 3
    threads = [
        threading.Thread(target=lambda t=t: found.append((t, tl.trace(network, t)))) for t in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(texts)
    for text, trace in found:
        assert_close(trace.logits, model(text))
        assert trace.pattern(1).shape == (3, text.shape[1], text.shape[1])


def test_it_is_shown_and_writes_on():
    network = named(build(), n_ctx=8)
    reader = tl.TextModel(network, tl.tokenizers.CharTokenizer.train("abcdef"), name="mine")
    view = tl.explore(reader, "abcab", layer=1, head=2)
    view.edits = [tl.ablate(1, 2)]
    ids = reader.encode("abcab")
    after = without_head(network.module, 1, 2)(ids[None]).detach()[0, -1].softmax(-1)
    for row in view.effect.rows:
        assert abs(row.after - float(after[row.id])) < 1e-5
    written = reader.write(ids, 3)
    text = ids.tolist()
    for token in written:
        assert token == int(network.module(torch.tensor([text]))[0, -1].argmax())
        text.append(token)
    with pytest.raises(ValueError, match=r"9 tokens.*at most 8"):
        reader.encode("abcabcabc")


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("build_it", "words"),
    [
        (
            lambda: named(build(), attention="blocks.*.attention"),
            ["matches no module", "layers.*.attention"],
        ),
        (lambda: named(Mine), ["got a class (Mine)", "forget the brackets"]),
        (lambda: named(build(BothWays)), ["attends to later tokens", "causal mask missing"]),
        (lambda: named(build(CutLate)), ["CutLate", "weights of a softmax"]),
        (lambda: named(build(NoSoftmax)), ["NoSoftmax", "softmax"]),
        (lambda: named(build(), attention="layers.*.norm"), ["LayerNorm", "softmax"]),
        (
            lambda: tl.NamedNetwork(build(), attention="layers"),
            ["layers of Mine", "attends 0 times"],
        ),
        (lambda: tl.NamedNetwork(build(), attention="norm"), ["LayerNorm", "softmax"]),
        (lambda: named(build(), after=("head",)), ["after=('head',)", "every module between"]),
        (lambda: named(build(), mlp="norm"), ["mlp matches 1 modules", "attention matches 3"]),
        (lambda: named(build(), kind="both"), ["kind must", "got 'both'"]),
        (lambda: named(LastOnly().eval()), ["got [1, 1, 11]", "[1, 4, vocab]"]),
        (lambda: named(Words().eval()), ["forward of Words must return logits", "got str"]),
        (lambda: named(Wide().eval()), ["cannot read token ids", "RuntimeError"]),
    ],
)
def test_what_does_not_fit_is_named(build_it, words):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the words are checked below)
        build_it()
    said = str(error.value)
    assert all(word in said for word in words), said
    assert "\n" not in said


class LastOnly(Mine):
    def forward(self, tokens):
        return super().forward(tokens)[:, -1:]


class Words(Mine):
    def forward(self, tokens):
        return "logits"


class Wide(Mine):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(7, 11)


@pytest.mark.badinput
def test_what_was_not_told_is_refused_with_the_name_that_is_missing():
    model = build()
    network = tl.NamedNetwork(model, attention="layers.*.attention")
    with pytest.raises(EditError, match="give mlp="), tl.edit(network, tl.skip(0, "mlp")):
        pass
    with tl.edit(network, tl.skip(0, "attention")):
        model(TEXT)
    with pytest.raises(ValueError, match="texts of the same length"):
        tl.trace(network, TEXT, mask=torch.tensor([[True] * 6 + [False]]))
    plain = model(TEXT)
    assert_close(tl.trace(network, TEXT).logits, plain)


def test_both_ways_is_shown_as_an_encoder():
    model = build(BothWays)
    trace = tl.trace(named(model, kind="encoder"), TEXT)
    assert trace.kinds == ("encoder",)
    assert float(trace.pattern(0).triu(1).max()) > 0


@pytest.mark.parametrize(
    ("mlp", "parts"),
    [("layers.*.down", ("attention", "MLP")), ("layers.*.up", ("block",)), (None, ("attention",))],
)
def test_what_its_parts_add_to_the_stream_is_shown_where_it_adds_up(model, mlp, parts):
    """If `up` is named as the MLP, which writes nothing to the stream, the block is one part."""
    trace = tl.trace(named(model, mlp=mlp), TEXT, keep="all", labels=list("abcdefg"))
    found = tl.circuits.block_share(trace)
    assert found.parts == parts
    x, first = model.embedding(TEXT)[0], model.layers[0]
    written = first.attention(first.norm(x[None]))[0]
    if parts == ("attention", "MLP"):
        middle = x + written
        fed = first.down(F.gelu(first.up(middle)))
        assert_close(found.norm[1, 0], fed.norm(dim=-1).detach(), atol=1e-5, rtol=1e-5)
        assert_close(
            found.share[1, 0],
            (fed.norm(dim=-1) / middle.norm(dim=-1)).detach(),
            atol=1e-5,
            rtol=1e-5,
        )
    assert tl.views.ResidualView(trace).sentence


class Waiting(ByHand):
    """Attention that waits for another thread in the middle of a pass."""

    within = went_on = None

    def weights(self, q, k):
        found = super().weights(q, k)
        if self.within is not None:
            self.within.set()
            assert self.went_on.wait(20)
        return found


def test_a_thread_that_is_within_when_the_last_tap_goes_leaves_nothing_behind():
    """Its pass meets the hooks of another thread's trace, which ends before the pass does."""
    model = build(Waiting)
    network, first = named(model), model.layers[0].attention
    with torch.no_grad():
        plain, told = model(TEXT), []
    first.within, first.went_on = threading.Event(), threading.Event()

    def pass_and_trace():
        told.append(model(TEXT))
        told.append(torch.overrides._get_current_function_mode_stack())
        first.within = None
        told.append(tl.trace(network, TEXT).logits)

    tap = tl.Tap()
    network.add_tap(tap)
    beside = threading.Thread(target=pass_and_trace)
    beside.start()
    assert first.within.wait(20)
    network.remove_tap(tap)
    first.went_on.set()
    beside.join()
    passed, left, traced = told
    assert left == []
    assert_close(passed, plain, atol=1e-6, rtol=1e-6)
    assert_close(traced, plain, atol=1e-6, rtol=1e-6)
    assert not [name for name in vars(model) if name.startswith("_transformer_lab")]
    assert not [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]


# -- labels of its heads ---------------------------------------------------------------------------


class Around(nn.Module):
    """A user's module around a model of ours."""

    def __init__(self, model):
        super().__init__()
        self.inner = model

    def forward(self, tokens):
        return self.inner(tokens)


def test_its_heads_get_the_labels_and_effects_that_the_same_model_gets_as_ours():
    ours = tl.circuits.induction_by_hand()
    network = tl.NamedNetwork(
        Around(ours),
        attention="inner.decoder.blocks.*.attention",
        after=("inner.decoder.norm", "inner.head"),
        n_ctx=ours.config.n_ctx,
    )
    for wanted, found in zip(tl.heads.labels(ours), tl.heads.labels(network), strict=True):
        for one, other in zip(wanted, found, strict=True):
            assert (one.name, one.score, one.second) == (other.name, other.score, other.second)
            assert (one.alone, one.group) == (other.alone, other.group)
            # Nothing says how to initialise its table, so it has no random twin.
            assert one.twin is not None and other.twin is None
    assert "random twin not measured" in tl.heads.labels(network)[0][0].sentence


def test_its_random_twin_has_its_architecture_and_other_weights(model):
    network = named(model)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(7)
    state = torch.get_rng_state()
    labels = tl.heads.labels(network)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(0 <= one.twin <= 1 for row in labels for one in row)
    twin = network.untrained()
    assert_close(model.state_dict(), before, atol=0, rtol=0)
    assert not torch.equal(twin.module.head.weight, model.head.weight)
    assert tl.trace(twin, TEXT).n_heads() == 3


def test_an_explorer_shows_its_heads_labels(model):
    tokenizer = tl.tokenizers.CharTokenizer.train("abcdef")
    reader = tl.TextModel(named(model, n_ctx=64), tokenizer, name="mine")
    found = labels_of(reader, reader.trace("abc"))
    shown = [[one["sentence"] for one in row] for row in found["decoder"]]
    assert shown == [
        [one.sentence for one in row] for row in tl.heads.labels(reader, ablation=False)
    ]
    assert len(shown) == 3 and all("random twin" in one for row in shown for one in row)
