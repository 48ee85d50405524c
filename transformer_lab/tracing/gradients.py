"""Gradients of one number with respect to activations: heads, patterns, the residual stream.

The number is a function of the logits; the pass is the model's own, with the graph kept and every
pattern computed in it. In a 16-bit model the gradients have 16 bits too: rounded to 3 (fp16) or 2
(bf16) digits, and in fp16 those below 6e-8 are 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..adapters.checkpointing import NO_GRADIENTS
from ..adapters.hooks import hook
from ..adapters.interrupts import sheltered, together
from ..adapters.linear import gradient_stop
from ..adapters.network import AdapterError, ChangedError, Inputs, Network, Output
from ..arguments import shown
from ..attention import AttentionCall, Site
from .maps import within_budget
from .recording import PartsTap, Recorder, watching_parts

OF_HEADS = ("z", "pattern", "q", "k", "v")
COPIES = 3  # of each pattern, with its graph and its gradient


@dataclass(frozen=True)
class Logit:
    """One logit of every text: that of `token` at `position` (−1 is the last real position, without
    padding), or, if `against` is given, the logit difference to that token. Give token ids, or for a
    TextModel texts of one token."""

    token: int | str
    against: int | str | None = None
    position: int = -1


Scalar = int | str | tuple[Any, Any] | Logit | Callable[[Tensor], Tensor]


def as_logit(of: Any, token_id: Callable[[str], int] | None = None) -> Logit | Callable[..., Any]:
    """Convert a token, a pair of tokens, a `Logit` or a function to a `Logit` with token ids, or
    the function. `token_id` maps text to an id.

    Raises:
        ValueError: for anything else, and for text if `token_id` is None.
    """
    if isinstance(of, str) or _is_whole(of):
        of = Logit(of)
    elif isinstance(of, tuple | list) and len(of) == 2:
        of = Logit(*of)
    if isinstance(of, Logit):
        return Logit(
            as_token_id("token", of.token, token_id),
            None if of.against is None else as_token_id("against", of.against, token_id),
            of.position,
        )
    if callable(of):
        return of
    raise ValueError(
        f"gradients={shown(of)} is not understood; give a token, a pair of tokens, a tl.Logit or "
        "a function from logits to one number"
    )


def scalar_of(of: Logit | Callable[..., Any], output: Output, inputs: Inputs) -> Tensor:
    """The number to differentiate, summed over the texts of a batch. Classes are treated as tokens
    at one position.

    Raises:
        ValueError: for a token or position out of range, a function that does not return one
            number, or a model without logits.
    """
    logits = output.answers if output.logits is None else output.logits
    if logits is None:
        raise ValueError(
            "gradients are taken of logits, and this model has no head that predicts tokens"
        )
    if not isinstance(of, Logit):
        found = of(logits)
        if not isinstance(found, Tensor) or found.numel() != 1:
            what = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(
                "the function given as gradients must return one number from the logits, got "
                f"{what}"
            )
        return found.reshape(())
    logits = logits[:, None] if logits.dim() == 2 else logits
    _, n, vocabulary = logits.shape
    for name, token in (("token", of.token), ("against", of.against)):
        if token is not None and not 0 <= int(token) < vocabulary:
            raise ValueError(f"{name}={token} is outside the {vocabulary} tokens of the vocabulary")
    if not -n <= of.position < n:
        raise ValueError(f"position={of.position} is outside the {n} tokens (−{n} … {n - 1})")
    mask, rows = inputs.output_mask, torch.arange(len(logits), device=logits.device)
    places = torch.full_like(rows, of.position % n)
    if of.position == -1 and mask is not None and mask.shape[1] == n:
        places = n - 1 - mask.to(logits.device).int().flip(-1).argmax(-1)
    at = logits[rows, places]
    found = at[:, int(of.token)]
    return (found if of.against is None else found - at[:, int(of.against)]).sum()


class GradientRecorder(Recorder):
    """A Recorder that also holds the tensors whose gradients are computed.

    Args:
        budget_mib: limit for all patterns, with graph and gradients.
    """

    wants_maps = True

    def __init__(self, network: Network, keep: str, inputs: Inputs, budget_mib: float):
        super().__init__(network, keep, inputs)
        self.live: dict[tuple[str, str], dict[int, Tensor]] = {}  # (what, kind) -> layer
        self._windowed: dict[Site, AttentionCall] = {}
        self._budget, self._n_weights = budget_mib, 0

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        call = super().on_attention(call)
        site = self.site_of(call)
        if not self.here or self._is_left_out(site):
            return call
        if site.layer in self.live.get(("v", site.kind), {}):
            raise ValueError(
                f"the heads of {site.kind} layer {site.layer} return their values in several "
                "parts, so gradients through them cannot be computed"
            )
        batch, heads, n_query, n_key = call.shape
        self._n_weights += COPIES * batch * heads * n_query * n_key
        way = "shorten the text, or raise budget_mib"
        within_budget(self._n_weights, self._budget, way)
        if call.windows is not None:
            self._windowed[site] = call
        for what, x in (("q", call.query), ("k", call.key), ("v", call.value)):
            # A model with attention code of its own shows its scores, but not its queries and keys.
            if x is not None and x.shape[-1]:
                self.hold(what, site, x)
        return call

    def on_map(self, call: AttentionCall, weights: Tensor) -> Tensor:
        if self.here and not self._is_left_out(self.site_of(call)):
            self.hold("pattern", self.site_of(call), weights)
        return weights

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        if self.here and not self._is_left_out(self.site_of(call)):
            self.hold("z", self.site_of(call), z)
        return super().on_heads(call, z)

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        if self.here:
            self.hold(name, site, x)
        return super().on_stream(name, site, x)

    def _is_left_out(self, site: Site) -> bool:
        return site.layer in self.left_out.get(site.kind, ())

    def hold(self, what: str, site: Site, x: Tensor) -> None:
        self.live.setdefault((what, site.kind), {})[site.layer] = x

    def gradients(self, total: Tensor) -> dict[tuple[str, str], dict[int, Tensor]]:
        """Gradients with respect to the held tensors, with their shapes; 0 where the number does
        not depend on one.

        Raises:
            ValueError: if the pass kept no graph.
        """
        places = [
            (key, layer, x)
            for key, layers in self.live.items()
            for layer, x in layers.items()
            if x.requires_grad
        ]
        if not total.requires_grad or not any(key[0] == "z" for key, _, _ in places):
            raise ValueError(
                f"no gradient reaches the heads: {NO_GRADIENTS}, or the number does not depend on its "
                "logits"
            )
        try:
            found = torch.autograd.grad(total, [x for *_, x in places], allow_unused=True)
        except RuntimeError as error:
            if "heckpoint" not in str(error):
                raise
            raise ValueError(
                "gradients cannot pass a checkpoint with use_reentrant=True; switch gradient "
                "checkpointing off, or set use_reentrant=False"
            ) from error
        grads: dict[tuple[str, str], dict[int, Tensor]] = {}
        for (key, layer, x), grad in zip(places, found, strict=True):
            grad = torch.zeros_like(x) if grad is None else grad.detach()
            call = self._windowed.get(Site(key[1], layer)) if key[0] in ("q", "k", "v") else None
            grads.setdefault(key, {})[layer] = grad if call is None else call.by_position(grad)
        self.live.clear()
        self._windowed.clear()
        return grads


class _Parts(PartsTap):
    """A PartsTap that also holds the parts for their gradients."""

    def __init__(self, recorder: GradientRecorder):
        super().__init__(recorder)
        self._live = recorder

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        if self._live.here:
            self._live.hold(name, site, x)
        return super().on_stream(name, site, x) if self._live.keep == "all" else x


@sheltered
def gradients_on(network: Network, recorder: GradientRecorder) -> Iterator[None]:
    """While open, a pass keeps the graph of what the recorder holds, whether or not parameters
    require gradients; the parameters get no `.grad`."""
    with torch.enable_grad(), ExitStack() as stack:
        for module in network.module.modules():
            if any(True for _ in module.parameters(recurse=False)):
                stack.callback(hook(module, _begins_graph(recorder)).remove)
        stack.enter_context(watching_parts(network, recorder, _Parts(recorder)))
        yield


def _begins_graph(recorder: GradientRecorder) -> Callable[..., Any]:
    """A hook that begins the graph at the first module's output if no parameter requires
    gradients."""

    def begin(module: nn.Module, args: Any, output: Any) -> Any:
        fresh = isinstance(output, Tensor) and output.is_floating_point()
        if not recorder.here or not fresh or output.requires_grad or not torch.is_grad_enabled():
            return None
        return output.detach().requires_grad_().clone()

    return begin


def recorded_with_gradients(
    network: Network, inputs: Inputs, keep: str, of: Logit | Callable[..., Any], budget_mib: float
) -> tuple[GradientRecorder, Output, dict[tuple[str, str], dict[int, Tensor]], float]:
    """Run one pass; return (recorder, output, gradients, the number).

    Raises:
        ValueError: for a model whose attention does not go through the attention interface, in
            inference mode, and as `scalar_of`.
        MemoryBudgetError: if the patterns take more than the budget.
    """
    if stop := gradient_stop(network.module):
        raise ValueError(f"no gradient passes through {network.name}, because of {stop}")
    recorder = GradientRecorder(network, keep, inputs, budget_mib)
    try:
        with together(
            network.tapping(recorder),
            network.watching_stream(recorder),
            gradients_on(network, recorder),
        ):
            output = network.run(inputs)
            recorder.finish()
            if not recorder.calls:
                raise AdapterError(recorder.what_was_left_out() or "it made no call to it")
            total = scalar_of(of, output, inputs)
            gradients = recorder.gradients(total)
    except ChangedError:
        raise
    except AdapterError as error:
        raise ValueError(
            f"gradients cannot be computed for {network.name}: its attention does not go through "
            f"the attention interface ({error}), so its maps are in no graph"
        ) from error
    detached = Output(*(None if x is None else x.detach() for x in output))
    return recorder, detached, gradients, float(total.detach())


def _is_whole(x: Any) -> bool:
    return hasattr(x, "__index__") and not isinstance(x, bool) and not callable(x)


def as_token_id(name: str, token: Any, token_id: Callable[[str], int] | None) -> int:
    """Return the id of a token passed as an id or as text.

    Raises:
        ValueError: if it is neither an id nor one token's text, or is text and there is no tokenizer.
    """
    if isinstance(token, str):
        if token_id is None:
            raise ValueError(
                f"{name}={token!r} is text; give a token id, or use a TextModel, which has a tokenizer"
            )
        return token_id(token)
    if not _is_whole(token):
        raise ValueError(f"{name} must be a token id, got {shown(token)}")
    return int(token)
