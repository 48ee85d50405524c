"""The checks of lesson 10 accept right answers, however written, and name what is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F

from transformer_lab.lessons.solutions import lesson_10 as solutions


def loss_by_hand(logits, tokens):
    log_p = logits - logits.logsumexp(-1, keepdim=True)
    return -log_p[:, :-1].gather(-1, tokens[:, 1:].unsqueeze(-1)).mean()


def loss_with_loops(logits, tokens):
    losses = []
    for text, answers in zip(logits, tokens, strict=True):
        for place in range(len(answers) - 1):
            losses.append(-text[place].log_softmax(-1)[answers[place + 1]])
    return sum(losses) / len(losses)


def mask_with_tril(n_query, n_key):
    return torch.ones(n_query, n_key).tril(n_key - n_query).bool()


def mask_with_rows(n_query, n_key):
    return torch.ones(n_key, n_key, dtype=torch.bool).tril()[n_key - n_query :]


def top_p_with_threshold(logits, p):
    probabilities = logits.softmax(-1)
    ordered = probabilities.sort(-1, descending=True).values
    n = (ordered.cumsum(-1) < p).sum(-1, keepdim=True).clamp(max=logits.shape[-1] - 1)
    least = ordered.gather(-1, n)
    kept = probabilities * (probabilities >= least)
    return kept / kept.sum(-1, keepdim=True)


def top_p_with_loops(logits, p):
    rows = logits.reshape(-1, logits.shape[-1])
    out = torch.zeros_like(rows)
    for row, result in zip(rows.softmax(-1), out, strict=True):
        total = 0.0
        for token in row.argsort(descending=True).tolist():
            result[token] = row[token]
            total += float(row[token])
            if total >= p:
                break
        result /= result.sum()
    return out.reshape(logits.shape)


def top_p_with_minus_infinity(logits, p):
    ordered, places = logits.sort(-1, descending=True)
    total = ordered.softmax(-1).cumsum(-1)
    cut = torch.cat((torch.zeros_like(total[..., :1]), total[..., :-1]), -1) >= p
    masked = ordered.masked_fill(cut, -math.inf)
    return torch.empty_like(logits).scatter_(-1, places, masked).softmax(-1)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("next_token_loss", solutions.next_token_loss),
        ("next_token_loss", loss_by_hand),
        ("next_token_loss", loss_with_loops),
        ("next_token_loss", lambda x, t: loss_by_hand(x.bfloat16(), t)),
        ("causal_mask", solutions.causal_mask),
        ("causal_mask", mask_with_tril),
        ("causal_mask", mask_with_rows),
        ("top_p", solutions.top_p),
        ("top_p", top_p_with_threshold),
        ("top_p", top_p_with_loops),
        ("top_p", top_p_with_minus_infinity),
    ],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"10/{name}", function)
    assert result.passed, result.diagnosis


def ce(logits, answers):
    return F.cross_entropy(logits.flatten(0, 1), answers.flatten())


def sorted_kept(logits, p):
    ordered, places = logits.softmax(-1).sort(-1, descending=True)
    kept = ordered * (ordered.cumsum(-1) - ordered < p)
    return kept, places


def too_few(logits, p):
    ordered, places = logits.softmax(-1).sort(-1, descending=True)
    kept = torch.zeros_like(ordered).scatter(-1, places, ordered * (ordered.cumsum(-1) <= p))
    return kept / kept.sum(-1, keepdim=True)


MUTANTS = {
    "no shift": ("next_token_loss", ce, "at that place"),
    "wrong way": ("next_token_loss", lambda x, t: ce(x[:, 1:], t[:, :-1]), "wrong way"),
    "rolled": ("next_token_loss", lambda x, t: ce(x, torch.roll(t, -1, 1)), "leave the last"),
    "softmax twice": (
        "next_token_loss", lambda x, t: ce(x.softmax(-1)[:, :-1], t[:, 1:]), "once more",
    ),
    "no log": (
        "next_token_loss",
        lambda x, t: x.softmax(-1)[:, :-1].gather(-1, t[:, 1:, None]).mean(),
        "minus its logarithm",
    ),
    "bits": ("next_token_loss", lambda x, t: loss_by_hand(x, t) / math.log(2), "in bits"),
    "sign": ("next_token_loss", lambda x, t: -loss_by_hand(x, t), "sign"),
    "top left": ("causal_mask", lambda n, m: torch.ones(n, m).tril().bool(), "*last* tokens"),
    "inverted": ("causal_mask", lambda n, m: ~mask_with_tril(n, m), "inverted"),
    "no diagonal": ("causal_mask", lambda n, m: torch.ones(n, m).tril(m - n - 1).bool(), "itself"),
    "ahead": ("causal_mask", lambda n, m: torch.ones(n, m).tril(m - n + 1).bool(), "one token of"),
    "square": ("causal_mask", lambda n, m: torch.ones(m, m).tril().bool(), "as many rows as keys"),
    "all": ("causal_mask", lambda n, m: torch.ones(n, m).bool(), "Nothing is hidden"),
    "not a mask": ("causal_mask", lambda n, m: torch.ones(n, m).tril(m - n), "torch.bool"),
    "too few": ("top_p", too_few, "*passes*"),
    "no renormalising": (
        "top_p",
        lambda x, p: torch.zeros_like(x).scatter(-1, *reversed(sorted_kept(x, p))),
        "do not sum to 1",
    ),
    "left sorted": (
        "top_p",
        lambda x, p: sorted_kept(x, p)[0] / sorted_kept(x, p)[0].sum(-1, keepdim=True),
        "come out sorted",
    ),
    "each above p": (
        "top_p",
        lambda x, p: (lambda q: q * (q >= p) / (q * (q >= p)).sum(-1, keepdim=True))(x.softmax(-1)),
        "*each*",
    ),
    "softmax": ("top_p", lambda x, p: x.softmax(-1), "no token was cut"),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_answers_are_named(mutant, judged):
    name, function, said = MUTANTS[mutant]
    result = judged(f"10/{name}", function)
    assert not result.passed
    assert said in result.diagnosis, result.diagnosis


def test_checks_never_crash(never_crashes):
    never_crashes("10/next_token_loss", solutions.next_token_loss)
    never_crashes("10/causal_mask", solutions.causal_mask, torch.bool)
    never_crashes("10/top_p", solutions.top_p)
