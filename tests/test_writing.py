"""Generating text: with and without a cache, beams against exhaustive search, distributions."""

import itertools
from functools import partial

import pytest
import torch
from torch.testing import assert_close

import transformer_lab as tl
from tests.factories import small, talker
from tests.missing import package
from transformer_lab import ALiBi, Learned, Rotary, Sinusoidal
from transformer_lab.writing import sampling_distribution

VOCAB = 20


build = partial(small, noise=0.3, vocab_size=VOCAB, n_ctx=40)


def tokens(*shape, seed=0):
    return torch.randint(1, VOCAB, shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def argmax_by_hand(model, ids, n):
    """Greedy decoding with plain forward passes."""
    start = ids.shape[1]
    for _ in range(n):
        ids = torch.cat((ids, model(ids)[:, -1:].argmax(-1)), 1)
    return ids[:, start:]


@pytest.mark.parametrize(
    "options",
    [
        dict(positions=Rotary()),
        dict(positions=Learned(), norm_first=False),
        dict(positions=Sinusoidal(), activation="swiglu"),
        dict(positions=ALiBi()),
        dict(n_kv_heads=2, qk_norm=True),
    ],
    ids=["rotary", "learned", "sinusoidal", "alibi", "grouped"],
)
def test_the_cache_changes_no_token(options):
    model, text = build(**options), tokens(2, 5)
    with_cache = tl.generate(model, text, max_new_tokens=20)
    assert torch.equal(with_cache, tl.generate(model, text, max_new_tokens=20, cached=False))
    assert torch.equal(with_cache, argmax_by_hand(model, text, 20))
    assert len(with_cache.unique()) > 2, "a constant text would prove nothing"


@pytest.mark.parametrize("positions", [Rotary(), Learned(), ALiBi()], ids=lambda p: p.name)
def test_left_padded_texts_are_continued_as_if_alone(positions):
    model, text = build(positions=positions), tokens(1, 5)
    alone = tl.generate(model, text, max_new_tokens=12)
    padded = torch.cat((torch.zeros(1, 3, dtype=torch.long), text), 1)
    both = torch.cat((padded, tokens(1, 8, seed=1)))
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[0, :3] = False
    for cached in (True, False):
        out = tl.generate(model, both, mask=mask, max_new_tokens=12, cached=cached)
        assert torch.equal(out[:1], alone)


def test_the_cache_of_an_encoder_decoder_changes_no_token():
    model, source = build("encoder-decoder"), tokens(2, 6)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    written = tl.generate(model, source, mask=mask, bos_id=1, max_new_tokens=12)
    plain = tl.generate(model, source, mask=mask, bos_id=1, max_new_tokens=12, cached=False)
    assert torch.equal(written, plain)
    target = torch.full((2, 1), 1)
    with torch.no_grad():
        for _ in range(12):
            new = model(source, target, mask=mask)[:, -1:].argmax(-1)
            target = torch.cat((target, new), 1)
    assert torch.equal(written, target[:, 1:])


@torch.no_grad()
def best_of_all(model, prompt, *, n, eos_id, alpha):
    """The best text of up to n tokens, scored by Wu et al. 2016, equation 14."""
    best = (-float("inf"), ())
    others = [t for t in range(model.config.vocab_size) if t != eos_id]
    for length in range(1, n + 1):
        endings = [eos_id] if length < n else [eos_id, *others]
        for start in itertools.product(others, repeat=length - 1):
            for end in endings:
                text = (*start, end)
                ids = torch.cat((prompt, torch.tensor([text])), 1)
                log_p = model(ids[:, :-1]).log_softmax(-1)[0, prompt.shape[1] - 1 :]
                total = log_p[range(length), list(text)].sum().item()
                best = max(best, (total / ((5 + length) / 6) ** alpha, text))
    return best[1]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("seed", [23, 26])
def test_wide_beams_find_what_an_exhaustive_search_finds(alpha, cached, seed):
    """With these seeds the best text depends on α, and differs from that of Σ log p / length^α."""
    model, prompt = build(seed=seed, vocab_size=4, n_layers=1), torch.tensor([[1, 2]])
    expected = best_of_all(model, prompt, n=4, eos_id=0, alpha=alpha)
    found = tl.generate(
        model, prompt, max_new_tokens=4, beams=27, eos_id=0, length_penalty=alpha, cached=cached
    )
    assert tuple(found[0].tolist()) == expected


def test_more_beams_are_no_worse():
    model, prompts = build(n_layers=1), tokens(4, 3)

    @torch.no_grad()
    def score(prompt, text):
        ids = torch.cat((prompt, text))[None]
        log_p = model(ids[:, :-1]).log_softmax(-1)[0, len(prompt) - 1 :]
        return log_p[range(len(text)), text].sum().item()

    def total(**options):
        texts = tl.generate(model, prompts, max_new_tokens=6, **options)
        return sum(score(p, t) for p, t in zip(prompts, texts, strict=True))

    assert total(beams=12) >= total(beams=3) >= total() - 1e-4


def test_a_finished_text_is_filled_with_its_end():
    model, text = build(), tokens(3, 5)
    free = tl.generate(model, text, max_new_tokens=10)
    eos = int(free[0, 3])
    out = tl.generate(model, text, max_new_tokens=10, eos_id=eos)
    for row, plain in zip(out, free, strict=True):
        ends = (plain == eos).nonzero()
        n = int(ends[0]) + 1 if len(ends) else len(row)
        assert torch.equal(row[:n], plain[:n][: len(row)])
        assert (row[n:] == eos).all()


def test_the_distribution_by_hand():
    p = torch.tensor([0.5, 0.25, 0.15, 0.1])
    logits = p.log()
    assert_close(sampling_distribution(logits), p)
    assert_close(sampling_distribution(logits, top_k=2), torch.tensor([2 / 3, 1 / 3, 0, 0]))
    assert_close(sampling_distribution(logits, top_p=0.7), torch.tensor([2 / 3, 1 / 3, 0, 0]))
    assert_close(sampling_distribution(logits, top_p=0.01), torch.tensor([1.0, 0, 0, 0]))
    assert_close(sampling_distribution(logits, temperature=0.5), p**2 / (p**2).sum())
    assert_close(sampling_distribution(logits, top_k=9, top_p=1.0), p)


def test_tokens_are_drawn_from_that_distribution():
    model, text = build(), tokens(1, 5)
    with torch.no_grad():
        logits = model(text)[0, -1]
    expected = sampling_distribution(logits, temperature=1.5, top_k=5)
    drawn = tl.generate(
        model,
        text.expand(4000, 5),
        max_new_tokens=1,
        temperature=1.5,
        top_k=5,
        generator=torch.Generator().manual_seed(0),
    )
    counts = torch.bincount(drawn[:, 0], minlength=VOCAB)
    assert not counts[expected == 0].any()
    kept = expected > 0
    chi_square = ((counts - 4000 * expected)[kept] ** 2 / (4000 * expected[kept])).sum()
    assert chi_square < 18.5, "p < .001 with 4 degrees of freedom"


def test_a_seed_repeats_a_text_and_the_mode_comes_back():
    model, text = build().train(), tokens(1, 5)
    seeds = [torch.Generator().manual_seed(s) for s in (1, 1, 2)]
    one, same, other = (
        tl.generate(model, text, max_new_tokens=10, temperature=1.0, generator=g) for g in seeds
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert model.training


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("encoder", {}, ["encoder cannot generate text"]),
        ("encoder-decoder", {}, ["bos_id"]),
        ("decoder", dict(max_new_tokens=0), ["max_new_tokens must be at least 1", "got 0"]),
        (
            "decoder",
            dict(max_new_tokens=99),
            ["max_new_tokens must be at most 36", "n_ctx=40", "got 99"],
        ),
        ("decoder", dict(temperature=-1.0), ["temperature must", "got -1.0"]),
        ("decoder", dict(temperature=float("nan")), ["temperature must", "finite", "got nan"]),
        ("decoder", dict(top_k=0), ["top_k must", "got 0"]),
        ("decoder", dict(top_p=1.5), ["top_p must", "got 1.5"]),
        ("decoder", dict(beams=0), ["beams must", "got 0"]),
        ("decoder", dict(beams=2, temperature=1.0), ["beams=2", "temperature=1.0"]),
    ],
)
def test_options_out_of_range_are_named(kind, options, words):
    with pytest.raises(ValueError, match=r".+") as error:
        tl.generate(build(kind), tokens(1, 5), **{"max_new_tokens": 3, **options})
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.badinput
def test_an_empty_prompt_is_named():
    with pytest.raises(ValueError, match=r"tokens must have shape .* got \[1, 0\]"):
        tl.generate(build(), tokens(1, 0), max_new_tokens=3)


@pytest.mark.badinput
@pytest.mark.parametrize("model", ["a Llama", torch.nn.Linear(2, 2), None, tl.Transformer])
def test_only_a_model_of_ours_is_continued_by_generate(model):
    if model == "a Llama":
        package("transformers")
        model = talker().model
    with pytest.raises(ValueError, match=r"takes a Transformer .*, got (\w+); .* tl\.TextModel"):
        tl.generate(model, tokens(1, 3), max_new_tokens=2)
