"""Induction at lags that never occur in training: possible with two attention layers, not with one.

Bars: accuracy ≥ 0.995 with two layers; induction in layer 1 ≥ 0.9 (directly, or along the two-hop path
if another circuit does it); previous token in layer 0 ≥ 0.5. With one layer, accuracy ≤ 0.29. A tenth of
the edges, chosen by EAP-IG, keeps ≥ 0.9 of the probability of the right answer. This circuit contains the
three edges of the known construction: into the values of the previous-token head, from that head to the
keys of the induction head, and from the induction head to the logits.
"""

import torch

import transformer_lab as tl

from .report import Clock, at_least, at_most
from .training import MODERN, config_for, seeds, trained


def made(data, seed, n_layers=2):
    config = config_for(
        data, "decoder", n_layers=n_layers, attention_only=True, n_ctx=65, positions="rotary"
    )
    return trained(
        lambda: tl.Transformer(config), data.batches(64, seed=seed), seed=seed, steps=600, **MODERN
    )


def run(options):
    data = tl.datasets.induction()
    held_out = data.epoch(250)
    for seed in seeds(options):
        for n_layers in (2, 1):
            model, clock = made(data, seed, n_layers)
            common = dict(seconds=clock.cpu, seed=seed)
            accuracy = tl.accuracy(model, held_out)
            if n_layers == 1:
                yield at_most("induction with one layer, accuracy", accuracy, 0.29, **common)
                continue
            yield at_least("induction, accuracy at new lags", accuracy, 0.995, **common)
            raw, hops, previous = scores(model, data, held_out[0])
            yield at_least(
                "induction, layer 1 attends to the token after the earlier occurrence",
                max(raw, hops),
                0.9,
                note=f"raw {raw:.3f}, two-hop {hops:.3f}",
                **common,
            )
            yield at_least(
                "induction, layer 0 attends to the previous token", previous, 0.5, **common
            )
            yield from circuit(model, data, seed)


def scores(model, data, batch):
    """Mean weight of the best head, three times: from layer 1 to the token after the earlier
    occurrence; the same through the two-hop path A1·A0 (which reaches the occurrence itself when
    layer 0 steps back by one); and from layer 0 to the previous token."""
    truth = data.truth(batch)
    queries = truth.any(-1)
    trace = tl.trace(model, batch.tokens, keep="maps")
    maps = [
        torch.stack([trace.pattern(layer, batch=b) for b in range(len(batch))]) for layer in (0, 1)
    ]
    on = lambda m, where: (m * where).sum(-1)[queries].mean().item()  # noqa: E731
    n_heads = maps[0].shape[1]
    raw = max(on(maps[1][:, h], truth) for h in range(n_heads))
    earlier = torch.roll(
        truth, -1, -1
    )  # the occurrence, one position before the token that follows it
    hops = max(
        on(maps[1][:, i] @ maps[0][:, j], earlier) for i in range(n_heads) for j in range(n_heads)
    )
    previous = max(maps[0][:, h].diagonal(-1, 1, 2).mean().item() for h in range(n_heads))
    return raw, hops, previous


def circuit(model, data, seed, texts=16, again=8):
    """The circuit for texts that repeat at a lag never trained on; the corrupted texts have another
    symbol before the answer."""
    lag = data.held_out[0].lag
    symbols = torch.tensor(sorted({token for example in data.held_out for token in example.tokens}))
    chance = torch.Generator().manual_seed(seed)
    drawn = torch.stack(
        [symbols[torch.randperm(len(symbols), generator=chance)[: lag + 1]] for _ in range(texts)]
    )
    clean = torch.cat((drawn[:, :lag], drawn[:, :again]), 1)
    corrupted = clean.clone()
    corrupted[:, again - 1] = drawn[:, lag]
    answers = drawn[:, again]

    def right(logits):
        return logits[:, -1].softmax(-1)[torch.arange(texts), answers].mean()

    with Clock() as clock:
        scores = tl.edge_scores(model, clean, corrupted, metric=right)
        found = scores.circuit(scores.graph.n_edges // 10)
    trace = tl.trace(model, clean, keep="maps")
    maps = [
        torch.stack([trace.pattern(layer, batch=b) for b in range(texts)]).mean(0)
        for layer in (0, 1)
    ]
    back, looks = int(maps[0][:, again, again - 1].argmax()), maps[1][:, -1, again]
    ways = [  # one path for each induction head: they are redundant
        [f"input->a0.h{back}<v>", f"a0.h{back}->a1.h{head}<k>", f"a1.h{head}->logits"]
        for head in (looks >= 0.5).nonzero()[:, 0].tolist()
    ]
    named = max(ways, key=lambda way: sum(name in found.edges for name in way))
    common = dict(seconds=clock.cpu, seed=seed)
    edges = f"{len(found.edges)} of {found.n_edges} edges"
    random = sum(found.random_faithfulness) / len(found.controls)
    yield at_least(
        "induction, what EAP-IG's circuit keeps",
        found.faithfulness,
        0.9,
        note=f"{edges}; control, as many random edges: {random:.2f}",
        **common,
    )
    yield at_least(
        "induction, edges of the known construction in that circuit, of three",
        sum(name in found.edges for name in named),
        3,
        note=", ".join(named),
        **common,
    )
