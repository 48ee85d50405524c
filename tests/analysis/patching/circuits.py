"""A decoder of ours run edge by edge, slowly: every reader gets its own stream."""

import torch

from tests.analysis.patching.scenes import PAIR
from transformer_lab.analysis.patching.edge_graph import EdgeGraph


@torch.no_grad()
def by_hand(model, tokens, other, live=lambda name: 1.0, *, share=1.0, push=None):
    """Return the logit difference after `tokens`. An edge carries the fraction `live(name)` of what
    its writer writes, and the rest of what it wrote in a run on `other`.

    Args:
        share: where the embeddings are, from the other run's (0) to their own (1).
        push: edge -> how much more it carries of the difference between its writer's outputs
            in the two runs.
    """
    corrupted, clean = {}, {}
    _run(model, other, corrupted)
    _run(model, tokens, clean)

    def carried(name, now):
        writer = name.partition("->")[0]
        more = (push or {}).get(name, 0.0) * (clean[writer] - corrupted[writer])
        return corrupted[writer] + live(name) * (now - corrupted[writer]) + more

    embedded = corrupted["input"] + share * (clean["input"] - corrupted["input"])
    return _run(model, tokens, {}, carried, embedded)


def _run(model, tokens, written, carried=lambda name, now: now, x=None):
    if x is None:
        x = model.embed(model.embedding, tokens[None], torch.arange(len(tokens)))
    written["input"] = x

    def stream(reader, biases):
        return biases + sum(carried(f"{w}->{reader}", now) for w, now in written.items())

    place = torch.arange(len(tokens))
    after = torch.ones(len(tokens), len(tokens)).tril().bool()
    biases = torch.zeros_like(x)
    for i, block in enumerate(model.decoder.blocks):
        a, heads = block.attention, {}
        for h in range(a.n_heads):
            read = {}
            for what, project in (("q", a.query), ("k", a.key), ("v", a.value)):
                y = project(block.norm1(stream(f"a{i}.h{h}<{what}>", biases)))
                y = a._split(y, y.shape[-1] // a.d_head)
                y = y if what == "v" else model.positions.rotate(y, place)
                read[what] = y[:, h if y.shape[1] == a.n_heads else h * y.shape[1] // a.n_heads]
            scores = read["q"] @ read["k"].transpose(-1, -2) * a.d_head**-0.5
            z = scores.masked_fill(~after, float("-inf")).softmax(-1) @ read["v"]
            heads[f"a{i}.h{h}"] = z @ a.out.weight[:, h * a.d_head : (h + 1) * a.d_head].T
        written.update(heads)
        biases = biases if a.out.bias is None else biases + a.out.bias
        if block.feed_forward is not None:
            written[f"m{i}"] = block.feed_forward(block.norm3(stream(f"m{i}", biases)))
    logits = model.logits(model.decoder.norm(stream("logits", biases)))
    return float(logits[0, -1, PAIR[0]] - logits[0, -1, PAIR[1]])


def random_mask(graph: EdgeGraph, seed: int, share: float = 0.5):
    chance = torch.Generator().manual_seed(seed)
    return (torch.rand(graph.every.shape, generator=chance) < share) & graph.every
