"""The checks of lesson 10 accept right answers, however written, and name mistakes."""

import torch
import torch.nn.functional as F

import transformer_lab as tl
from tests.lessons.answers import checks_of
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


def with_labels(predict, tokens, size, stride):
    """Tokens scored before get the label −100, as in Hugging Face's recipe."""
    total, before = 0.0, 0
    for begin in range(0, len(tokens), stride):
        end = min(begin + size, len(tokens))
        labels = tokens[begin:end].clone()
        labels[: max(before - begin, 1)] = -100
        logits = predict(tokens[begin:end])
        total += F.cross_entropy(logits[:-1], labels[1:], ignore_index=-100, reduction="sum")
        before = end
        if end >= len(tokens):
            break
    return total / (len(tokens) - 1)


def token_by_token(predict, tokens, size, stride):
    """Score each token in the first window that holds it."""
    losses = []
    for t in range(1, len(tokens)):
        begin = max(0, -(-(t + 1 - size) // stride) * stride)
        logits = predict(tokens[begin : begin + size])
        losses.append(-logits[t - begin - 1].log_softmax(-1)[tokens[t]])
    return sum(losses) / len(losses)


def with_a_while(predict, tokens, size, stride):
    begin, found = 0, predict(tokens[:size])[:-1]
    while begin + size < len(tokens):
        begin += stride
        window = tokens[begin : begin + size]
        have = len(found) + 1 - begin
        found = torch.cat((found, predict(window)[have - 1 : -1]))
    return F.cross_entropy(found, tokens[1:])


RIGHT = {
    "next_token_loss": (loss_by_hand, loss_with_loops, lambda x, t: loss_by_hand(x.bfloat16(), t)),
    "causal_mask": (mask_with_tril, mask_with_rows),
    "influence": (influence_in_one_batch, influence_with_loops),
    "windowed_loss": (with_labels, token_by_token, with_a_while),
}
WRONG = {
    "causal_mask": {"not a mask": (lambda n, m: torch.ones(n, m).tril(m - n), "torch.bool")},
    "influence": {"numbers": (lambda *a: influence_with_loops(*a).float(), "torch.bool")},
    "windowed_loss": {
        "all at once": (lambda p, t, size, stride: F.cross_entropy(p(t)[:-1], t[1:]), "ValueError")
    },
}


test_right, test_odd, test_wrong = checks_of("10", RIGHT, WRONG)


def test_one_window_gives_the_loss_of_the_package():
    torch.manual_seed(0)
    config = tl.ModelConfig(vocab_size=11, n_layers=1, n_heads=2, d_model=8, n_ctx=16)
    model = tl.Transformer(config).eval()
    tokens = torch.randint(11, (12,))

    @torch.no_grad()
    def predict(window):
        return model(window[None])[0]

    whole = solutions.next_token_loss(predict(tokens)[None], tokens[None])
    torch.testing.assert_close(solutions.windowed_loss(predict, tokens, 16, 3), whole)
