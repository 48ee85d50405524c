"""Generate text with a model, one token at a time: greedy, sampled, or by beam search."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .adapters.interrupts import evaluation_mode, no_grad
from .arguments import check
from .cache import KVCache
from .graphs import analyses
from .model import Transformer


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen from logits, the same for every model.

    Args:
        temperature: 0 is greedy; nothing is sampled.
        top_k, top_p: sample from the k most probable tokens / the fewest that reach probability p.
        seed: of the samples; each `Sampling` has its own generator.

    Raises:
        ValueError: if a value is outside its range; the message names it.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in (
            ("temperature", float),
            ("top_p", float | None),
            ("top_k", int | None),
            ("seed", int),
        ):
            check(name, getattr(self, name), kind)
        if self.temperature < 0:
            raise ValueError(f"temperature must be 0 (greedy) or more, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(
                f"top_k must be at least 1, got {self.top_k}; None samples from all tokens"
            )
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")

    def fits(self, vocabulary: int | None) -> None:
        """Check top_k against the size of a vocabulary.

        Raises:
            ValueError: if top_k is larger.
        """
        if vocabulary is not None and (self.top_k or 0) > vocabulary:
            raise ValueError(
                f"top_k must be at most {vocabulary}, the tokens of the vocabulary, got "
                f"{self.top_k}; None samples from all tokens"
            )

    @cached_property
    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    def take(self, logits: Tensor) -> Tensor:
        """[batch, vocab] -> token ids [batch]."""
        if self.temperature == 0:
            return logits.argmax(-1)
        chances = sampling_distribution(
            logits, temperature=self.temperature, top_k=self.top_k, top_p=self.top_p
        )
        drawn = torch.multinomial(chances.cpu(), 1, generator=self._generator)[:, 0]
        return drawn.to(logits.device)


class _Reader:
    """Feeds a model the tokens that it has not read yet; returns the last position's logits."""

    def __init__(
        self, model: Transformer, tokens: Tensor, mask: Tensor | None, *, n_total: int, cached: bool
    ):
        self.model, self.source_mask = model, mask
        self.both = model.config.kind == "encoder-decoder"
        self.memory: Any = model.encode(tokens, mask) if self.both else None
        self.cache = KVCache(min(n_total, model.config.n_ctx)) if cached else None

    def last_logits(self, ids: Tensor) -> Tensor:
        """ids [batch, position]: all of the decoder's text so far -> [batch, vocab]."""
        model, cache = self.model, self.cache
        new = ids if cache is None else ids[:, cache.length :]
        if self.both:
            hidden = model.decode(new, self.memory, mask=self.source_mask, cache=cache)
        else:
            mask = self.source_mask
            if mask is not None:
                grown = ids.shape[1] - mask.shape[1]
                mask = torch.cat((mask, mask.new_ones(len(mask), grown)), 1)
            hidden = model.decode(new, None, target_mask=mask, cache=cache)
        return model.logits(hidden[:, -1:])[:, -1].float()

    def reorder(self, rows: Tensor) -> None:
        if self.memory is not None:
            self.memory = self.memory[rows]
        if self.source_mask is not None:
            self.source_mask = self.source_mask[rows]
        if self.cache is not None:
            self.cache.reorder(rows)


@no_grad()
def generate(
    model: Transformer,
    tokens: Tensor,
    *,
    max_new_tokens: int,
    mask: Tensor | None = None,
    bos_id: int | None = None,
    eos_id: int | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    beams: int = 1,
    length_penalty: float = 0.6,
    cached: bool = True,
    generator: torch.Generator | None = None,
    written: Tensor | None = None,
    sampling: Sampling | None = None,
) -> Tensor:
    """Generate tokens after `tokens`, or with an encoder-decoder the target of `tokens`.

    Args:
        tokens: int64 [batch, position]; texts of a decoder are padded on the *left* (see mask).
        max_new_tokens: at most this many; a text that reached eos_id is padded with it.
        mask: bool [batch, position], True for real tokens.
        bos_id: the token that an encoder-decoder's target starts with.
        eos_id: the token that ends a text; None: no token does.
        temperature: 0 is greedy; else logits are divided by it and a token is sampled.
        top_k, top_p: sample from the k most probable tokens / the fewest that reach probability p.
        beams: more than 1 keeps that many hypotheses (and samples nothing).
        length_penalty: α of the paper's beam score Σ log p / ((5 + length) / 6)^α.
        cached: use a key/value cache; without it, the same tokens take longer.
        written: the target tokens of an encoder-decoder so far [batch, position], with its bos_id.
        sampling: instead of temperature, top_k, top_p and generator.

    Returns:
        int64 [batch, new tokens]: the generated tokens, without the prompt.

    Raises:
        ValueError: for an encoder, an empty or too long text, or an option out of range.

    Source: length penalty, Wu et al. 2016, equation 14; top-p, Holtzman et al. 2020.
    """
    _check(model, tokens, max_new_tokens, bos_id, temperature, top_k, top_p, beams)
    both = model.config.kind == "encoder-decoder"
    ids = torch.full_like(tokens[:, :1], bos_id or 0) if both else tokens
    ids = ids if written is None else written
    n_prompt = ids.shape[1]
    if n_prompt + max_new_tokens - 1 > model.config.n_ctx:
        raise ValueError(
            f"max_new_tokens must be at most {model.config.n_ctx - n_prompt + 1} after a prompt "
            f"of {n_prompt} tokens (n_ctx={model.config.n_ctx}), got {max_new_tokens}"
        )
    with evaluation_mode(model):
        if beams > 1:
            return _beam_search(
                model, tokens, mask, ids, max_new_tokens, beams, eos_id, length_penalty, cached
            )
        reader = _Reader(model, tokens, mask, n_total=n_prompt + max_new_tokens, cached=cached)
        done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        for _ in range(max_new_tokens):
            logits = reader.last_logits(ids)
            if sampling is not None:
                new = sampling.take(logits)
            elif temperature == 0:
                new = logits.argmax(-1)
            else:
                probabilities = sampling_distribution(
                    logits, temperature=temperature, top_k=top_k, top_p=top_p
                )
                new = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
            if eos_id is not None:
                new = new.masked_fill(done, eos_id)
                done |= new == eos_id
            ids = torch.cat((ids, new[:, None]), 1)
            if eos_id is not None and bool(done.all()):
                break
        return ids[:, n_prompt:]


def sampling_distribution(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Tensor:
    """Probabilities to sample a token from, after temperature, top-k and top-p: [..., vocab]."""
    size, device = logits.shape[-1], logits.device
    given = dict(
        temperature=torch.tensor(temperature, device=device),
        top_k=torch.tensor(min(top_k or size, size), device=device),
        top_p=torch.tensor(1.0 if top_p is None else top_p, device=device),
    )
    return analyses.drawn_from(logits.float(), **given)["chances"]


def _beam_search(model, tokens, mask, ids, max_new_tokens, beams, eos_id, alpha, cached) -> Tensor:
    """Search for each text separately: the best `beams` unfinished hypotheses continue; those that
    reach eos_id are scored with the length penalty, and the best finished one is returned."""
    results = []
    for row in range(len(tokens)):
        source = tokens[row : row + 1]
        real = None if mask is None else mask[row : row + 1]
        reader = _Reader(model, source, real, n_total=ids.shape[1] + max_new_tokens, cached=cached)
        start = ids[row : row + 1]
        results.append(_beams_of_one(reader, start, max_new_tokens, beams, eos_id, alpha))
    longest = max(map(len, results))
    filler = eos_id if eos_id is not None else 0
    return torch.stack([torch.cat((r, r.new_full((longest - len(r),), filler))) for r in results])


def _beams_of_one(reader, ids, max_new_tokens, beams, eos_id, alpha) -> Tensor:
    n_prompt = ids.shape[1]
    totals = torch.zeros(1, device=ids.device)  # Σ log p of each live hypothesis
    finished: list[tuple[float, Tensor]] = []

    def score(total: Tensor, length: int) -> float:
        return float(total) / ((5 + length) / 6) ** alpha

    for step in range(1, max_new_tokens + 1):
        log_p = reader.last_logits(ids).log_softmax(-1)
        n_vocab = log_p.shape[-1]
        everything = (totals[:, None] + log_p).flatten()
        # Twice as many as beams: at most `beams` of them can end in eos_id.
        best = everything.topk(min(2 * beams, everything.numel()))
        rows, new = best.indices // n_vocab, best.indices % n_vocab
        live = []
        for i in range(len(new)):
            if eos_id is not None and int(new[i]) == eos_id:
                text = torch.cat((ids[rows[i], n_prompt:], new[i : i + 1]))
                finished.append((score(best.values[i], step), text))
            elif len(live) < beams:
                live.append(i)
        finished = sorted(finished, key=lambda f: -f[0])[:beams]
        kept = torch.tensor(live, device=ids.device)
        ids = torch.cat((ids[rows[kept]], new[kept, None]), 1)
        totals = best.values[kept]
        reader.reorder(rows[kept])
        # With α ≥ 0 a live hypothesis can reach at most its total over the longest penalty.
        reach = score(totals[0], max_new_tokens if alpha > 0 else step)
        if len(finished) == beams and finished[-1][0] >= reach:
            break
    for i in range(len(totals)):
        finished.append((score(totals[i], ids.shape[1] - n_prompt), ids[i, n_prompt:]))
    return max(finished, key=lambda f: f[0])[1]


def _check(model, tokens, max_new_tokens, bos_id, temperature, top_k, top_p, beams) -> None:
    kind = getattr(getattr(model, "config", None), "kind", None)
    if kind is None or not hasattr(model, "decode"):
        raise ValueError(
            "tl.generate takes a Transformer of transformer_lab, got "
            f"{type(model).__name__}; for another model, use tl.TextModel(model, tokenizer).write"
        )
    if kind == "encoder":
        raise ValueError("an encoder cannot generate text; use a decoder or an encoder-decoder")
    if kind == "encoder-decoder" and bos_id is None:
        raise ValueError("an encoder-decoder needs bos_id, the token that the target starts with")
    if tokens.dim() != 2 or tokens.shape[1] == 0:
        raise ValueError(
            "tokens must have shape [batch, position] with at least one position, got "
            f"{list(tokens.shape)}"
        )
    for name, value, least in (("max_new_tokens", max_new_tokens, 1), ("beams", beams, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    Sampling(temperature, top_k, top_p)
    if beams > 1 and temperature > 0:
        raise ValueError(
            f"beam search (beams={beams}) does not sample; leave out temperature={temperature}"
        )
