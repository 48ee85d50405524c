"""Estimate what switching off each head would change, for all heads at once.

    estimate = tl.estimate_effects(model, tokens)
    estimate.values[layer, head]    # ≈ tl.sweep_heads(model, tokens).values[layer, head]

One forward and one backward pass, whatever the number of heads.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import torch
from torch import Tensor

from ..adapters.checkpointing import NO_GRADIENTS, computing_again
from ..adapters.interrupts import together
from ..adapters.linear import gradient_stop
from ..adapters.network import Output
from ..attention import AttentionCall, Tap
from ..tracing.provenance import finding
from .constructors import ablate
from .effects import Sweep, checked_token, of_each_text
from .interventions import tapping, uncompiled
from .kinds import EditError
from .sweep_target import SweepTarget

MEASURES = ("log_prob", "probability")


@finding
def estimate_effects(
    model: Any,
    tokens: Any = None,
    target: Any = None,
    *,
    measure: str = "log_prob",
    kind: str | None = None,
    token: int | str | Tensor | None = None,
    position: int | None = None,
    mask: Tensor | None = None,
    target_mask: Tensor | None = None,
    **given: Any,
) -> Sweep:
    """Estimate the results of `sweep_heads` with one gradient pass.

    The estimate for a head is −Σ z · ∂log p/∂z: the change of the chosen token's log-probability,
    extrapolated linearly to z = 0 for the head's output z. It is exact if the rest of the model is
    linear, and misses what later layers and the softmax do to so large a change; heads that
    compensate for each other look weaker or stronger than they are. The probability is extrapolated
    in log-odds, so that it stays between 0 and 1. Use the estimate to rank heads; for a number to
    report, switch the head off.

    docs/estimates.md measures how well it ranks.

    Args:
        measure: "log_prob" or "probability": which of them `values` holds. There is no "kl": its
            slope at the clean pass is 0.
        others: as in `sweep_heads`.

    Returns:
        A `Sweep` over ("layer", "head") with `estimated` True; NaN for heads that a layer does not
        have.

    Raises:
        EditError: as `sweep_heads`, and if no gradient reaches the heads.

    Source: Nanda 2023, attribution patching; Michel et al. 2019 for heads and their gates.
    """
    if measure not in MEASURES:
        raise EditError(
            f"measure must be one of {', '.join(MEASURES)} for an estimate, got {measure!r}"
        )
    swept = SweepTarget(model, tokens, target, mask, target_mask, kind, token, position, given)
    heads, n_heads = swept.heads, max(swept.heads)
    outputs = _Outputs(swept.kind)
    network = swept.network
    with together(torch.enable_grad(), uncompiled(network), tapping(network, outputs)):
        log_probs, places = _clean(swept)
        token = swept.token
        chosen = log_probs.argmax(-1) if token is None else of_each_text(token, places)
        of_chosen = log_probs.gather(-1, chosen[:, None])[:, 0]
        change = outputs.change(of_chosen.sum(), len(of_chosen), (len(heads), n_heads))
    before = of_chosen.detach().double().cpu()
    probability = before.exp()
    odds = before - torch.log1p(-probability.clamp(max=1 - 1e-12))
    slope = change / (1 - probability).clamp(min=1e-12)[:, None, None]
    after = (odds[:, None, None] + slope).sigmoid()
    for layer, n in enumerate(heads):
        change[:, layer, n:] = math.nan
    gone = change.isnan()
    of_probability = (after - probability[:, None, None]).masked_fill(gone, math.nan)
    each = {"log_prob": change, "probability": of_probability}
    measures = {name: numbers.mean(0).float() for name, numbers in each.items()}
    cells = tuple(
        (ablate(layer, head, kind=kind),) if head < n else ()
        for layer, n in enumerate(heads)
        for head in range(n_heads)
    )
    labels = {
        "layer": [str(i) for i in range(len(heads))],
        "head": [str(i) for i in range(n_heads)],
    }
    baseline = {"log_prob": float(before.mean()), "probability": float(probability.mean())}
    return Sweep(
        measures,
        measure,
        ("layer", "head"),
        labels,
        baseline,
        chosen.tolist(),
        places.tolist(),
        swept.kind,
        cells,
        estimated=True,
        each={name: x.float() for name, x in each.items()},
    )


class _Outputs(Tap):
    """Keep each head's output in the graph of this thread's pass."""

    records = True  # sees z after the edits in force

    def __init__(self, kind: str):
        self.kind, self.owner = kind, threading.get_ident()
        self.held: list[tuple[int, Tensor]] = []
        self.blind = False  # whether some layer ran without gradients

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        if threading.get_ident() != self.owner or call.site is None or call.site.kind != self.kind:
            return z
        if computing_again():  # a checkpointed layer, whose z is held already
            return z
        self.blind |= not torch.is_grad_enabled()
        if not z.requires_grad:  # without trainable parameters the graph starts here
            z = z.detach().requires_grad_()
        self.held.append((call.site.layer, z))
        return z

    def change(self, total: Tensor, batch: int, shape: tuple[int, int]) -> Tensor:
        """−Σ z · ∂total/∂z, fp64 [text, layer, head]."""
        found = torch.zeros(batch, *shape, dtype=torch.float64)
        zs = [z for _, z in self.held]
        if not zs or not total.requires_grad or self.blind:
            raise EditError(
                f"no gradient reaches the heads, because {NO_GRADIENTS}, so their effects cannot be "
                "estimated; use tl.sweep_heads"
            )
        grads = torch.autograd.grad(total, zs, allow_unused=True)
        for (layer, z), grad in zip(self.held, grads, strict=True):
            if grad is None:
                continue
            product = (z.detach().double() * grad.double()).sum((-1, -2)).cpu()  # [batch, head]
            if len(product) != batch:
                raise EditError(
                    f"layer {layer} attends within parts of a text, so the effects of its heads "
                    "cannot be estimated"
                )
            found[:, layer, : product.shape[1]] -= product
        self.held.clear()
        return found


def _clean(swept: SweepTarget) -> tuple[Tensor, Tensor]:
    """Return log-probabilities [text, vocab] in the graph, and their positions [text]."""
    network = swept.network
    if stop := gradient_stop(network.module):
        raise EditError(
            f"effects in {network.name} cannot be estimated, because of {stop}, through which no "
            "gradient passes; use tl.sweep_heads"
        )
    given: Output = network.run(swept.inputs)
    logits = given.answers if given.logits is None else given.logits
    if logits is None:
        raise EditError(
            f"{network.name} has no head, so it makes no prediction whose change could be estimated"
        )
    logits = logits if logits.dim() > 2 else logits[:, None]
    places = swept.places
    if logits.shape[1] == 1:  # a classifier's one answer
        places = torch.zeros_like(places)
    elif logits.shape[1] != swept.inputs.n_outputs:
        raise EditError(
            f"{network.name} gives {list(logits.shape)}, not a prediction for each token"
        )
    rows = torch.arange(len(logits), device=logits.device)
    wide = torch.promote_types(logits.dtype, torch.float32)
    log_probs = logits[rows, places].to(wide).log_softmax(-1)
    checked_token(swept.token, log_probs.shape[-1])
    return log_probs, places
