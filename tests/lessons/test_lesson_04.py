"""The checks of lesson 04 accept right answers, however written, and name mistakes."""

import pytest
import torch
import torch.nn.functional as F

import transformer_lab as tl
from tests.lessons.answers import checks_of
from transformer_lab.lessons.solutions import lesson_04 as solutions


def norm_with_var(x, gain, bias, eps=1e-5):
    spread = torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + eps)
    return (x - x.mean(-1, keepdim=True)) / spread * gain + bias


def norm_from_torch(x, gain, bias, eps=1e-5):
    return F.layer_norm(x, (x.shape[-1],), gain, bias, eps)


def norm_of_squares(x, gain, bias):
    mean = x.mean(-1)[..., None]
    variance = (x - mean).pow(2).sum(-1, keepdim=True) / x.shape[-1]
    return gain * (x - mean) * torch.rsqrt(variance + 1e-5) + bias


def block_with_loop(x, attention, feed_forward, norm1, norm2, norm_first):
    for part, norm in ((attention, norm1), (feed_forward, norm2)):
        x = x + part(norm(x)) if norm_first else norm(x + part(x))
    return x


def block_named(x, attention, feed_forward, norm1, norm2, norm_first):
    after = x.clone()
    if norm_first is True:
        after += attention(norm1(x))
        out = after + feed_forward(norm2(after))
    else:
        after = norm1(after + attention(x))
        out = norm2(feed_forward(after) + after)
    return out


MEAN = lambda x: x.mean(-1, keepdim=True)  # noqa: E731


def by_blocks(x, layers, norm_first, skipped=()):
    """Each block by `block`; parts that are left out return 0."""
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


RIGHT = {
    "layer_norm": (norm_with_var, norm_from_torch, norm_of_squares),
    "block": (block_with_loop, block_named),
    "residual_stream": (by_blocks, written_into, recursive),
}
WRONG = {
    "layer_norm": {
        "in place": (
            lambda x, g, b: (
                x.sub_(MEAN(x)).div_((x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()) * g + b
            ),
            "changes the tensor",
        )
    },
    "block": {
        "always post": (lambda *a: block_with_loop(*a[:5], False), "With `norm_first=True` you")
    },
}


test_right, test_odd, test_wrong = checks_of("04", RIGHT, WRONG)
