"""Controlled inputs: token ids on which a head can only use the pattern that is being tested.

Random tokens carry no meaning, so on `repeated` a head can attend to a token only because of its
position or because it occurred before. Any model can be probed: ours, Hugging Face's, or a
`TextModel`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..adapters.lookup import network_of
from ..adapters.wrappers import unwrapped
from ..tracing.running import trace
from ..tracing.trace import Trace

LAG, SECOND_LAG = 24, 37
SLACK = 12  # random tokens around the repeat, so that it does not always start at one position


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens that probes of a model are drawn from: ids [n], the special tokens that its
    tokenizer puts around a text, and the longest text (None: no limit).
    """

    ids: Tensor
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    n_ctx: int | None = None


@dataclass(frozen=True, eq=False)
class Probe:
    """Texts of one length, and what is known about them.

    tokens: int64 [batch, position].
    plain: bool [batch, position], False at special tokens.
    repeated: bool [batch, position], True at a token whose *next* one is predictable, because the
        same pair occurred before.
    lag: how far back it occurred; None if nothing repeats.
    about: what the texts are, in words.
    target: for an encoder-decoder, what its decoder reads: int64 [batch, position].
    """

    tokens: Tensor
    plain: Tensor
    repeated: Tensor
    lag: int | None
    about: str
    target: Tensor | None = None

    def trace(self, model: Any, *, keep: str | None = "maps") -> Trace:
        """The model's trace of these texts; with a `TextModel` tokens are shown as text."""
        network, tokenizer = unwrapped(model), getattr(model, "tokenizer", None)
        show = lambda ids, words: (  # noqa: E731
            None if words is None or ids is None else [words.tokens(row) for row in ids.tolist()]
        )
        written = getattr(model, "target_tokenizer", tokenizer)
        return trace(
            network,
            self.tokens,
            self.target,
            keep=keep,
            labels=show(self.tokens, tokenizer),
            target_labels=show(self.target, written),
        )


@dataclass(frozen=True, eq=False)
class MinimalPair:
    """Two texts that differ at one position, the cause of any change in a pattern.

    clean, changed: int64 [batch, position].
    place: int64 [batch], where they differ.
    query: int64 [batch], the token whose attention is compared.
    """

    clean: Tensor
    changed: Tensor
    place: Tensor
    query: Tensor


def vocabulary(model: Any, side: str = "source") -> Vocabulary:
    """Return the tokens that a model's probes are drawn from: all but the special ones, as far as
    those are known (with a `TextModel`, all of them).

    Args:
        model: our `Transformer`, a Hugging Face model, a `Network` of your own or a `TextModel`.
        side: "source" or, for an encoder-decoder, "target".

    Raises:
        ValueError: for a model that reads no tokens.
    """
    network, tokenizer = network_of(model), getattr(model, "tokenizer", None)
    size, written = network.vocabulary
    prefix, suffix = (), ()
    if size is None and tokenizer is not None:
        size = tokenizer.vocab_size
    if size is None:
        raise ValueError(
            f"probes are texts, and {type(unwrapped(model)).__name__} has no vocabulary of "
            "tokens; for an image model, tl.heads.patch_distance(trace) measures how far its "
            "heads attend"
        )
    if side == "target":
        size = written or size
        tokenizer = getattr(model, "target_tokenizer", None)
    special = _special_of(getattr(network, "config", None))
    if tokenizer is not None:
        size = min(size, tokenizer.vocab_size)
        special = _special_of(tokenizer)
        if side == "source":
            prefix, suffix = _frame(tokenizer, special)
    ids = torch.tensor([i for i in range(size) if i not in special])
    return Vocabulary(ids, prefix, suffix, network.n_ctx)


def repeated(
    model: Any, *, lag: int | None = None, n_texts: int = 4, slack: int | None = None, seed: int = 0
) -> Probe:
    """Make texts of random tokens that repeat: [x y z …][x y z …], with random tokens before and
    after.

    A token's earlier occurrence is `lag` tokens back. The repeat starts at a random position,
    because one at a fixed position can be solved by counting.

    Args:
        model: anything `vocabulary` takes, or a `Vocabulary`.
        lag: length of what is repeated; by default 24, or less if the context is short.
        n_texts: texts in the batch.
        slack: random tokens around the repeat; by default at most 12.
        seed: of the tokens and the positions.

    Raises:
        ValueError: if the context is too short for the lag, or there are under 2 tokens.
    """
    own = model if isinstance(model, Vocabulary) else vocabulary(model)
    if len(own.ids) < 2:
        raise ValueError(f"a probe needs at least 2 tokens to draw from, got {len(own.ids)}")
    first, _, room = _fitting(own)
    slack = room if slack is None else slack
    lag = first if lag is None else lag
    length = 2 * lag + slack
    _check_length(lag, length, own)
    generator = torch.Generator().manual_seed(seed)
    rows, known = [], torch.zeros(n_texts, length, dtype=torch.bool)
    for row in range(n_texts):
        start = int(torch.randint(slack + 1, (1,), generator=generator))
        drawn = own.ids[_draw(lag + slack, len(own.ids), generator)]
        segment, rest = drawn[:lag], drawn[lag:]
        rows.append(torch.cat((rest[:start], segment, segment, rest[start:])))
        known[row, start + lag : start + 2 * lag - 1] = True
    probe = _framed(torch.stack(rows), known, own)
    target = None
    if not isinstance(model, Vocabulary) and is_pair(model):
        target = _target(model, lag, n_texts, slack, seed)
    return Probe(*probe, lag=lag, about=about(n_texts, lag), target=target)


def about(n_texts: int, lag: int) -> str:
    """Describe the texts of `repeated` in words."""
    return f"{n_texts} text{'s' * (n_texts > 1)} of random tokens repeated after {lag}"


def lags(model: Any) -> tuple[int, int]:
    """Two lags that fit a model's context: (24, 37), or smaller ones.

    Raises:
        ValueError: if the context is too short for any.
    """
    own = model if isinstance(model, Vocabulary) else vocabulary(model)
    first, second, _ = _fitting(own)
    if not isinstance(model, Vocabulary) and is_pair(model):
        first_target, second_target, _ = _fitting(vocabulary(model, "target"))
        first, second = min(first, first_target), min(second, second_target)
    return first, second


def minimal_pairs(
    model: Any, *, lag: int | None = None, n_texts: int = 4, seed: int = 0
) -> MinimalPair:
    """Make pairs of `repeated` texts; in the second of each, the earlier occurrence of one token
    (the query) is replaced. A head that attends by position alone does not change.

    Arguments and errors as in `repeated`.
    """
    own = model if isinstance(model, Vocabulary) else vocabulary(model)
    probe = repeated(own, lag=lag, n_texts=n_texts, seed=seed)
    lag = probe.lag or 0
    generator = torch.Generator().manual_seed(seed + 1)
    changed, query = probe.tokens.clone(), torch.empty(n_texts, dtype=torch.long)
    for row in range(n_texts):
        places = probe.repeated[row].nonzero()[:, 0]
        query[row] = places[int(torch.randint(len(places), (1,), generator=generator))]
        unused = own.ids[~torch.isin(own.ids, probe.tokens[row])]
        if not len(unused):
            raise ValueError(
                f"all {len(own.ids)} tokens are already in the text; give a lag below {lag}"
            )
        pick = int(torch.randint(len(unused), (1,), generator=generator))
        changed[row, query[row] - lag] = unused[pick]
    return MinimalPair(probe.tokens, changed, query - lag, query)


def word_pair(text_model: Any, text: str, old: str, new: str, query: str) -> MinimalPair:
    """Return a text and the same text with one word replaced, as a minimal pair.

    Args:
        old, new: the word and its replacement; both must have the same number of tokens.
        query: the word whose attention is compared: the last token of its last occurrence.

    Raises:
        ValueError: if a word is not in the text, or the two texts differ in length.
    """
    where = {}
    for name, word in (("old", old), ("query", query)):
        where[name] = list(re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text))
        if not where[name]:
            raise ValueError(f"{name} must be a word of the text {text!r}, got {word!r}")
    first = where["old"][0]
    other = text[: first.start()] + new + text[first.end() :]
    clean, changed = text_model.encode(text), text_model.encode(other)
    if len(clean) != len(changed):
        raise ValueError(
            f"old and new must be the same number of tokens: the text has {len(clean)} with "
            f"{old!r} and {len(changed)} with {new!r}"
        )
    differ = (clean != changed).nonzero()[:, 0]
    if not len(differ):
        raise ValueError(f"old and new must be different tokens, got {old!r} and {new!r}")
    # How many tokens there are up to the end of the query.
    _, suffix = _frame(text_model.tokenizer, _special_of(text_model.tokenizer))
    before = text_model.encode(text[: where["query"][-1].end()])
    return MinimalPair(
        clean[None], changed[None], differ[:1], torch.tensor([len(before) - len(suffix) - 1])
    )


# -- inside -----------------------------------------------------------------------------------------


def is_pair(model: Any) -> bool:
    """Whether a model has both an encoder and a decoder."""
    return network_of(model).kind == "encoder-decoder"


def _special_of(owner: Any) -> set[int]:
    """Ids of special tokens that a tokenizer or a config names."""
    names = ("pad", "bos", "eos", "unk", "mask", "sep", "cls", "decoder_start")
    found: set[Any] = set(getattr(owner, "special_ids", ()))
    for name in names:
        for value in (getattr(owner, f"{name}_id", None), getattr(owner, f"{name}_token_id", None)):
            found.update(value if isinstance(value, (list, tuple)) else [value])
    return {int(i) for i in found if i is not None}


def _frame(tokenizer: Any, special: set[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens that a tokenizer puts before and after a text."""
    ids = list(tokenizer.encode("a"))
    plain = [i for i, token in enumerate(ids) if token not in special]
    if not plain:
        return (), ()
    return tuple(ids[: plain[0]]), tuple(ids[plain[-1] + 1 :])


def _fitting(own: Vocabulary) -> tuple[int, int, int]:
    """(lag, second lag, slack) that fit the context."""
    if own.n_ctx is None:
        return LAG, SECOND_LAG, SLACK
    room = own.n_ctx - len(own.prefix) - len(own.suffix)
    slack = min(SLACK, room // 5)
    second = min(SECOND_LAG, (room - slack) // 2)
    first = min(LAG, 2 * second // 3)
    if first < 3:
        raise ValueError(
            f"the model's context of {own.n_ctx} tokens is too short to repeat a text; a probe "
            "needs about 14 tokens"
        )
    return first, second, slack


def _check_length(lag: int, length: int, own: Vocabulary) -> None:
    if lag < 2:
        raise ValueError(
            f"lag must be at least 2, for a token and the one that follows it, got {lag}"
        )
    whole = length + len(own.prefix) + len(own.suffix)
    if own.n_ctx is not None and whole > own.n_ctx:
        raise ValueError(
            f"lag={lag} makes texts of {whole} tokens, but the model reads at most {own.n_ctx}; "
            "give a smaller lag or slack"
        )


def _draw(n: int, size: int, generator: torch.Generator) -> Tensor:
    """Draw n different numbers below size; they repeat only if there are too few."""
    turns = [torch.randperm(size, generator=generator) for _ in range(-(-n // size))]
    return torch.cat(turns)[:n]


def _framed(body: Tensor, known: Tensor, own: Vocabulary) -> tuple[Tensor, Tensor, Tensor]:
    """Add the special tokens around: (tokens, plain, repeated)."""
    n_texts = len(body)
    ends = [
        torch.tensor(ids, dtype=torch.long).expand(n_texts, -1) for ids in (own.prefix, own.suffix)
    ]
    no = [torch.zeros(end.shape, dtype=torch.bool) for end in ends]
    tokens = torch.cat((ends[0], body, ends[1]), 1)
    plain = torch.cat((no[0], torch.ones_like(known), no[1]), 1)
    return tokens, plain, torch.cat((no[0], known, no[1]), 1)


def _target(model: Any, lag: int, n_texts: int, slack: int, seed: int) -> Tensor:
    """What the decoder reads: its start token, and repeated tokens of its own."""
    own = vocabulary(model, "target")
    config = getattr(network_of(model), "config", None)
    start = getattr(config, "decoder_start_token_id", None)
    if start is None:
        start = getattr(getattr(model, "target_tokenizer", None), "bos_id", None)
    start = int(own.ids[0]) if start is None else start
    own = Vocabulary(own.ids, (start,), (), own.n_ctx)
    _, _, room = _fitting(own)
    return repeated(own, lag=lag, n_texts=n_texts, slack=min(slack, room), seed=seed + 1).tokens


def as_texts(text_model: Any, texts: Sequence[str]) -> list[Probe]:
    """Turn a user's texts into probes, one each (they differ in length), with nothing marked as
    repeated.
    """
    found = []
    special = _special_of(text_model.tokenizer)
    for text in texts:
        tokens = text_model.encode(text)[None]
        plain = ~torch.isin(tokens, torch.tensor(sorted(special)))
        found.append(Probe(tokens, plain, torch.zeros_like(plain), None, repr(text)))
    return found
