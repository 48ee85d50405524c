"""The check of `residual_stream` accepts right answers, however written, and names what is wrong."""

import pytest
import torch

import transformer_lab as tl
from transformer_lab.lessons.solutions import lesson_04 as solutions


def by_blocks(x, layers, norm_first, skipped=()):
    """Each block by `block`, with parts that give 0 where they are left out."""
    rows = [x]
    for i, (attention, feed_forward, norm1, norm2) in enumerate(layers):
        if (i, "attention") in skipped:
            attention = torch.zeros_like
        if (i, "mlp") in skipped:
            feed_forward = torch.zeros_like
        rows += [solutions.block(rows[-1], attention, feed_forward, norm1, norm2, norm_first)]
    return torch.stack(rows)


def written_into(x, layers, norm_first, skipped=()):
    stream = torch.empty(len(layers) + 1, *x.shape, dtype=x.dtype)
    stream[0] = x
    for i, layer in enumerate(layers):
        stream[i + 1] = stream[i]
        for name, part, norm in zip(("attention", "mlp"), layer[:2], layer[2:], strict=True):
            now = stream[i + 1].clone()
            used = 0.0 if (i, name) in skipped else 1.0
            after = now + used * part(norm(now)) if norm_first else norm(now + used * part(now))
            stream[i + 1] = after
    return stream


def recursive(x, layers, norm_first, skipped=()):
    if not layers:
        return x[None]
    *earlier, last = layers
    before = recursive(x, earlier, norm_first, skipped)
    only = [(0, name) for i, name in skipped if i == len(earlier)]
    return torch.cat([before, by_blocks(before[-1], [last], norm_first, only)[1:]])


@pytest.mark.parametrize(
    "function", [solutions.residual_stream, by_blocks, written_into, recursive]
)
def test_right_answers_are_accepted(function, judged):
    result = judged("04/residual_stream", function)
    assert result.passed, result.diagnosis


@pytest.mark.parametrize("norm_first", [True, False])
def test_the_stream_is_that_of_a_model_under_skips(norm_first):
    config = tl.ModelConfig(
        kind="encoder",
        vocab_size=9,
        n_layers=3,
        d_model=16,
        n_heads=2,
        norm_first=norm_first,
        positions="learned",
    )
    model = tl.Transformer(config).eval()
    tokens = torch.randint(9, (1, 5))
    layers = [(b.attention, b.feed_forward, b.norm1, b.norm3) for b in model.encoder]
    skipped = [(0, "mlp"), (2, "attention")]
    with torch.no_grad(), tl.edit(model, *(tl.skip(i, part) for i, part in skipped)):
        kept = tl.trace(model, tokens, keep="all").residual("encoder")
    expected = torch.cat([kept["resid_pre"][:1], kept["resid_post"]])
    with torch.no_grad():
        found = solutions.residual_stream(kept["resid_pre"][:1], layers, norm_first, skipped)
    torch.testing.assert_close(found[:, 0], expected)


def mutant(**changed):
    """The right answer, step by step, with some of its steps replaced."""
    steps = {
        "pre": lambda norm_first: norm_first,
        "parts": lambda a, f, n, m: [("attention", a, n), ("mlp", f, m)],
        "enter": lambda x, first: x,
        "out": lambda i, name, skipped: (i, name) in skipped,
        "add": lambda x, added: x + added,
        "keep": lambda stream: torch.stack(stream),
        "start": lambda x: [x],
        **changed,
    }

    def wrong(x, layers, norm_first, skipped=()):
        first, stream, pre = x, steps["start"](x), steps["pre"](norm_first)
        for i, layer in enumerate(layers):
            x = steps["enter"](x, first)
            for name, part, norm in steps["parts"](*layer):
                added = part(norm(x) if pre else x)
                if steps["out"](i, name, skipped):
                    added = torch.zeros_like(added)
                x = steps["add"](x, added) if pre else norm(steps["add"](x, added))
            stream.append(x)
        return steps["keep"](stream)

    return wrong


MUTANTS = {
    "no start": (mutant(start=lambda x: []), "before the first block is missing"),
    "the end": (mutant(keep=lambda stream: stream[-1]), "after the last block"),
    "two at once": (
        mutant(pre=lambda first: not first, keep=lambda stream: stream[-1]),
        "Two things at once",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_answers_are_named(name, judged):
    function, said = MUTANTS[name]
    result = judged("04/residual_stream", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_the_check_never_crashes(never_crashes):
    never_crashes("04/residual_stream", solutions.residual_stream)
