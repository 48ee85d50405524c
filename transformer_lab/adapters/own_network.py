"""The adapter for our own models, whose modules hold their taps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..attention import KINDS, AttentionCall, Tap
from ..blocks import Block
from ..model import Transformer
from .network import Inputs, Network, Output
from .patches import Patches


class OurNetwork(Network):
    """The adapter for a `Transformer`, a `Recurrent`, or a model on top of one.

    Args:
        module: a `Tapped` module.
    """

    @property
    def config(self) -> Any:
        return getattr(self.module, "config", None)

    @property
    def kinds(self) -> tuple[str, ...]:  # type: ignore[override]
        found = {module.site.kind for module in self.tapped()}
        return tuple(kind for kind in KINDS if kind in found)

    def heads(self, kind: str) -> Sequence[int | None]:
        own = [m for m in self.tapped() if m.site.kind == kind and not isinstance(m, Block)]
        found = [0] * (1 + max((m.site.layer for m in own), default=-1))
        for module in own:
            found[module.site.layer] = getattr(module, "n_heads", None) or self.config.n_heads
        return found

    @property
    def kind(self) -> str:
        return getattr(self.config, "kind", None) or super().kind

    @property
    def size(self) -> int:
        return getattr(self.config, "d_model", 0) * (getattr(self.config, "n_layers", None) or 1)

    @property
    def vocabulary(self) -> tuple[int | None, int | None]:
        size = getattr(self.config, "vocab_size", None)
        return size, getattr(self.config, "target_vocab_size", None) or size

    @property
    def has_head(self) -> bool:
        return bool(getattr(self.config, "head", True))

    @property
    def has_classes(self) -> bool:
        return hasattr(self.module, "check_pixels")

    @property
    def transformer(self) -> Any:
        return self.module if isinstance(self.module, Transformer) else None

    def tapped(self) -> Iterator[Any]:
        return self.module.tapped()

    # -- one pass -------------------------------------------------------------------------------

    def run(self, inputs: Inputs) -> Output:
        if inputs.tokens is None:
            return Output(answers=self.module(**inputs.given))
        output = self.module(inputs.tokens, inputs.target, **_masks(inputs))
        if self.has_head:
            return Output(logits=output)
        # A model on top of an encoder (a Classifier) has no hidden() of its own, and answers.
        states = hasattr(self.module, "hidden")
        return Output(states=output) if states else Output(answers=output)

    def hidden(self, inputs: Inputs) -> Tensor | None:
        if not hasattr(self.module, "hidden"):
            return None
        return self.module.hidden(inputs.tokens, inputs.target, **_masks(inputs))

    def logits(self, hidden: Tensor) -> Tensor:
        return self.module.logits(hidden)

    def more_inputs(self, tokens: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        if not hasattr(self.module, "check_pixels"):
            return super().more_inputs(tokens, given)
        if tokens is not None or set(given) != {"pixel_values"}:
            raise ValueError(f"a {self.name} reads images: give pixel_values alone")
        pixels = given["pixel_values"]
        if isinstance(pixels, Tensor) and pixels.dim() == 3:
            pixels = pixels[None]
        self.module.check_pixels(pixels)
        if not bool(pixels.isfinite().all()):
            raise ValueError("pixel_values must hold finite numbers only, got NaN or infinity")
        return {"pixel_values": pixels.to(self.device)}

    def patches(self, inputs: Inputs) -> Patches | None:
        if inputs.tokens is not None:
            return None
        return Patches(self.config.rows, self.config.columns, before=("[CLS]",))

    def n_positions(self, inputs: Inputs) -> int:
        found = self.patches(inputs)
        return (
            super().n_positions(inputs) if found is None else len(inputs.first) * len(found.labels)
        )

    def in_copies(self, tap: Tap, inputs: Inputs) -> bool | None:
        # Edits of the user's own may hold tensors for the batch as it is.
        return all(other is tap for module in self.tapped() for other in module.taps)

    # -- its parts ------------------------------------------------------------------------------

    def blocks(self, kind: str | None = None) -> list[nn.Module]:
        own = "decoder" if kind == "cross" else kind
        found = [m for m in self.tapped() if isinstance(m, Block)]
        return [m for m in found if own in (None, m.site.kind)]

    def output_weight(self, call: AttentionCall) -> Tensor | None:
        out = getattr(call.module, "out", None)
        return out.weight.detach().T if isinstance(out, nn.Linear) else None

    @property
    def logit_softcap(self) -> float | None:
        return getattr(self.config, "logit_softcap", None)

    def after_blocks(self, kind: str, inputs: Inputs) -> Callable[[Tensor], Tensor] | None:
        model = self.transformer
        if model is None:
            return None
        stack = model.decoder if kind == "decoder" else model.encoder
        return lambda x: model.logits(stack.norm(x))

    def refuses_stream(self, names: Sequence[str], kind: str) -> str:
        blocks: list[Any] = self.blocks(kind)
        if not blocks:
            return f"a {self.name} has no blocks with a residual stream"
        if "mlp_out" in names and blocks[0].feed_forward is None:
            return "this model is attention only and has no mlp"
        if "gates" in names and not any(hasattr(b.feed_forward, "gates") for b in blocks):
            return "its mlp has no experts; skip it whole, without expert="
        return ""

    # -- the whole ------------------------------------------------------------------------------

    @property
    def n_ctx(self) -> int | None:
        return getattr(self.config, "n_ctx", None)

    def untrained(self) -> Any:
        return type(self.module)(copy.deepcopy(self.config))

    def save(self, folder: str | Path, ours: Callable[..., Any], **options: Any) -> None:
        ours(self.module, folder, **options)

    def write(
        self, tokens: Tensor, most: int, *, bos_id: int | None, eos_id: int | None, **options: Any
    ) -> list[int]:
        from ..writing import generate

        both = self.kind == "encoder-decoder"
        written = options.get("written")
        start = tokens.shape[1] if not both else 1 if written is None else written.shape[1]
        room = self.config.n_ctx - start + 1
        new = generate(
            self.module,
            tokens,
            max_new_tokens=min(most, room),
            bos_id=bos_id if both else None,
            eos_id=eos_id,
            **options,
        )
        return new[0].tolist()


def _masks(inputs: Inputs) -> dict[str, Tensor]:
    given = dict(mask=inputs.mask, target_mask=inputs.target_mask)
    return {name: x for name, x in given.items() if x is not None}
