"""Questions about stories, answered in writing: one fact ≥ 0.98, two facts ≥ 0.90, ≤ 3 min of training.

A decoder reads a story and six questions, each followed by its answer, so that one story teaches six
times. The test asks one question per story, right after the story. With two facts, half of the
questions in training need only one sentence, and the test asks only those that need two. The attention
of the token that predicts the answer is compared with the supporting sentences, head by head: how often
is the key that a head attends to most a word of that sentence?
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

import transformer_lab as tl
from transformer_lab.optim import Modern

from .report import at_least, at_most
from .training import config_for, seeds, trained

# Names must stay distinct while they are learned. With embeddings of std 0.02, the first steps move all
# names the same way, and for hundreds of steps no head can distinguish them. So the table is scaled by
# √d_model, and the head shares it, as in the paper. Then one layer writes its answer ("Nora") in the
# form in which the next layer reads names, which questions of two facts need.
# ALiBi has eight heads, so that its steepest slope, ½ a token, separates a sentence from the one before
# it: a sentence's place belongs to the person named last. The model only has to attend and copy, so it
# has no feed-forward layers.
FORM = dict(
    n_heads=8,
    d_head=16,
    positions="alibi",
    attention_only=True,
    embedding_norm=False,
    logit_softcap=None,
    n_ctx=128,
    tie_head=True,
    scale_embedding=True,
)
RECIPES = {1: dict(bar=0.98, n_layers=2, steps=600), 2: dict(bar=0.90, n_layers=3, steps=1800)}


def made(data, seed, facts):
    recipe = RECIPES[facts]
    config = config_for(data, "decoder", n_layers=recipe["n_layers"], **FORM)
    return trained(
        lambda: tl.Transformer(config),
        data.batches(32, kind="decoder", seed=seed),
        seed=seed,
        steps=recipe["steps"],
        optimizer=Modern(lr=0.01),
    )


def run(options):
    for facts, recipe in RECIPES.items():
        data = tl.datasets.stories(facts=facts, size=4000, held_out=400)
        name = f"stories with {facts} fact{'s' * (facts > 1)}"
        tests = held_out(data, facts)
        for seed in seeds(options):
            model, clock = made(data, seed, facts)
            common: dict[str, Any] = dict(seconds=clock.cpu, seed=seed)
            exact = tl.exact_match(model, tests)
            yield at_least(f"{name}, exact", exact, recipe["bar"], **common)
            yield at_most(f"{name}, CPU time of training", clock.cpu, 180, unit="s", **common)
            for what, hits in looks(model, data, tests).items():
                best = int(hits.argmax())
                layer, head = divmod(best, hits.shape[1])
                yield at_least(
                    f"{name}, answers that attend to {what}",
                    float(hits.flatten()[best]),
                    None,
                    note=f"layer {layer} head {head}",
                    **common,
                )


def held_out(data: tl.datasets.QuestionData, facts: int) -> list:
    """One question per held-out story, among those that need this many sentences."""
    asked = []
    for i, story in enumerate(data.held_out):
        fit = [j for j, q in enumerate(story.questions) if len(q.evidence) == facts]
        asked.append(story.ask(fit[i % len(fit)]))
    return [data.collate(asked[i : i + 100], kind="decoder") for i in range(0, len(asked), 100)]


def looks(model, data: tl.datasets.QuestionData, tests: list) -> dict[str, torch.Tensor]:
    """For each kind of supporting sentence, how often a head attends most to a word of it when the
    answer is predicted: [layer, head]."""
    hits: dict[str, list[torch.Tensor]] = {}
    for batch in tests:
        trace = tl.trace(model, batch.tokens, mask=batch.mask, keep="maps")
        for i, story in enumerate(batch.examples):
            layout, (question,) = data.layout(story), story.questions
            query = len(layout.story) + 1 + len(layout.questions[0])
            maps = [trace.pattern(layer, batch=i)[:, query] for layer in range(trace.n_layers())]
            most = torch.stack(maps).argmax(-1)
            for what, sentence in supporting(question):
                words = layout.sentences[sentence]
                hits.setdefault(what, []).append((most >= words.start) & (most < words.stop))
    return {what: torch.stack(each).float().mean(0) for what, each in hits.items()}


def supporting(question) -> Iterator[tuple[str, int]]:
    """The sentences that a question needs, each with a description."""
    for sentence in question.evidence:
        if len(question.evidence) == 1:
            yield "the supporting sentence", sentence
        elif sentence == question.sentence:
            yield "the sentence that says where the holder is", sentence
        else:
            yield "the sentence that says who has the thing", sentence
