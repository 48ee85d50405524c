"""The checks of lesson 13 accept right answers, however written, and name mistakes."""

import math
import re
import string

import pytest
import torch
import torch.nn.functional as F

import transformer_lab as tl
from tests.lessons.answers import checks_of
from transformer_lab.lessons.solutions import lesson_13 as solutions


def loss_with_log_softmax(logits, spans):
    chances = logits.log_softmax(-1).gather(-1, spans[..., None])
    return -chances.mean()


def loss_with_loop(logits, spans):
    total = 0.0
    for text, span in zip(logits, spans, strict=True):
        for scores, place in zip(text, span, strict=True):
            total = total + torch.logsumexp(scores, -1) - scores[place]
    return total / spans.numel()


def loss_flat(logits, spans):
    return F.cross_entropy(logits.flatten(0, 1), spans.flatten())


def span_with_loops(logits, longest):
    found = []
    for first, last in logits.tolist():
        best, span = -math.inf, (0, 0)
        for i in range(len(first)):
            for j in range(i, min(i + longest, len(last))):
                if first[i] + last[j] > best:
                    best, span = first[i] + last[j], (i, j)
        found.append(span)
    return torch.tensor(found)


def span_with_products(logits, longest):
    first, last = logits.softmax(-1).unbind(1)
    n = logits.shape[-1]
    away = torch.arange(n)[None, :] - torch.arange(n)[:, None]
    both = first[:, :, None] * last[:, None, :] * ((away >= 0) & (away < longest))
    best = both.flatten(1).argmax(-1)
    return torch.stack((best // n, best % n), -1)


def marks_by_sorting(said, references):
    """Precision and recall by definition; the overlap from walking two sorted lists."""

    def plain(text):
        marks = str.maketrans("", "", string.punctuation)
        return re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(marks)).split()

    rows = []
    for text, known in zip(said, references, strict=True):
        mine, exact, best = plain(text), 0.0, 0.0
        for right in map(plain, known):
            left = list(right)
            common = [left.remove(w) for w in mine if w in left]
            exact = max(exact, float(mine == right))
            if common:
                p, r = len(common) / len(mine), len(common) / len(right)
                best = max(best, 2 * p * r / (p + r))
            elif not mine + right:
                best = 1.0
        rows.append([exact, best])
    return torch.tensor(rows).mean(0)


def marks_by_tables(said, references):
    def plain(text):
        words = "".join(c for c in text if c not in string.punctuation).casefold().split()
        return tuple(w for w in words if w not in {"a", "an", "the"})

    def shared(a, b):
        return sum(min(a.count(w), b.count(w)) for w in set(a))

    exact, overlap = [], []
    for text, known in zip(map(plain, said), references, strict=True):
        known = [plain(reference) for reference in known]
        exact.append(text in known)
        overlap.append(
            max((2 * shared(text, k) + (text == k == ())) / max(len(text + k), 1) for k in known)
        )
    return torch.tensor([exact, overlap], dtype=torch.float64).mean(1)


def marks(
    said,
    references,
    marks=string.punctuation,
    drop=("a", "an", "the"),
    same=lambda a, b: a == b,
    f1=lambda n, a, b: 2 * n / (a + b),
    best=max,
):
    """`exact_and_f1` with replaceable parts."""

    def plain(text):
        words = "".join(c for c in text.lower() if c not in marks).split()
        return [w for w in words if w not in drop]

    def overlap(a, b):
        return (
            f1(sum(min(a.count(w), b.count(w)) for w in set(a)), len(a), len(b))
            if a and b
            else a == b
        )

    found = torch.zeros(2)
    for text, known in zip(said, references, strict=True):
        mine, rights = plain(text), [plain(reference) for reference in known]
        found[0] += best([float(same(mine, r)) for r in rights])
        found[1] += best([float(overlap(mine, r)) for r in rights])
    return found / len(said)


def wrong_marks(**slips):
    return lambda said, references: marks(said, references, **slips)


def test_the_solutions_are_what_the_package_does():
    torch.manual_seed(0)
    encoder = tl.Transformer(tl.ModelConfig(kind="encoder", vocab_size=20, n_layers=1, d_model=32))
    reader = tl.SpanReader(encoder).eval()
    torch.nn.init.normal_(reader.head.weight)
    tokens, spans = torch.randint(20, (5, 12)), torch.tensor([[1, 3]] * 5)
    logits = reader(tokens).detach()
    for longest in (1, 4, 12):
        assert torch.equal(
            solutions.best_span(logits, longest), reader.spans(tokens, longest=longest)
        )
    assert solutions.span_loss(logits, spans).item() == pytest.approx(
        tl.evaluate(reader, [(tokens, spans)]), abs=1e-6
    )


RIGHT = {
    "span_loss": (
        loss_with_log_softmax,
        loss_with_loop,
        loss_flat,
        lambda logits, spans: loss_flat(logits.bfloat16(), spans),
    ),
    "best_span": (
        span_with_loops,
        span_with_products,
        lambda logits, longest: span_with_loops(logits.bfloat16(), longest),
    ),
    "exact_and_f1": (marks_by_sorting, marks_by_tables),
}
WRONG = {
    "exact_and_f1": {
        "full stops alone": (wrong_marks(marks="."), ""),
        "only the": (wrong_marks(drop=("the",)), ""),
        "half": (wrong_marks(f1=lambda n, a, b: n / (a + b)), ""),
        "contained": (wrong_marks(same=lambda a, b: " ".join(a) in " ".join(b)), ""),
        "last reference": (wrong_marks(best=lambda x: x[-1]), ""),
    }
}


test_right, test_odd, test_wrong = checks_of("13", RIGHT, WRONG)
