"""Run copies of a batch in one pass of a Hugging Face model, with logits at few positions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..attention import Tap
from .hooks import SESSION, hook
from .interrupts import sheltered
from .linear import is_linear
from .network import Inputs

WIDE = (torch.float32, torch.float64)


def may_be_copied(model: Any, tap: Tap, inputs: Inputs) -> bool:
    """Whether a pass over several copies of a batch may be tried. In 16 bits, a row's numbers
    depend on the rows beside it; rows compete for experts of limited capacity; and a user's taps
    may hold tensors for the batch as it is."""
    session = model.__dict__.get(SESSION)
    alone = session is None or all(other is tap for other in session.taps)
    widths = {p.dtype for p in model.parameters() if p.is_floating_point()}
    text = inputs.tokens is not None and not inputs.given
    limited = getattr(model.config, "expert_capacity", None) is not None
    return alone and text and not limited and widths <= {*WIDE}


def numbers_per_token(model: Any) -> int:
    """Roughly how many numbers per token a pass holds at once, including logits."""
    config = getattr(model.config, "get_text_config", lambda: model.config)()
    width = getattr(config, "hidden_size", None) or getattr(config, "d_model", None) or 1024
    names = ("intermediate_size", "ffn_dim", "decoder_ffn_dim", "n_inner", "d_ff")
    inner = next((n for name in names if (n := getattr(config, name, None))), 4 * width)
    inner = max(inner) if isinstance(inner, list | tuple) else inner  # each layer's own
    return 4 * inner + 8 * width + (getattr(config, "vocab_size", None) or 0)


@sheltered
def head_at(model: Any, places: Tensor) -> Iterator[None]:
    """While open, passes of this thread compute logits only at these positions [batch, len(places),
    vocab], if the model's head is one linear layer that reads [batch, position, d_model] once."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if not isinstance(head, nn.Module) or not is_linear(head):
        yield
        return
    owner, last = threading.get_ident(), int(places.max())

    def only(_module: Any, args: tuple) -> tuple | None:
        here = threading.get_ident() == owner and len(args) == 1
        if not here or args[0].dim() != 3 or args[0].shape[1] <= last:
            return None
        return (args[0][:, places],)

    own = hook(head, only, before=True)
    try:
        yield
    finally:
        own.remove()
