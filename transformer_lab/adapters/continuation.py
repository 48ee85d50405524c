"""Generate text with a transformers model, with its cache where that matches a plain pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .interrupts import no_grad
from .network import ChangedError, Inputs, Network

# Settings that a model's own generation config may change; off, so that all follow one rule.
ONE_RULE = dict(
    num_beams=1,
    repetition_penalty=1.0,
    no_repeat_ngram_size=0,
    encoder_no_repeat_ngram_size=0,
    encoder_repetition_penalty=1.0,
    min_length=0,
)
# Tolerance between logits with and without a cache, as a fraction of the largest.
OFF = {torch.float32: 1e-3, torch.float64: 1e-3}
OFF_IN_16_BITS = 0.05


@no_grad()
def go_on(
    network: Network,
    tokens: Tensor,
    most: int,
    *,
    bos_id: int | None,
    eos_id: int | None,
    written: Tensor | None,
    sampling: Any,
    cached: bool,
) -> list[int]:
    """The tokens generated after one text, with the one that ends it. Each is taken from the logits
    of the pass that a trace of the text so far makes.

    Args:
        tokens: int64 [1, position].
        most: the maximum number of tokens.
        sampling: a `tl.writing.Sampling`, copies of which draw.
        written: int64 [1, position]: what an encoder-decoder has written, with its start token.
        cached: try the model's own cache first. Its tokens are discarded if its logits differ from
            the plain pass's: with a cache, some families attend elsewhere, count positions in
            another way, or have settings that force a token.
    """
    if network.kind != "encoder-decoder":
        written = None
    elif written is None:
        start = getattr(network.module.config, "decoder_start_token_id", None)
        written = tokens.new_tensor([[bos_id if start is None else start]])
    if cached:
        kept = _with_cache(network, tokens, most, written, replace(sampling))
        if kept is not None:
            return kept
    ends = ends_of(network.module, eos_id)
    sampling = replace(sampling)
    found: list[int] = []
    while len(found) < most and not (found and found[-1] in ends):
        logits = _plain(network, tokens, written, found)[:, -1]
        found.append(int(sampling.take(logits.float())))
    return found


def ends_of(module: Any, eos_id: int | None) -> set[int]:
    """Ids after which a model writes no more: its tokenizer's and those of its settings."""
    own = getattr(getattr(module, "generation_config", None), "eos_token_id", None)
    return {eos_id, *(own if isinstance(own, list) else [own])} - {None}


def _plain(network: Network, tokens: Tensor, written: Tensor | None, more: list[int]) -> Tensor:
    """Logits [1, position, vocab] of the text followed by more tokens."""
    after = tokens.new_tensor([more])
    given = (tokens, after) if written is None else (written, after)
    whole = torch.cat(given, 1)
    inputs = Inputs(whole) if written is None else Inputs(tokens, whole)
    try:
        output = network.run(inputs)
    except ChangedError:
        output = network.run(inputs)
    assert output.logits is not None
    return output.logits


class _Taking:
    """A logits processor for transformers' `generate` that allows only the token that is drawn."""

    def __init__(self, sampling: Any):
        self.sampling = sampling
        self.seen: list[Tensor] = []  # [1, vocab] a step

    def __call__(self, _ids: Tensor, logits: Tensor) -> Tensor:
        self.seen.append(logits.float())
        taken = self.sampling.take(self.seen[-1])[:, None]
        return torch.full_like(logits, float("-inf")).scatter(-1, taken, 0.0)


def _with_cache(
    network: Network, tokens: Tensor, most: int, written: Tensor | None, sampling: Any
) -> list[int] | None:
    """The tokens generated with the cache; None if its logits differ from the plain pass's."""
    options: dict[str, Any] = {} if written is None else dict(decoder_input_ids=written)
    taking = _Taking(sampling)
    try:
        made = network.module.generate(
            tokens,
            max_new_tokens=most,
            do_sample=False,
            logits_processor=[taking],
            **ONE_RULE,
            **options,
        )
    except Exception:  # the cache may not allow it; any other error returns in the plain pass
        return None
    before = (tokens if written is None else written).shape[1]
    found = made[0, before:].tolist()
    seen, plain = torch.cat(taking.seen), _plain(network, tokens, written, found[:-1])
    plain = plain[0, before - 1 :].float()
    if seen.shape != plain.shape or len(found) != len(seen):
        return None
    allowed = OFF.get(network.module.dtype, OFF_IN_16_BITS) * float(plain.abs().amax())
    return found if float((seen - plain).abs().amax()) <= allowed else None
