"""The checks of lesson 10 accept right answers, however written, and name what is wrong."""

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


def influence_in_one_batch(predict, tokens, vocab_size):
    n = len(tokens)
    texts = (tokens.repeat(n, 1) + torch.eye(n, dtype=torch.long)) % vocab_size
    after = torch.stack([predict(text) for text in texts])
    return ((after - predict(tokens)).abs() > 1e-6).any(-1).T


def influence_with_loops(predict, tokens, vocab_size):
    before, table = predict(tokens), []
    for i in range(len(tokens)):
        row = []
        for j in range(len(tokens)):
            other = tokens.clone()
            other[j] = 0 if tokens[j] else vocab_size - 1
            row.append(bool(((predict(other)[i] - before[i]).abs() > 1e-6).any()))
        table.append(row)
    return torch.tensor(table)


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
        ("influence", solutions.influence),
        ("influence", influence_in_one_batch),
        ("influence", influence_with_loops),
    ],
)
def test_right_answers_are_accepted(name, function, judged):
    result = judged(f"10/{name}", function)
    assert result.passed, result.diagnosis


def ce(logits, answers):
    return F.cross_entropy(logits.flatten(0, 1), answers.flatten())


def moved(predict, tokens, vocab_size, size=lambda d: d.abs().amax(-1), copies=True, to=1):
    """A wrong `influence` in one way or another."""
    before, changed = predict(tokens), tokens.clone()
    table = torch.zeros(len(tokens), len(tokens), dtype=torch.bool)
    for j in range(len(tokens)):
        changed = tokens.clone() if copies else changed
        changed[j : j + to] = (tokens[j : j + to] + 1) % vocab_size
        table[:, j] = size(predict(changed) - before) > 1e-6
    return table


MUTANTS = {
    "no shift": ("next_token_loss", ce, "at that position"),
    "wrong way": ("next_token_loss", lambda x, t: ce(x[:, 1:], t[:, :-1]), "wrong way"),
    "sign": ("next_token_loss", lambda x, t: -loss_by_hand(x, t), "sign"),
    "top left": ("causal_mask", lambda n, m: torch.ones(n, m).tril().bool(), "*last* tokens"),
    "inverted": ("causal_mask", lambda n, m: ~mask_with_tril(n, m), "inverted"),
    "not a mask": ("causal_mask", lambda n, m: torch.ones(n, m).tril(m - n), "torch.bool"),
    "by columns": ("influence", lambda *a: moved(*a).T, "swapped rows and columns"),
    "never restored": ("influence", lambda *a: moved(*a, copies=False), "stays changed"),
    "two at once": ("influence", lambda *a: ~moved(*a, copies=False), ""),
    "numbers": ("influence", lambda *a: moved(*a).float(), "torch.bool"),
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
    never_crashes("10/influence", solutions.influence, torch.bool)
