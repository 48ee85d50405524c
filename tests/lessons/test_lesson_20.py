"""The checks of lesson 20 accept right answers, however written, and name mistakes."""

import pytest
import torch

import transformer_lab as tl
from tests.lessons.answers import checks_of
from transformer_lab.lessons.solutions import lesson_20 as solutions


def qk_by_einsum(asking, offering, w_q, w_k):
    product = torch.einsum("nd,dh,eh,me->nm", asking, w_q, w_k, offering)
    return product * w_q.shape[-1] ** -0.5


def qk_by_one_matrix(asking, offering, w_q, w_k):
    return asking @ (w_q @ w_k.T / w_k.shape[1] ** 0.5) @ offering.transpose(0, 1)


def ov_with_linear(read, w_v, w_o, unembed):
    return torch.nn.functional.linear(read @ (w_v @ w_o), unembed)


def ov_by_rows(read, w_v, w_o, unembed):
    return torch.stack([unembed @ (w_o.T @ (w_v.T @ row)) for row in read])


def copying_by_trace(ov):
    return ov.trace() / torch.linalg.eigvals(ov).abs().sum()


def copying_with_loops(ov):
    above = below = 0.0
    for value in torch.linalg.eig(ov.double()).eigenvalues.tolist():
        above, below = above + value.real, below + abs(value)
    return torch.tensor(above / below)


def composition_with_loops(early, late, random):
    table = torch.zeros(3, 3, dtype=early[0].dtype)
    for row, kind in enumerate("QKV"):
        score = one_share(early, late, kind)
        chance = torch.tensor([float(one_share(a, b, kind)) for a, b in random])
        table[row] = torch.tensor([score, chance.mean(), (score - chance.mean()) / chance.std()])
    return table


def one_share(early, late, kind):
    _, _, v, o = early
    q, k, w_v, w_o = late
    near, far = {"Q": (q, k.T), "K": (k, q.T), "V": (w_v, w_o)}[kind]
    size = lambda m: m.square().sum().sqrt()  # noqa: E731
    return size(v @ (o @ near) @ far) / size(v @ o) / size(near @ far)


def composition_by_traces(early, late, random):
    """‖A·B‖² = tr(AᵀA · BBᵀ), for all pairs at once."""
    pairs = [(early, late), *random]
    wrote = torch.stack([a[2] @ a[3] for a, _ in pairs])
    gram = wrote.transpose(1, 2) @ wrote
    columns = []
    for near, far in ((0, 1), (1, 0), (2, 3)):
        turned = [b[far].T if far < 2 else b[far] for _, b in pairs]
        reads = torch.stack([b[near] @ t for (_, b), t in zip(pairs, turned, strict=True)])
        inner = (gram * (reads @ reads.transpose(1, 2))).sum((1, 2))
        whole = wrote.square().sum((1, 2)) * reads.square().sum((1, 2))
        columns.append((inner / whole).sqrt())
    found, rest = (x := torch.stack(columns))[:, 0], x[:, 1:]
    mean, spread = rest.mean(1), rest.std(1)
    return torch.stack([found, mean, (found - mean) / spread]).T


def attribution_by_einsum(embedded, z, w_out, unembed):
    by_head = w_out.unflatten(-1, z.shape[1:])
    wrote = torch.einsum("lohd,lhd->lho", by_head, z).flatten(0, 1)
    parts = torch.cat([embedded.unsqueeze(0), wrote])
    return parts @ unembed * (parts.sum(0).pow(2).mean() + 1e-5).rsqrt()


def attribution_backwards(embedded, z, w_out, unembed):
    """Through the unembedding first, so no head's output vector is ever computed."""
    stream = embedded + sum(w @ layer.flatten() for w, layer in zip(w_out, z, strict=True))
    direction = unembed / torch.sqrt(torch.mean(stream * stream) + 1e-5)
    heads = (direction @ w_out).unflatten(-1, z.shape[1:]) * z
    return torch.cat([(embedded @ direction).reshape(1), heads.sum(-1).flatten()])


RIGHT = {
    "qk_circuit": (qk_by_einsum, qk_by_one_matrix),
    "ov_circuit": (ov_with_linear, ov_by_rows),
    "copying_score": (copying_by_trace, copying_with_loops),
    "composition_scores": (composition_with_loops, composition_by_traces),
    "attribute_logit": (attribution_by_einsum, attribution_backwards),
}


WRONG = {
    "ov_circuit": {"unembed @": (lambda r, v, o, u: r @ v @ o @ u, "RuntimeError")},
    "copying_score": {
        "complex": (
            lambda m: torch.linalg.eigvals(m).sum() / torch.linalg.eigvals(m).abs().sum(),
            "torch.complex64",
        )
    },
}


test_right, test_odd, test_wrong = checks_of("20", RIGHT, WRONG)


# -- against the package --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    """Attention only, RMSNorm without gains, and no positions: its circuits are its weights."""
    torch.manual_seed(0)
    config = tl.ModelConfig(
        vocab_size=20,
        n_layers=2,
        n_heads=3,
        d_model=12,
        d_head=4,
        n_ctx=16,
        positions="none",
        attention_only=True,
        norm="rms",
        norm_affine=False,
        bias=False,
        tie_head=False,
    )
    return tl.Transformer(config).eval()


def matrices(model, layer, head):
    part, at = model.decoder.blocks[layer].attention, slice(4 * head, 4 * head + 4)
    q, k, v = (m.weight.detach()[at].T for m in (part.query, part.key, part.value))
    return q, k, v, part.out.weight.detach()[:, at].T


def test_circuits_and_the_copying_score_are_those_of_the_package(model):
    table, unembed = model.embedding.weight.detach(), model.head.weight.detach()
    x = model.decoder.blocks[0].norm1(table).detach()
    q, k, v, o = matrices(model, 0, 1)
    qk = tl.circuits.qk_circuit(model, 0, 1)
    torch.testing.assert_close(solutions.qk_circuit(x, x, q, k), qk.left @ qk.right)
    ov = tl.circuits.ov_circuit(model, 0, 1)
    own = solutions.ov_circuit(x, v, o, unembed)
    torch.testing.assert_close(own, ov.left @ ov.right)
    assert float(solutions.copying_score(own)) == pytest.approx(ov.copying_score, abs=1e-4)


def test_a_copying_score_of_1_does_not_hold_for_every_token():
    ov = torch.tensor([[3.0, -4.0], [1.0, -1.0]])
    assert float(solutions.copying_score(ov)) == pytest.approx(1, abs=1e-3)
    assert ov[1, 1] < 0 < ov[1, 0]  # the second token lowers its own logit


def test_composition_is_that_of_the_package(model):
    early, late = matrices(model, 0, 2), matrices(model, 1, 0)
    generator = torch.Generator().manual_seed(1)
    draw = lambda: tuple(torch.randn(12, 4, generator=generator) for _ in range(3))  # noqa: E731
    heads = [(*draw(), torch.randn(4, 12, generator=generator)) for _ in range(600)]
    table = solutions.composition_scores(
        early, late, list(zip(heads[::2], heads[1::2], strict=True))
    )
    for row, kind in zip(table, "QKV", strict=True):
        theirs = tl.circuits.composition(model, (0, 2), (1, 0), kind, samples=300)
        assert float(row[0]) == pytest.approx(theirs.score, abs=1e-5)
        assert float(row[1]) == pytest.approx(theirs.random_mean, abs=0.02)


def test_parts_of_a_logit_are_those_of_the_package(model):
    tokens = torch.tensor([3, 7, 3, 1, 7])
    trace = tl.trace(model, tokens, keep="all")
    z = torch.stack([trace.activation("z", i)[0, :, -1] for i in range(2)])
    w_out = torch.stack([b.attention.out.weight.detach() for b in model.decoder.blocks])
    embedded = trace.activation("resid_pre", 0)[0, -1]
    parts = solutions.attribute_logit(embedded, z, w_out, model.head.weight.detach()[7])
    found = tl.circuits.logit_attribution(trace, 7)
    names = [s.name for s in found.sources]
    theirs = {n: float(v) for n, v in zip(names, found.values, strict=True)}
    assert float(parts.sum()) == pytest.approx(float(trace.logits[0, -1, 7]), abs=1e-4)
    assert sorted(parts.tolist()) == pytest.approx(
        sorted(v for n, v in theirs.items() if n != "biases"), abs=1e-5
    )


def test_a_change_of_a_tensor_inside_a_list_is_seen(judged):
    def scaled(early, late, random):
        found = solutions.composition_scores(early, late, random)
        random[1][0][2].mul_(2)
        return found

    def shortened(early, late, random):
        found = solutions.composition_scores(early, late, random)
        random.pop()
        return found

    for function, said in (
        (scaled, "changes a tensor in the list"),
        (shortened, "changes the list"),
    ):
        result = judged("20/composition_scores", function)
        assert not result.passed
        assert said in result.diagnosis, result.diagnosis
