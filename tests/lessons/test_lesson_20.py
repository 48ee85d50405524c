"""The checks of lesson 20 accept right answers, however written, and say what is wrong with the others."""

import pytest
import torch

import transformer_lab as tl
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
    """Through the unembedding first, so that no vector of a head is ever made."""
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


@pytest.mark.parametrize(
    ("name", "function"),
    [(n, f) for n, found in RIGHT.items() for f in (getattr(solutions, n), *found)],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"20/{name}", function)
    assert result.passed, result.diagnosis


def eigen(ov):
    return torch.linalg.eigvals(ov)


def table(score, early, late, random, wide=torch.std):
    found = torch.stack([score(early, late, kind) for kind in "QKV"])
    chance = torch.stack([torch.stack([score(a, b, kind) for kind in "QKV"]) for a, b in random])
    mean = chance.mean(0)
    return torch.stack((found, mean, (found - mean) / wide(chance, 0)), 1)


def unnormed(early, late, kind):
    q, k, v, o = late
    return (early[2] @ early[3] @ {"Q": q @ k.T, "K": k @ q.T, "V": v @ o}[kind]).norm()


def one_way(early, late, kind):
    return one_share(early, late, {"Q": "K", "K": "Q", "V": "V"}[kind])


def late_first(early, late, kind):
    q, k, v, o = late
    reads, wrote = {"Q": q @ k.T, "K": k @ q.T, "V": v @ o}[kind], early[2] @ early[3]
    return (reads @ wrote).norm() / reads.norm() / wrote.norm()


def written(e, z, w):
    return torch.stack([e, *(torch.stack([w[i][:, h * z.shape[2] : (h + 1) * z.shape[2]] @ z[i, h]
                             for i in range(len(z)) for h in range(z.shape[1])]))])  # fmt: skip


def rms(x):
    return (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()


MUTANTS = {
    "qk: no scale": ("qk_circuit", lambda a, b, q, k: (a @ q) @ (b @ k).T, "by √d_head"),
    "qk: √d_model": (
        "qk_circuit", lambda a, b, q, k: (a @ q) @ (b @ k).T / len(q) ** 0.5, "divided by √d_model",
    ),
    "qk: turned, no scale": (
        "qk_circuit", lambda a, b, q, k: (b @ k) @ (a @ q).T, "Two things: rows are queries",
    ),
    "ov: turned": ("ov_circuit", lambda r, v, o, u: u @ (r @ v @ o).T, "is transposed"),
    "ov: not unembedded": ("ov_circuit", lambda r, v, o, u: r @ v @ o, "last step is missing"),
    "ov: unembed @": ("ov_circuit", lambda r, v, o, u: r @ v @ o @ u, "RuntimeError"),
    "ov: turned and scaled": (
        "ov_circuit", lambda r, v, o, u: u @ (r @ v @ o).T / v.shape[1] ** 0.5, "Two things",
    ),
    "copy: singular": ("copying_score", lambda m: torch.linalg.svdvals(m)[0] * 0 + 1, "1 for every"),
    "copy: diagonal": (
        "copying_score", lambda m: m.trace() / m.diagonal().abs().sum(), "the diagonal instead",
    ),
    "copy: complex": (
        "copying_score", lambda m: eigen(m).sum() / eigen(m).abs().sum(), "torch.complex64",
    ),
    "comp: Q and K": ("composition_scores", lambda *x: table(one_way, *x), "Q and K are exchanged"),
    "comp: late first": (
        "composition_scores", lambda *x: table(late_first, *x), "The early head writes first",
    ),
    "comp: Q and K, no norms": (
        "composition_scores",
        lambda *x: table(lambda a, b, kind: unnormed(a, b, kind), *x)[[1, 0, 2]],
        "Two things: the rows of Q and K",
    ),
    "logit: no norm": ("attribute_logit", lambda e, z, w, u: written(e, z, w) @ u, "final norm"),
    "logit: each": (
        "attribute_logit",
        lambda e, z, w, u: (p := written(e, z, w)) / rms(p) @ u,
        "every part by its own size",
    ),
    "logit: no norm, no embedding": (
        "attribute_logit", lambda e, z, w, u: written(e, z, w)[1:] @ u, "Two things: the final norm",
    ),
    "logit: each, no embedding": (
        "attribute_logit",
        lambda e, z, w, u: ((p := written(e, z, w)) / rms(p) @ u)[1:],
        "Two things: divide all parts by one number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_answers_are_named(mutant, judged):
    name, function, said = MUTANTS[mutant]
    result = judged(f"20/{name}", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


@pytest.mark.parametrize("name", RIGHT)
def test_checks_never_crash(name, never_crashes):
    never_crashes(f"20/{name}", getattr(solutions, name))


# -- against the package --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    """Attention alone, RMSNorm without gains, and no positions: its circuits are its weights."""
    torch.manual_seed(0)
    config = tl.ModelConfig(
        vocab_size=20, n_layers=2, n_heads=3, d_model=12, d_head=4, n_ctx=16, positions="none",
        attention_only=True, norm="rms", norm_affine=False, bias=False, tie_head=False,
    )  # fmt: skip
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
