"""The trial pass that checks whether a `NamedNetwork`'s names fit its model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..attention import AttentionCall, Site, Tap
from .hooks import hook, hooked
from .interrupts import evaluation_mode, no_grad, together
from .linear import is_linear
from .network import AdapterError, Inputs

TOKENS = 4  # in the trial text
NEAR = 1e-3


class Trial(Tap):
    """One pass over a few tokens, which checks a network against what was claimed of it.

    Attributes:
        heads: the number in each layer.
        width, vocabulary: of the stream (0 if it is not seen), and of the logits.
        outs: layer -> the path of W_O, the linear layer that reads exactly its heads' output.
        no_stream: the reason why there is no residual stream; empty if there is one.

    Raises:
        ValueError: if the network differs from what was claimed of it.
    """

    records = True

    def __init__(self, network: Any):
        self.name, self._kind = network.name, network.kinds[0]
        self._calls: dict[int, list[AttentionCall]] = {}
        self._stream: dict[tuple[str, int], Tensor] = {}
        self._z: tuple[int, Tensor] | None = None
        self.outs: dict[int, str] = {}
        self.width, self.no_stream = 0, ""
        module = network.module
        linear = {path: m for path, m in module.named_modules() if is_linear(m)}
        hooks = [partial(hook, m, self._reads(path), before=True) for path, m in linear.items()]
        n = TOKENS if network.n_ctx is None else min(TOKENS, network.n_ctx)
        with together(evaluation_mode(module), hooked(*hooks)):
            device = next((p.device for p in module.parameters()), torch.device("cpu"))
            tokens = torch.zeros(1, n, dtype=torch.long, device=device)
            with together(no_grad(), network.tapping(self)):
                logits = self._run(network, tokens)
            made = self._made_of_the_stream(network)
        self.vocabulary = self._width_of(logits, n)
        self.heads = [self._heads_in(i, path, n) for i, path in enumerate(network.paths)]
        self._look_at_the_stream(network, logits, made)

    def _run(self, network: Any, tokens: Tensor) -> Tensor:
        try:
            logits = network.run(Inputs(tokens)).logits
        except AdapterError as error:
            raise ValueError(f"the attention of {self.name} cannot be hooked: {error}") from error
        except Exception as error:
            if isinstance(error, ValueError) and str(error).startswith(
                f"the forward of {self.name}"
            ):
                raise
            message = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{self.name} cannot read token ids of shape {list(tokens.shape)}: "
                f"{type(error).__name__}: {message}"
            ) from error
        assert logits is not None
        return logits

    # -- what the pass shows --------------------------------------------------------------------

    def on_attention(self, call: AttentionCall) -> AttentionCall:
        assert call.site is not None
        self._calls.setdefault(call.site.layer, []).append(call)
        return call

    def on_heads(self, call: AttentionCall, z: Tensor) -> Tensor:
        assert call.site is not None
        self._z = call.site.layer, z.transpose(1, 2).flatten(2)
        return z

    def on_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        self._stream[name, site.layer] = x.clone()
        return x

    def _reads(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple) -> None:
            if self._z is None or not args or not isinstance(args[0], Tensor):
                return
            layer, z = self._z
            if args[0].shape == z.shape and torch.equal(args[0], z):
                self.outs[layer], self._z = path, None

        return hook

    # -- checks ---------------------------------------------------------------------------------

    def _width_of(self, logits: Tensor, n: int) -> int:
        if logits.dim() != 3 or logits.shape[:2] != (1, n):
            raise ValueError(
                f"{self.name} must give logits [1, {n}, vocab], for every position, for token ids "
                f"of shape [1, {n}], got {list(logits.shape)}"
            )
        return logits.shape[-1]

    def _heads_in(self, layer: int, path: str, n: int) -> int:
        calls = self._calls.get(layer, [])
        if len(calls) != 1:
            raise ValueError(
                f"{path} of {self.name} must attend once in a pass, and attends {len(calls)} times"
            )
        weights = calls[0].pattern()
        if weights.shape[0] != 1 or weights.shape[2:] != (n, n):
            raise ValueError(
                f"the map of {path} must have shape [1, head, {n}, {n}] for one text of {n} "
                f"tokens, got {list(weights.shape)}"
            )
        ahead = float(weights.triu(1).max())
        if self._kind == "decoder" and ahead > 0:
            raise ValueError(
                f"kind='decoder', but {path} of {self.name} attends to later tokens (with a "
                f"weight of {ahead:.2f}): is the causal mask missing? kind='encoder' shows it as "
                "it is"
            )
        return weights.shape[1]

    @no_grad()
    def _made_of_the_stream(self, network: Any) -> Tensor | None:
        """The output of the modules after the last layer, given the last layer's."""
        stream = self._stream.get(("resid_post", len(network.sites()) - 1))
        run = None if stream is None else network.after_blocks(network.kind, Inputs())
        return None if stream is None or run is None else run(stream)

    def _look_at_the_stream(self, network: Any, logits: Tensor, made: Tensor | None) -> None:
        if not network.blocks():
            self.no_stream = f"the layers of {self.name} are not known: give block='…*'"
            return
        ends = ("resid_pre", "resid_post")
        seen = [self._stream.get((name, i)) for i in range(len(self.heads)) for name in ends]
        stream = [x for x in seen if x is not None and x.dim() == 3]
        if len(stream) < len(seen):
            self.no_stream = (
                f"the layers of {self.name} do not take the stream as their first input"
            )
            return
        for gave, read in zip(stream[1:-1:2], stream[2::2], strict=True):
            if gave.shape != read.shape or not torch.equal(gave, read):
                self.no_stream = (
                    f"a layer of {self.name} does not read what the layer before it returned"
                )
                return
        self.width = stream[-1].shape[-1]
        if made is None:
            return
        if made.shape != logits.shape or not torch.allclose(made, logits, atol=NEAR, rtol=NEAR):
            after = network.after
            raise ValueError(
                f"after={after} must turn the output of the last layer of {self.name} into its "
                f"logits, {list(logits.shape)}, and gives {list(made.shape)}; name every module "
                "between the two, in order"
            )
