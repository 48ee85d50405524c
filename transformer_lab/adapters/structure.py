"""The structure of a Hugging Face model, from its modules: stacks of layers, and what each is."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from torch import Tensor, nn

from ..attention import Site
from .inline_attention import has_own_attention, heads_of, is_attention
from .module_lists import every_module, is_numbered, layers_of_stages, outermost_lists
from .network import AdapterError, Layer

PLAIN = (bool, int, float, str, type(None))
TOKENS = {"input_ids", "inputs_embeds"}
CROSS = (
    "encoder_attn",
    "encdecattention",
    "crossattention",
    "cross_attn",
    "cross_attention",
    "encoder_decoder",
)
# What a layer without attention is, by words in its parts' names: the first match.
WITHOUT = (
    (("delta", "lightning", "linearattention", "linear_attn"), "linear attention"),
    (("mamba", "ssm", "statespace"), "a state-space layer"),
    (("conv",), "a convolution"),
    (("recurrent", "rglru", "lstm", "rwkv"), "a recurrence"),
    (("mlp", "moe", "feedforward", "feed_forward", "experts"), "a feed-forward layer"),
)


def parameters_of(model: Any) -> frozenset[str]:
    """The names of the arguments of a model's forward."""
    forward = model.forward
    plain = getattr(forward, "__func__", None)  # a wrapper may put any callable in its place
    return frozenset(inspect.signature(forward).parameters) if plain is None else _taken_by(plain)


@lru_cache(1024)
def _taken_by(method: Any) -> frozenset[str]:
    return frozenset(list(inspect.signature(method).parameters)[1:])


def is_hugging_face(model: Any) -> bool:
    """Whether it is a transformers model, without importing transformers to ask."""
    return is_hugging_face_class(type(model))


@lru_cache(4096)
def is_hugging_face_class(found: type) -> bool:
    """Whether the instances of a class are transformers models."""
    return any(c.__name__ == "PreTrainedModel" for c in found.__mro__)


def mark_of(model: Any) -> tuple[Any, ...]:
    """Everything that a structure depends on, for comparison. It differs once a module was
    replaced, moved or wrapped, has another class or setting, or the config has changed."""
    modules = every_module(model)
    parts = [(id(m), type(m), *m._modules, id(vars(m).get("forward"))) for m in modules]
    # Most modules are torch's own leaves, which say nothing about attention.
    telling = [m for m in modules if m._modules or not type(m).__module__.startswith("torch.")]
    settings = [x for m in telling for x in vars(m).values() if type(x) in PLAIN]
    return parts, settings, _as_it_is(model.config)


def _as_it_is(value: Any) -> Any:
    """A snapshot of a config, or of one of its settings, that does not change with it."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, dict):
        return [(name, _as_it_is(x)) for name, x in value.items()]
    if isinstance(value, list | tuple | set):
        return [_as_it_is(x) for x in value]
    return _as_it_is(vars(value)) if hasattr(type(value), "to_dict") else repr(value)


def over_depth(module: nn.Module) -> bool:
    """Whether it attends to the outputs of earlier layers, not to tokens (Inkling 2)."""
    return "AttentionResidual" in type(module).__name__


def says_causal(module: nn.Module) -> bool:
    """Whether it is attention that declares whether it is causal."""
    # Called for every module at every trace: torch's `__getattr__` is slow to find nothing.
    says = "is_causal" in vars(module) or hasattr(type(module), "is_causal")
    return says and not over_depth(module)


@dataclass(eq=False)
class Stack:
    """A ModuleList of layers that hold one kind of self-attention. `first` is the number of its
    first layer among those of its kind, `n` the number of layers: more than blocks if layers are
    `shared` and run several times, and then they are numbered in the order in which they run. A
    block that attends several times (LongCat's) is `each` layers. `order`: which block each layer
    is, unless they just run one after the other."""

    kind: str
    path: str
    blocks: list[nn.Module]
    first: int = 0
    n: int = 0
    shared: bool = False
    each: int = 1
    order: Sequence[int] = ()

    def block_of(self, i: int) -> nn.Module:
        """The block of its layer i."""
        return self.blocks[self.order[i] if self.order else i // self.each % len(self.blocks)]

    @property
    def key(self) -> str:
        """What its layers are counted by: stacks that alternate (HRM's) are counted as one."""
        return f"every {self.kind}" if self.shared else self.path

    def has_stream(self, attention: Collection[nn.Module]) -> bool:
        """Whether each block is one whole layer: XLM lists attention and mlps separately."""
        return self.each == 1 and not any(block in attention for block in self.blocks)


class Structure:
    """A model's stacks, and the site of each attention module.

    Args:
        seen: a class of attention, and whether its tokens were seen to attend to earlier ones only;
            None: it is as the modules say.
        order: the block of each layer, in a model with one stack that runs some blocks several
            times; None: by the number of layers in its config.
    """

    def __init__(
        self, model: Any, seen: tuple[type, bool] | None = None, order: Sequence[int] | None = None
    ):
        self.model, self.order = model, order
        self.config = model.config
        self.both = bool(getattr(self.config, "is_encoder_decoder", False))
        self.names: dict[nn.Module, str] = {m: name for name, m in model.named_modules()}
        # Attention declares whether it is causal; in code where nothing does, it goes by its name.
        said = self._said = [m for m in self.names if says_causal(m)]
        own = {m for m in self.names if has_own_attention(m)}
        # A module that pools the layers' output (SigLIP) is in no layer, and has no number.
        named = {m for m in self.names if isinstance(m, nn.MultiheadAttention)} | own
        self.met: set[nn.Module] = set()  # attention outside the layers that a pass ran
        self.beside = {m for m in named if said and not is_numbered(self.names[m])}
        self.own = own - self.beside
        self.attention = said
        if self.own or not said:
            self.attention = [
                m
                for m in self.names
                if says_causal(m) or m in self.own or (not said and is_attention(m))
            ]
        self.says_causal = self.both or (bool(said) and not self.own)
        # Whether tokens attend to earlier ones only; a pass shows it if the modules do not say.
        self.seen = seen
        causal = any(m.is_causal is True for m in said) or (not said and self._told("is_decoder"))
        self.causal = bool(causal) if seen is None else seen[1]
        # Sites where a pass met attention without a pattern of tokens, and why it has none.
        self.unseen: dict[Site, str] = {}
        self._sites: dict[nn.Module, Site] = {}
        self._layers: dict[str, tuple[Layer, ...]] = {}
        # Attention settings of its configs -> those with which it calls the attention interface.
        self.sent: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def kept(self) -> Structure:
        """A copy that can be cached beside a weak reference to the model: it holds every module but
        the model itself, and nothing of a later pass."""
        for name in ("reads", "stacks", "stack_of", "apart", "attending"):
            getattr(self, name)  # cached properties, which are kept too
        names = {m: name for m, name in self.names.items() if m is not self.model}
        return self._twin(None, names)

    def again(self, model: Any) -> Structure:
        """The structure of the model that this copy was made for."""
        return self._twin(model, {model: "", **self.names})

    def _twin(self, model: Any, names: dict[nn.Module, str]) -> Structure:
        twin = copy.copy(self)
        twin.model, twin.names = model, names
        twin.met, twin.unseen = set(self.met), dict(self.unseen)  # from the pass that it took
        return twin  # the rest is shared

    def is_outdated(self) -> bool:
        """Whether the model has replaced some of these modules (BigBird does)."""
        now = list(self.model.modules())
        return len(now) != len(self.names) or any(m not in self.names for m in now)

    @cached_property
    def stacks(self) -> list[Stack]:
        found: list[Stack] = []
        other = [self.names[m] + "." for m in self.names if self._reads_something_else(m)]
        for path, blocks in outermost_lists(self.model).items():
            if path.startswith(tuple(other)):
                continue
            inside = [m for m in self.attention if self.names[m].startswith(path + ".")]
            kinds = {self.site_of(m).kind for m in inside} - {"cross"}
            if len(kinds) != 1:
                continue
            if self.reads == "pixel_values":
                blocks = layers_of_stages(blocks, set(inside))
            found.append(Stack(kinds.pop(), path, blocks, n=len(blocks)))
        found = self._of_text(found)
        if self.order is not None and len(found) == 1:
            found[0].shared, found[0].n, found[0].order = True, len(self.order), self.order
            return found
        for kind in {stack.kind for stack in found}:
            alone = [stack for stack in found if stack.kind == kind]
            layers = None if self.both else self.told_layers(kind)
            first, n_blocks = 0, sum(stack.n for stack in alone)
            for stack in alone:
                stack.first, first = first, first + stack.n
            if layers and layers > n_blocks and layers % n_blocks == 0:
                each = self._attentions_in(alone[0].blocks[0], kind)
                if len(alone) == 1 and each * n_blocks == layers:
                    alone[0].each, alone[0].n = each, layers
                    continue
                for stack in alone:
                    stack.shared, stack.first, stack.n = True, 0, 0
                alone[0].n = layers
        return found

    def _attentions_in(self, block: nn.Module, kind: str) -> int:
        """The number of self-attention modules in a block."""
        return len(self._inside(block, kind))

    def _inside(self, block: nn.Module, kind: str) -> list[nn.Module]:
        own = [m for m in block.modules() if m in self.attending and self.site_of(m).kind == kind]
        return [m for m in own if not any(n in own for n in m.modules() if n is not m)]

    def _of_text(self, stacks: list[Stack]) -> list[Stack]:
        """The stacks outside parts that read no tokens, and others with the same class of layers;
        not the tower whose output another part reads."""
        inner = [
            self.names[m] + "."
            for m in self.names
            if m is not self.model
            and is_hugging_face(m)
            and not TOKENS & parameters_of(m)
            and not (self.both and self._reads_what_the_model_reads(m))
        ]
        text = [stack for stack in stacks if not stack.path.startswith(tuple(inner))]
        classes = {type(block) for stack in text or stacks for block in stack.blocks}
        return [s for s in stacks if not classes.isdisjoint(map(type, s.blocks))]

    def _reads_something_else(self, module: Any) -> bool:
        """Whether it is a model inside this one for other inputs, such as an image tower."""
        if module is self.model or not is_hugging_face(module):
            return False
        if parameters_of(module) <= {
            "args",
            "kwargs",
        }:  # it passes its arguments on (Whisper's decoder)
            return False
        own, whole = _main_input(module), self.reads
        return own != whole and not (self.both and own == "input_ids")  # the decoder

    def _reads_what_the_model_reads(self, module: Any) -> bool:
        """Whether it reads the model's input in place of tokens: the encoder of images or of
        speech."""
        return _main_input(module) == self.reads != "input_ids"

    @cached_property
    def reads(self) -> str:
        """The name of the main input; in a model made of two, of its encoder's."""
        own = _main_input(self.model)
        return _main_input(self.model.get_encoder()) if own == "inputs" and self.both else own

    @cached_property
    def stack_of(self) -> dict[nn.Module, Stack]:
        """The stack of every attention module that is in one."""
        return {
            m: stack
            for stack in self.stacks
            for m in self.attention
            if self.names[m].startswith(stack.path + ".")
        }

    @cached_property
    def apart(self) -> dict[nn.Module, str]:
        """Attention of a model inside this one that reads an input other than the tokens -> the
        path of that model. It attends to no token, and its layers are not counted."""
        inner = [
            self.names[m]
            for m in self.names
            if m is not self.model
            and is_hugging_face(m)
            and (self._reads_something_else(m) or not TOKENS & parameters_of(m))
        ]
        if not self.stacks or not TOKENS & parameters_of(self.model):
            return {}
        found: dict[nn.Module, str] = {}
        for module in self.attention:
            where = [name for name in inner if self.names[module].startswith(f"{name}.")]
            if where and module not in self.stack_of:
                found[module] = where[0]
        return found

    def may_turn(self, stack: Stack, x: Tensor) -> bool:
        """Whether a stream may be [position, batch, d_model] though its shape cannot show it: in
        code of its own (XLNet's, FSMT's), when there are as many texts as positions."""
        alike = x.dim() == 3 and x.shape[0] == x.shape[1] > 1
        return alike and any(m in self.own for block in stack.blocks for m in block.modules())

    def place_of(self, module: nn.Module, stack: Stack) -> int:
        """The number of the layer that a module is in, where each runs once."""
        inside = [i for i, block in enumerate(stack.blocks) if module in set(block.modules())]
        return stack.first + inside[0] * stack.each

    def rank_of(self, module: nn.Module, stack: Stack) -> int:
        """The index of a module among the layers of its block."""
        if stack.each == 1:
            return 0
        block = next(block for block in stack.blocks if module in set(block.modules()))
        return self._inside(block, stack.kind).index(module)

    def site_of(self, module: nn.Module) -> Site:
        """The site of a module, by its path alone: the layer is the first number in it."""
        if module not in self._sites:
            self._sites[module] = self._site_of(module)
        return self._sites[module]

    def _site_of(self, module: nn.Module) -> Site:
        path = self.names.get(module, "").lower()
        layer = next((int(part) for part in path.split(".") if part.isdigit()), 0)
        if any(word in path for word in CROSS) or getattr(module, "is_cross_attention", False):
            return Site("cross", layer)
        if self.both:
            return Site("decoder" if "decoder." in path else "encoder", layer)
        if self.seen is not None and type(module) is self.seen[0]:
            return Site("decoder" if self.seen[1] else "encoder", layer)
        causal = getattr(module, "is_causal", self.causal and not self._said)
        return Site("decoder" if causal else "encoder", layer)

    @property
    def kinds(self) -> tuple[str, ...]:
        if self.both:
            return ("encoder", "decoder", "cross")
        return ("decoder",) if self.causal else ("encoder",)

    def of_kind(self, kind: str) -> list[Stack]:
        own = "decoder" if kind == "cross" else kind
        return [stack for stack in self.stacks if stack.kind == own]

    def blocks(self, kind: str) -> list[nn.Module]:
        return [block for stack in self.of_kind(kind) for block in stack.blocks]

    def layers(self, kind: str) -> tuple[Layer, ...]:
        """All layers of a kind, in order.

        Raises:
            AdapterError: if neither the modules nor the config say how many there are.
        """
        if kind not in self._layers:
            self._layers[kind] = self._layers_of(kind)
        return tuple(
            Layer(layer.number, 0, f"attention that could not be read: {self.unseen[site]}")
            if (site := Site(kind, layer.number)) in self.unseen
            else layer
            for layer in self._layers[kind]
        )

    def missing(self, kinds: Collection[str]) -> str:
        """Sentences on what a pass that showed attention of these kinds did not show, and why;
        empty if it showed all."""
        said = []
        if not self.attention and not kinds:
            return f"no module of {type(self.model).__name__} is an attention layer"
        for kind in self.kinds:
            why = [reason for site, reason in self.unseen.items() if site.kind == kind]
            if kind not in kinds:
                modules = [m for m in self.attention if self.site_of(m).kind == kind]
                names = ", ".join(sorted({type(m).__name__ for m in modules}))
                if not (names or why) and kind != "cross":
                    continue
                apart = (
                    f"{names} does not go through the attention interface"
                    if names
                    else "the model has no separate module for it"
                )
                reason = why[0] if why else apart
                said.append(
                    f"The {kind}'s attention is not shown"
                    if kind != "cross"
                    else "Cross-attention is not shown"
                )
                said[-1] += f": {reason}."
            elif why:
                numbers = [site.layer for site in self.unseen if site.kind == kind]
                layers = f"layer{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
                said.append(f"The attention of {layers} ({kind}) is not shown: {why[0]}.")
        for where in sorted({self.apart[m] for m in self.met if m in self.apart}):
            said.append(f"model.{where} attends to inputs other than the tokens, and is not shown.")
        for module in sorted(self.beside & self.met, key=self.names.__getitem__):
            name = f"{self.names[module]} ({type(module).__name__})"
            said.append(f"{name} attends outside the layers, and is not shown.")
        return " ".join(said)

    def _layers_of(self, kind: str) -> tuple[Layer, ...]:
        heads = self.told_heads(kind)
        stacks = self.of_kind(kind)
        if not stacks:
            n = self.told_layers(kind)
            if n is None:
                raise AdapterError(
                    f"the number of layers of {type(self.model).__name__} is not known"
                )
            return tuple(Layer(i, _of_layer(heads, i)) for i in range(n))
        n_layers = sum(stack.n for stack in stacks)
        of_stages = isinstance(heads, list | tuple) and len(heads) != n_layers
        telling = self.attending if of_stages else self.own
        layers = []
        for stack in stacks:
            for i in range(stack.n):
                block = stack.block_of(i)
                number = stack.first + i
                where = f"{stack.path}.{i}" if len(stacks) > 1 and not stack.shared else ""
                if self.attends(block, kind):
                    own = self._own_heads(block, kind, telling)
                    layers.append(Layer(number, own or _of_layer(heads, number), where=where))
                else:
                    layers.append(Layer(number, 0, *self.what_is(block), where))
        return tuple(layers)

    def attends(self, block: nn.Module, kind: str) -> bool:
        """Whether there is attention of this kind in a block."""
        own = [m for m in block.modules() if m in self.attending]
        return any((self.site_of(m).kind == "cross") == (kind == "cross") for m in own)

    @cached_property
    def attending(self) -> set[nn.Module]:
        return set(self.attention)

    def _own_heads(
        self, block: nn.Module, kind: str, attention: Collection[nn.Module]
    ) -> int | None:
        """The heads that attention with its own code states: ConvBERT has fewer than its config."""
        modules = [m for m in block.modules() if m in attention and self.site_of(m).kind == kind]
        return heads_of(modules[0]) if modules else None

    def what_is(self, block: nn.Module) -> tuple[str, str]:
        """(what it is, the class that does it) of a layer without attention."""
        family = str(getattr(self.config, "model_type", "")).replace("_", "").lower()
        parts = {}
        for name, child in block.named_children():
            kind = type(child).__name__.lower().removeprefix(family)
            if "norm" not in kind:
                parts[f"{name} {kind}".lower()] = type(child).__name__
        for words, what in WITHOUT:
            for part, by in parts.items():
                if any(word in part for word in words):
                    return what, by
        return f"a {type(block).__name__}", ""

    # -- what the config says ---------------------------------------------------------------------

    def told_layers(self, kind: str) -> int | None:
        side = "encoder" if kind == "encoder" else "decoder"
        names = [f"{side}_layers"]
        names += ["num_decoder_layers"] if side == "decoder" and self.both else []
        found = self._told(*names, "num_hidden_layers", **self._side(side))
        return found if isinstance(found, int) else None

    def told_heads(self, kind: str) -> Any:
        side = "encoder" if kind == "encoder" else "decoder"
        names = (f"{side}_attention_heads", "num_attention_heads", "num_query_heads")
        return self._told(*names, **self._side(side))

    def _side(self, side: str) -> dict[str, bool]:
        return {side: True} if self.both else {}

    def _told(self, *names: str, **side: bool) -> Any:
        """The first of these settings that the config has, or the config of its text model."""
        try:
            inner = self.config.get_text_config(**side)
        except (AttributeError, ValueError):  # several text models
            inner = self.config
        for config in (self.config, inner):
            for name in names:
                if getattr(config, name, None):
                    return getattr(config, name)
        return None


def _main_input(model: Any) -> str:
    return getattr(model, "main_input_name", "input_ids")


def _of_layer(heads: Any, layer: int) -> int | None:
    if isinstance(heads, list | tuple):
        return int(heads[layer]) if layer < len(heads) else None
    return heads if isinstance(heads, int) else None
