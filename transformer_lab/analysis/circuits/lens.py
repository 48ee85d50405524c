"""What the residual stream would predict after each layer, if the model stopped there.

The logit lens (nostalgebraist 2020) puts the stream after every block through what the model does
after its last one: the final norm and the unembedding, or for BERT its prediction head. For a
Hugging Face model nothing is looked up by name: the model itself runs on one token, with the stream
to read in place of its last block's output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...adapters.interrupts import no_grad
from ...adapters.network import Inputs
from ...graphs.analyses import likely
from ...tracing.trace import Trace, TraceError

CHUNK_MIB = 32  # of logits at once
CHECKED = 4  # positions at which the last row must match the model's logits


@dataclass(frozen=True, eq=False)
class LogitLens:
    """Predictions of the logit lens: row 0 is the stream before the first block, row l + 1 after
    block l.

    `tokens` and `probabilities` [layer + 1, position, k] are the most likely tokens, most likely
    first; `answer` [position] is the token that the model itself predicts (or the one requested),
    `answer_probability` and `answer_rank` [layer + 1, position] its probability and rank in each
    row (rank 0: the most likely). `positions` are the positions in the text that the columns stand
    for.
    """

    positions: tuple[int, ...]
    tokens: Tensor = field(repr=False)
    probabilities: Tensor = field(repr=False)
    answer: Tensor = field(repr=False)
    answer_probability: Tensor = field(repr=False)
    answer_rank: Tensor = field(repr=False)
    name: Callable[[int], str] = field(repr=False, default=str)

    def top(self, row: int, column: int) -> list[tuple[str, float]]:
        """The most likely tokens of one row at one column, and their probabilities."""
        ids, values = self.tokens[row, column].tolist(), self.probabilities[row, column].tolist()
        return [(self.name(i), p) for i, p in zip(ids, values, strict=True)]

    def settled(self, column: int) -> int:
        """The first row from which the answer stays the most likely token; the number of rows if
        there is none.
        """
        first = (self.answer_rank[:, column] == 0).tolist()
        row = len(first)
        while row > 0 and first[row - 1]:
            row -= 1
        return row


def unembedding(trace: Trace) -> Callable[[Tensor], Tensor]:
    """Return what the model does after its last block: a function from streams [..., d_model] to
    logits [..., vocab], including any softcap. It is checked against the logits of the trace.

    Raises:
        TraceError: for a model with no head that predicts tokens, or whose stream was not kept; if
            the weights have changed since the trace, or the model does more after its last block
            than read each position by itself.
    """
    if trace.logits is None:
        raise TraceError(f"{trace.model_name} has no head that predicts tokens")
    kind = "decoder" if "decoder" in trace.kinds else "encoder"
    last = trace.residual(kind)["resid_post"][-1]
    network = trace.network
    first = (None if x is None else x[:1] for x in (trace.tokens, trace.target))
    inputs = Inputs(*first, given=trace.given)
    run = None if network is None else network.after_blocks(kind, inputs)
    if run is None:
        raise TraceError(
            f"the logit lens needs to know what {trace.model_name} does after its last block; it "
            "works for transformer_lab and Hugging Face models"
        )

    def read(x: Tensor) -> Tensor:
        with no_grad():
            return run(x.to(last.device, last.dtype)).float().cpu()

    _check(trace, read, last)
    return read


def _check(trace: Trace, read: Callable[[Tensor], Tensor], last: Tensor) -> None:
    assert trace.logits is not None
    n = last.shape[0]
    at = torch.linspace(0, n - 1, min(CHECKED, n)).long()
    own = trace.logits[0, at].float().cpu()
    found = read(last[at])
    room = (1e-3 if last.dtype == torch.float32 else 5e-2) * max(1.0, float(own.abs().max()))
    if found.shape != own.shape or not float((found - own).abs().max()) <= room:
        raise TraceError(
            f"the stream after the last block does not give {trace.model_name}'s own logits: its "
            "weights have changed since this trace (trace again), or after that block it does "
            "more than read each position by itself"
        )


def logit_lens(
    trace: Trace,
    *,
    k: int = 5,
    answer: int | None = None,
    positions: Sequence[int] | None = None,
    batch: int = 0,
) -> LogitLens:
    """Return what every layer's stream would predict, through the model's own final norm and head.

    Works for our models and for Hugging Face's, causal, masked and encoder-decoder (the decoder's
    stream). Early rows are read with a lens made for the last one: the model may know a token that
    does not show there.

    Args:
        k: how many tokens to keep per cell.
        answer: a token id to follow through the layers; by default what the model predicts at each
            position.
        positions: only these positions of the text; all by default.

    Raises:
        TraceError: see `unembedding`.
        ValueError: for a position or token that does not exist.
    """
    batch = trace.text(batch) % trace.batch_size
    read = unembedding(trace)
    assert trace.logits is not None
    n, vocabulary = trace.logits.shape[1:]
    places = tuple(range(n)) if positions is None else tuple(int(p) for p in positions)
    if not places or not all(0 <= p < n for p in places):
        raise ValueError(
            f"positions must be some of the {n} tokens (0 … {n - 1}), got {list(places)}"
        )
    if answer is not None and not 0 <= answer < vocabulary:
        raise ValueError(
            f"answer={answer} is outside the {vocabulary} tokens (0 … {vocabulary - 1})"
        )
    if answer is None:
        answers = trace.logits[batch, list(places)].argmax(-1).cpu()
    else:
        answers = torch.full((len(places),), answer)
    k = min(k, vocabulary)
    streams = torch.stack(list(_streams(trace, batch, list(places))))
    found = _read(read, streams.flatten(0, 1), answers.repeat(len(streams)), k, vocabulary)
    tokens, probabilities, of_answer, rank = (x.unflatten(0, streams.shape[:2]) for x in found)
    return LogitLens(places, tokens, probabilities, answers, of_answer, rank, trace.name_token)


def _streams(trace: Trace, batch: int, places: list[int]) -> Iterator[Tensor]:
    """The stream before the first block and after every one: [position, d_model] each."""
    kind = "decoder" if "decoder" in trace.kinds else "encoder"
    yield trace.activation("resid_pre", 0, kind=kind)[batch, places]
    for layer in range(trace.n_layers(kind)):
        yield trace.activation("resid_post", layer, kind=kind)[batch, places]


def _read(
    read: Callable[[Tensor], Tensor], streams: Tensor, answers: Tensor, k: int, vocabulary: int
) -> tuple[Tensor, ...]:
    """Return the k most likely tokens, their probabilities, the answer's probability and its rank
    for each of these streams [row, d_model]. Logits are held for some rows at a time.
    """
    size = max(1, CHUNK_MIB * 2**20 // (4 * vocabulary))
    parts = []
    for part, wanted in zip(streams.split(size), answers.split(size), strict=True):
        parts.append(likely(read(part), wanted, k).values())
    return tuple(torch.cat(x) for x in zip(*parts, strict=True))
