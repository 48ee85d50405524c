"""`Network`: the adapter through which everything traces, edits or sweeps a model.

Only `adapters` tells our models, Hugging Face's and a user's own apart: other code calls
`network_of` (in `adapters.lookup`) and gets one of these.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..attention import AttentionCall, Site, Tap, Tapped
from .hooks import copy_with_edits
from .interrupts import sheltered
from .linear import device_of
from .module_lists import every_module
from .parts import MeasuredParts
from .patches import Patches
from .sources import Parts
from .vector_probe import VectorProbe

NEEDS_TARGET = (
    "{name} is an encoder-decoder and needs target, the ids that its decoder reads, got target=None"
)
REQUIRED = ("heads", "tapped", "run")  # and kinds, and module


class AdapterError(Exception):
    """The model does not use the attention interface, or needs what it does not support."""


class ChangedError(AdapterError):
    """The model replaced some of its modules during this pass; the next pass is valid."""


@dataclass(frozen=True)
class Inputs:
    """What a model reads: ids [batch, position] on its device, masks bool (True: real).

    `given` holds all other inputs, under the model's own names (pixel_values, image_grid_thw,
    input_features …). A model that reads images has these alone: its `tokens` are None.
    """

    tokens: Any = None
    target: Tensor | None = None
    mask: Tensor | None = None
    target_mask: Tensor | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def first(self) -> Tensor:
        """A tensor with the batch's size and device."""
        if self.tokens is not None:
            return self.tokens
        return next(x for x in self.given.values() if isinstance(x, Tensor))

    @property
    def output_mask(self) -> Tensor | None:
        return self.mask if self.target is None else self.target_mask

    @property
    def n_outputs(self) -> int:
        """The number of predictions for a text; an image has one answer."""
        read = self.tokens if self.target is None else self.target
        return 1 if read is None else read.shape[1]

    def copies(self, n: int) -> Inputs:
        """The batch repeated n times."""
        again = {name: _repeated(x, n) for name, x in vars(self).items() if name != "given"}
        return Inputs(**again, given={name: _repeated(x, n) for name, x in self.given.items()})


def _repeated(x: Any, n: int) -> Any:
    return x.repeat(n, *[1] * (x.dim() - 1)) if isinstance(x, Tensor) else x


class Output(NamedTuple):
    """The output of a pass: `logits` of tokens, [batch, position, vocab]; or for a model that predicts
    no tokens the final `states`, [batch, position, d_model], or `answers`, such as classes."""

    logits: Tensor | None = None
    states: Tensor | None = None
    answers: Tensor | None = None


@dataclass(frozen=True)
class Layer:
    """One layer of a kind. `number` counts from 0; `heads` is 0 if it has none, and None if their
    number is unknown; `what` says what it is ("a convolution"), `by` names the class that does it,
    and `where` its module, if a model has several stacks of one kind."""

    number: int
    heads: int | None
    what: str = "attention"
    by: str = ""
    where: str = ""

    @property
    def label(self) -> str:
        """ "layer 2: convolution, no heads" """
        name = f"layer {self.number} ({self.where})" if self.where else f"layer {self.number}"
        if self.heads == 0:
            short = self.what.removeprefix("a ").removeprefix("an ")
            return f"{name}: {short}, no heads"
        count = "attention" if self.heads is None else f"{self.heads} heads"
        return f"{name}: {count}"


def no_heads(layer: Layer, layers: Sequence[Layer]) -> str:
    """A message that a layer has no heads, with what it is and which layers have some."""
    by = f" ({layer.by})" if layer.by else ""
    having = ", ".join(str(other.number) for other in layers if other.heads != 0)
    where = f"heads are in layers {having}" if having else "no layer of this model has known heads"
    return f"layer={layer.number} has no heads: it is {layer.what}{by}; {where}"


class Network(Tapped):
    """The adapter of a model. For a model of your own, define four things, and `tl.trace`, `tl.edit`, the
    sweeps and the views do the rest:

    `kinds`: its kinds of attention, among "encoder", "decoder" and "cross".
    `heads(kind)`: the number of heads of each layer, a list; 0 for a layer without attention.
    `tapped()`: the modules that hold `taps`, a tuple which they pass to `tl.attend` as `tap`, with
    their `site` (`tl.Site(kind, layer)`).
    `run(inputs)`: one pass over `Inputs`; returns an `Output`.

    Define more (blocks, W_O, the path from the stream to the logits) and more becomes possible; each
    of the other methods says what is lost without it.

    Args:
        module: the model, a torch module.
    """

    kinds: tuple[str, ...] = ()

    def __init__(self, module: nn.Module):
        self.module: Any = module

    # -- what it is -----------------------------------------------------------------------------

    def heads(self, kind: str) -> Sequence[int | None]:
        raise NotImplementedError

    def layers(self, kind: str) -> tuple[Layer, ...]:
        """All layers of a kind, in order, with the numbers that traces and edits use."""
        return tuple(Layer(i, n) for i, n in enumerate(self.heads(kind)))

    def n_heads(self, kind: str) -> int | None:
        """The number of heads in the layer with the most; None if unknown."""
        found = [n for n in self.heads(kind) if n is not None]
        return max(found, default=None)

    @property
    def kind(self) -> str:
        """ "encoder", "decoder" or "encoder-decoder"."""
        if "encoder" in self.kinds and "decoder" in self.kinds:
            return "encoder-decoder"
        return "decoder" if "decoder" in self.kinds or not self.kinds else "encoder"

    @property
    def name(self) -> str:
        return type(self.module).__name__

    @property
    def size(self) -> int:
        """The numbers in one token's residual stream, over all layers."""
        return 0

    @property
    def vocabulary(self) -> tuple[int | None, int | None]:
        """How many tokens there are to read and, for an encoder-decoder, on the target's side; None
        if unknown, and then no id is refused."""
        return None, None

    @property
    def has_head(self) -> bool:
        """Whether a pass predicts tokens."""
        return True

    @property
    def has_classes(self) -> bool:
        """Whether a pass predicts classes: its answers are [batch, class]."""
        return False

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """Height and width in pixels of the images that it reads; None if it reads none, or does
        not say."""
        return None

    @property
    def transformer(self) -> Any:
        """Our `Transformer`, every weight of which is known by name; None for other models.
        Analyses that read weights (circuits, positions) need it."""
        return None

    # -- one pass -------------------------------------------------------------------------------

    def run(self, inputs: Inputs) -> Output:
        """One forward pass."""
        raise NotImplementedError

    def hidden(self, inputs: Inputs) -> Tensor | None:
        """The final states alone, [batch, position, d_model], which `logits` turns into logits;
        None if a pass cannot be split there."""
        return None

    def logits(self, hidden: Tensor) -> Tensor:
        """The rest of a pass: […, d_model] -> […, vocab]."""
        raise NotImplementedError

    def check(self, inputs: Inputs) -> None:
        """Check inputs before a pass.

        Raises:
            ValueError: for inputs that the model cannot read.
        """
        if self.kind == "encoder-decoder" and inputs.target is None:
            raise ValueError(NEEDS_TARGET.format(name=self.name))

    def more_inputs(self, tokens: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """Check the inputs beside (or instead of) tokens, and return them as the model takes them.

        Raises:
            ValueError: for inputs that the model does not read, and for tokens if it reads none.
        """
        if given:
            raise ValueError(
                f"{self.name} reads token ids alone; leave out {', '.join(sorted(given))}"
            )
        return {}

    def patches(self, inputs: Inputs) -> Patches | None:
        """The positions of an image's patches; None if there are none, or they are unknown."""
        return None

    def picture(self, inputs: Inputs) -> Tensor | None:
        """The pixels [channel, height, width] of the one image that is read; None if there is no
        such image, or it is unknown how its patches lie."""
        pixels = inputs.given.get("pixel_values")
        if not isinstance(pixels, Tensor) or pixels.dim() != 4 or len(pixels) != 1:
            return None
        return pixels[0]

    def pictured(self, inputs: Inputs) -> Tensor | None:
        """Bool [batch, position]: the tokens that stand for parts of an image; None if none do."""
        return None

    def heard(self, inputs: Inputs) -> list[str] | None:
        """The time of each of the encoder's positions, such as "0.02 s"; None without audio."""
        return None

    def n_positions(self, inputs: Inputs) -> int:
        """The number of positions in a pass, over the batch."""
        read = (inputs.tokens, inputs.target)
        return sum(x.numel() for x in read if x is not None)

    def in_copies(self, tap: Tap, inputs: Inputs) -> bool | None:
        """Whether a batch repeated n times gives the same rows n times while this tap is on it, so
        that several edits may share a pass; None if a sweep has to try."""
        return False

    def edited_beside(self, tap: Tap) -> bool:
        """Whether other taps on the model may change a pass."""
        return edits_among(tap, (other for module in self.tapped() for other in module.taps))

    @property
    def numbers_per_token(self) -> int:
        """Roughly how many numbers per token a pass holds at once, for a sweep to keep to its
        budget."""
        config = self.module.config
        return 4 * getattr(config, "d_ff", config.d_model) + 8 * config.d_model

    @contextmanager
    def predicting_at(self, places: Tensor) -> Iterator[None]:
        """While open, `run` may return logits at these positions only, [batch, len(places), vocab],
        to save the rest."""
        yield

    def own_maps(self, inputs: Inputs) -> tuple[Output, dict[str, dict[int, Tensor]]]:
        """The model's own attention patterns, for one that does not use the attention interface:
        kind -> layer -> [batch, head, query, key].

        Raises:
            AdapterError: if it returns none.
        """
        raise AdapterError("it made no call to it")

    def remarks(self, inputs: Inputs) -> str:
        """Sentences on what a pass over these inputs does that is not obvious; empty if nothing."""
        return ""

    def missing(self, kinds: Collection[str]) -> str:
        """A sentence on what a pass that showed attention of these kinds did not show, and why;
        empty if it showed all."""
        return ""

    # -- its parts ------------------------------------------------------------------------------

    def blocks(self, kind: str | None = None) -> list[nn.Module]:
        """The modules of the layers of a kind (None: of all). If none are known, a sweep begins
        every pass at the first layer, and the stream is not recorded."""
        return []

    def apart(self) -> set[nn.Module]:
        """Modules of a model inside it that reads something other than its tokens, and so does not
        belong to its stream."""
        return set()

    def output_weight(self, call: AttentionCall) -> Tensor | None:
        """W_O [head · d_head, d_model] of the layer that made this call; None if unknown, and then
        values are reported without it."""
        return None

    def stands_between(self, site: Site) -> bool:
        """Whether there is a gate or a norm between the heads' output and `output_weight`, so that
        what a key adds to the stream is not just its value times that."""
        return False

    def parts(self, inputs: Inputs) -> Parts:
        """The queries, keys and logits of one text (a batch of one) as sums over the writers into
        the stream. This measures them on the modules in and around `blocks`, with every norm
        frozen; it raises a `PartsError` if there are none, or if the parts do not sum to what the
        model computed, and then no score or logit is split by source."""
        return MeasuredParts(self, inputs)

    def alone(self) -> VectorProbe:
        """A probe of its heads with vectors that are alone in the stream, from which circuits are
        read. It runs the modules in `blocks` on texts of one token, with all but the requested
        one zeroed; it raises a `PartsError` if they are unknown, and then there are no circuits.
        """
        return VectorProbe(self, Inputs)

    @property
    def logit_softcap(self) -> float | None:
        """The cap if logits are cap · tanh(logits / cap) of a linear head's; None without one. If a
        cap is not reported, the parts of a logit do not sum to it, and are refused."""
        return None

    def after_blocks(self, kind: str, inputs: Inputs) -> Callable[[Tensor], Tensor] | None:
        """The function from streams [..., d_model] after the last block to logits [..., vocab];
        None if unknown. `inputs` are some that the model reads."""
        return None

    # -- taps -----------------------------------------------------------------------------------

    @sheltered
    def tapping(self, tap: Tap) -> Iterator[None]:
        """Put the tap on the model while this is open.

        Raises:
            AdapterError: if the model's attention cannot be routed through the attention interface.
        """
        self.add_tap(tap)
        try:
            yield
        finally:
            self.remove_tap(tap)

    def pass_now(self) -> Any:
        """What `resumed` needs to know of this thread's pass."""
        return None

    def resumed(self, state: Any) -> AbstractContextManager[None]:
        """While open, what this thread recomputes for gradient checkpointing belongs to the pass
        that was in this state."""
        return nullcontext()

    @contextmanager
    def watching_stream(self, tap: Tap) -> Iterator[None]:
        """Let a tap that is on the model see the residual stream, if that needs more hooks."""
        yield

    @contextmanager
    def changing_stream(
        self, tap: Tap, names: Sequence[str], kind: str, layer: int | None
    ) -> Iterator[None]:
        """Let a tap that is on the model change these points of the stream while this is open.

        Raises:
            AdapterError: if they cannot be found.
        """
        yield

    def refuses_stream(self, names: Sequence[str], kind: str) -> str:
        """The reason why these points of the stream cannot be changed; empty if they can, as far as
        is known before a pass."""
        return f"the residual stream of a {self.name} cannot be read"

    # -- the whole ------------------------------------------------------------------------------

    def evaluated(self) -> Network:
        """The network in evaluation mode. One with some module in training is left as it is, and a
        network of a copy is returned. Edits in force hold for the copy too. If the model itself is
        in evaluation mode, the copy shares its weights."""
        if not any(module.training for module in every_module(self.module)):
            return self
        weights = (
            () if self.module.training else (*self.module.parameters(), *self.module.buffers())
        )
        twin = copy.copy(self)
        twin.module = copy_with_edits(self.module, {id(x): x for x in weights}).eval()
        return twin

    @property
    def device(self) -> torch.device:
        return device_of(self.module)

    def save(self, folder: str | Path, ours: Callable[..., Any], **options: Any) -> None:
        """Write the model's folder; `ours` writes a model of this package."""
        raise ValueError(f"a {self.name} cannot be saved yet; write `save` of its tl.Network")

    def write(
        self, tokens: Tensor, most: int, *, bos_id: int | None, eos_id: int | None, **options: Any
    ) -> list[int]:
        """Token ids that the model generates after `tokens` [1, position], or as their target.

        Options: `sampling`, whose `take` draws the next tokens from logits; `written` [1,
        position], the target so far; `cached`, False for a pass over the whole text each time.
        """
        raise ValueError(f"a {self.name} cannot generate text yet; write `write` of its tl.Network")

    @property
    def n_ctx(self) -> int | None:
        """The longest text, in tokens; None if there is no limit."""
        return None

    def untrained(self) -> Any:
        """The same architecture with new weights from torch's random state, as a model or a
        network; None if it is unknown how to draw them."""
        return None


def unreadable(names: Iterable[str]) -> str:
    """Why one of these points of the stream cannot be read in a model not ours; "" if all can."""
    if "resid_mid" in names:
        return "the middle of its layers cannot be read; what attention adds can (attn_out)"
    if "gates" in names:
        return "its experts cannot be told apart; skip its whole mlp, without expert="
    return ""


def edits_among(tap: Tap, taps: Iterable[Tap]) -> bool:
    """Whether a tap other than this one may change a pass."""
    return any(other is not tap and not other.records for other in taps)


def lacking(model: Any) -> list[str]:
    """The required members of a network that this object does not define."""
    plain = {**vars(Tapped), **vars(Network)}
    missing = [
        f"{name}()" for name in REQUIRED if getattr(type(model), name, plain[name]) is plain[name]
    ]
    if not getattr(model, "kinds", ()):
        missing.insert(0, "kinds")
    if not isinstance(getattr(model, "module", None), nn.Module):
        missing.insert(0, "module")
    return missing
