"""Trace and edit any Hugging Face model through the attention interface.

transformers lets a function be registered as an attention implementation. Ours calls `attend`, so
it receives the queries and keys (after rotary positions) of every attention layer of any
architecture, and can record and edit them with no code for the architecture.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..attention import Site, Tap
from . import attention_function
from .attention_function import ADDITIVE, NAME
from .checkpointing import computing_again
from .hooks import SESSION, Hook, claim, hook, release, remove_all
from .inline_attention import Watching
from .interrupts import sheltered
from .linear import weight_of
from .network import AdapterError
from .settings import Settings, quiet
from .structure import Stack, Structure, is_hugging_face
from .windows import Following, Windows

TOKENS = {
    "encoder": ("input_ids", "inputs_embeds"),
    "decoder": ("decoder_input_ids", "decoder_inputs_embeds"),
}
OUT_NAMES = (
    "o_proj",
    "out_proj",
    "c_proj",
    "out_lin",
    "dense",
    "o",
    "output.dense",
    "out",
    "post_proj",
    "attention_out",
)
CACHES = ("cache", "past_key_values")
BETWEEN = "lambda_q1"  # marks heads that are subtracted from each other before W_O (DiffLlama)
_lock = threading.RLock()


class Session:
    """The hooks and the state of a model while taps are on it."""

    def __init__(self, model: Any, structure: Structure | None = None):
        self.taps: tuple[Tap, ...] = ()
        self.width = getattr(model.config, "hidden_size", None)  # of the residual stream
        self.structure = structure or Structure(model)
        self.settings = Settings(self.structure.names)
        self.passes: dict[int, _Pass] = {}  # by thread
        self.hooks: list[Hook] = []
        self.following = Following(self.structure, self._is_watched)

    def open(self) -> None:
        """Register the hooks."""
        models = [m for m in self.structure.names if is_hugging_face(m)]
        self.hooks += [hook(m, self._begin, before=True, with_kwargs=True) for m in models]
        self.hooks += [
            hook(block, partial(self._enter, stack=stack, index=i), before=True)
            for stack in self.structure.stacks
            for i, block in enumerate(stack.blocks)
        ]
        for module in self.structure.beside | self.structure.own.intersection(self.structure.apart):
            self.hooks.append(hook(module, self._meet, before=True))
        self.hooks += self.following.hooks()
        for module in self.structure.own.difference(self.structure.apart):
            self.hooks.append(hook(module, self._watch, before=True))
            self.hooks.append(hook(module, self._watched, always_call=True))
        for module in self.structure.names:
            module.__dict__[SESSION] = self
            claim(module)

    def close(self) -> None:
        for module in self.structure.names:
            module.__dict__.pop(SESSION, None)
            release(module)
        remove_all(self.hooks)
        self.settings.restore()

    def config_of_copies(self, config: Any) -> Any:
        """The config that a copy of the model has in place of this one."""
        return self.settings.of_copies(config)

    def _is_watched(self) -> bool:
        return bool(self.taps)

    def _meet(self, module: Any, args: Any) -> None:
        self.structure.met.add(module)

    def _watch(self, module: Any, args: Any) -> None:
        """Start watching a module that computes attention in its own code."""
        if self.taps:
            side = "encoder" if self.structure.site_of(module).kind == "encoder" else "decoder"
            n_tokens = self.now.n_tokens.get(side)
            watching = Watching(module, self.taps, n_tokens, partial(self._place, module))
            self.now.watching.append(watching)
            watching.__enter__()

    def _place(self, module: nn.Module, n_query: int) -> tuple[Site, int | None, Windows | None]:
        """The site of a call, the text position of its first query and the windows of an image that
        it attends in, the last two None if unknown."""
        site = self.next_site(module)
        end = self.end_of(site, n_query)
        windows = self.following.windows_of(module, n_query, n_query)
        return site, None if end is None else end - n_query, windows

    def _watched(self, module: Any, args: Any, output: Any) -> None:
        """Stop watching it; also after it failed, when there is no output."""
        running = self.now.watching
        if running and running[-1].module is module:
            watching = running.pop()
            watching.__exit__(None, None, None)
            stack = self.structure.stack_of.get(module)
            site = self.structure.site_of(module)
            site = site if stack is None else self._site_in(stack, module)
            self.structure.unseen.pop(site, None)
            if output is not None and (why := watching.finish()):
                self.structure.unseen[site] = why

    def _begin(self, model: Any, args: tuple, kwargs: dict[str, Any] | None = None) -> None:
        """Reset this thread's state before a forward pass."""
        kwargs = kwargs or {}  # torch omits them if another thread removes its hooks at this moment
        n_tokens = _n_tokens(model, args, kwargs)
        self.passes[threading.get_ident()] = _Pass(n_tokens, _n_before(kwargs))

    def _enter(self, block: Any, args: Any, *, stack: Stack, index: int) -> None:
        """Note that a layer starts; calls until the next one starts belong to it."""
        if computing_again():
            return
        now = self.now
        turn = now.turns.get(block, 0)
        now.turns[block] = turn + 1
        now.entered[stack.key] = entered = now.entered.get(stack.key, -1) + 1
        if turn:
            now.repeated.add(block)
        layer = entered if stack.shared else (index + turn * len(stack.blocks)) * stack.each
        now.layers[stack.path] = stack.first + layer
        now.called.clear()

    @property
    def now(self) -> _Pass:
        """This thread's pass."""
        thread = threading.get_ident()
        found = self.passes.get(thread)
        if found is None:
            found = self.passes[thread] = _Pass({}, None)
        return found

    def layer_of(self, stack: Stack, inside: nn.Module | None = None) -> int:
        """The number of the layer that this thread is in. It is that of the module `inside` where a
        checkpointed layer is recomputed, or runs without being called (SqueezeBERT's).

        Raises:
            AdapterError: if a checkpointed module is used in several layers.
        """
        found = self.now.layers.get(stack.path)
        again = inside is not None and computing_again()
        if inside is None or (found is not None and not again):
            return stack.first if found is None else found
        layer = self.structure.place_of(inside, stack)
        if again and (
            stack.shared or stack.blocks[(layer - stack.first) // stack.each] in self.now.repeated
        ):
            raise AdapterError(
                f"{type(inside).__name__} is used in several layers, and with gradient "
                "checkpointing it is not known in which of them it is computed again"
            )
        return layer

    def _site_in(self, stack: Stack, module: nn.Module) -> Site:
        """The current site of a module of this stack."""
        layer = self.layer_of(stack, module) + self.structure.rank_of(module, stack)
        return Site(self.structure.site_of(module).kind, layer)

    def next_site(
        self, module: nn.Module, query: Tensor | None = None, key: Tensor | None = None
    ) -> Site:
        """The site of this call, in the layer of the block that it comes from.

        Raises:
            AdapterError: for a second call of one kind in one layer, whose heads cannot be told
                apart, unless it has the very same queries and keys (DiffLlama): that is another
                part of z.
        """
        now, own = self.now, self.structure.site_of(module)
        stack = self.structure.stack_of.get(module)
        if stack is None:
            if computing_again():
                return own
            turn = now.turns[module] = now.turns.get(module, -1) + 1
            if turn == 0:
                return own
            alike = sum(type(m) is type(module) for m in self.structure.names)
            return Site(own.kind, own.layer + turn * alike)
        site = self._site_in(stack, module)
        before = now.called.get(site)
        if before is not None and before.again(query, key):
            return site
        if before is not None and not computing_again():
            raise AdapterError(
                f"{type(module).__name__} attends more than once in layer {site.layer}, so its "
                "heads cannot be told apart"
            )
        now.called[site] = _Called(query, key)
        return site

    def part_at(self, site: Site) -> int:
        """The index of the part of z that the last call at a site computes."""
        found = self.now.called.get(site)
        return 0 if found is None else found.part

    def end_of(self, site: Site, n_query: int) -> int | None:
        """The text position after a call's last query; None without a cache, or if the model adds
        positions of its own to the text."""
        now = self.now
        n_tokens = now.n_tokens.get("decoder")
        if site.kind == "encoder" or now.n_before is None or n_tokens is None:
            return None
        end = now.n_before + n_tokens
        return end if n_query <= end else None


class _Pass:
    """The progress of one thread through a forward pass. `n_tokens`: the number of tokens that each
    side reads; `n_before`: the number in its cache, None without one."""

    def __init__(self, n_tokens: dict[str, int | None], n_before: int | None):
        self.n_tokens, self.n_before = n_tokens, n_before
        self.turns: dict[nn.Module, int] = {}
        self.repeated: set[nn.Module] = set()  # blocks that ran more than once
        # Keyed by the stack's path, which a copy of a tapped model has too.
        self.entered: dict[str, int] = {}
        self.layers: dict[str, int] = {}
        self.called: dict[Site, _Called] = {}  # in this layer
        self.watching: list[Watching] = []


class _Called:
    """A call at a site: its queries and keys, and how often it was repeated."""

    def __init__(self, query: Tensor | None, key: Tensor | None):
        self.part = 0
        self.given = [None if x is None else weakref.ref(x) for x in (query, key)]

    def again(self, query: Tensor | None, key: Tensor | None) -> bool:
        """Whether a call has the same queries and keys; if so, count it."""
        pairs = zip(self.given, (query, key), strict=True)
        same = all(ref is not None and x is not None and ref() is x for ref, x in pairs)
        self.part += same
        return same


def _n_before(kwargs: dict[str, Any]) -> int | None:
    cache = next((kwargs[n] for n in CACHES if kwargs.get(n) is not None), None)
    length = getattr(cache, "get_seq_length", None)
    return None if length is None else int(length())


def _n_tokens(model: Any, args: tuple, kwargs: dict[str, Any]) -> dict[str, int | None]:
    """The number of tokens that the encoder and the decoder read; None if unknown."""
    found: dict[str, int | None] = {}
    for side, names in TOKENS.items():
        tokens = next((kwargs[n] for n in names if kwargs.get(n) is not None), None)
        if tokens is None and args and side == "encoder" and model.main_input_name == "input_ids":
            tokens = args[0]
        found[side] = found.get("encoder")
        if isinstance(tokens, Tensor) and tokens.dim() in (2, 3):  # an image has 4
            found[side] = tokens.shape[1]
    return found


def add_tap(model: Any, tap: Tap, structure: Structure | None = None) -> None:
    """Route the model's attention through the attention interface, with this tap on it. `structure`
    is the model's, if it is already known.

    Raises:
        AdapterError: if the model does not allow that.
    """
    with _lock:
        session: Session = model.__dict__.get(SESSION) or _open(model, structure)
        session.taps = tuple(sorted((*session.taps, tap), key=lambda t: t.records))


def remove_tap(model: Any, tap: Tap) -> None:
    """Remove the tap; removing the last one restores the model's own attention setting."""
    with _lock:
        session = model.__dict__.get(SESSION)
        if session is None:
            return
        session.taps = tuple(t for t in session.taps if t is not tap)
        if not session.taps:
            session.close()


def pass_of(model: Any) -> Any:
    """The state of this thread's pass of a model that is tapped, for `resumed`."""
    session = model.__dict__.get(SESSION)
    return None if session is None else session.now


@sheltered
def resumed(model: Any, state: Any) -> Iterator[None]:
    """While open, a layer that this thread recomputes belongs to an earlier pass."""
    passes = model.__dict__[SESSION].passes if state is not None else {}
    thread = threading.get_ident()
    before = passes.get(thread)
    passes[thread] = state
    try:
        yield
    finally:
        passes.update({thread: before}) if before is not None else passes.pop(thread, None)


@sheltered
def tapping(model: Any, tap: Tap, structure: Structure | None = None) -> Iterator[None]:
    """Put the tap on the model while this is open.

    Raises:
        AdapterError: as `add_tap`.
    """
    add_tap(model, tap, structure)
    try:
        yield
    finally:
        remove_tap(model, tap)


def _open(model: Any, structure: Structure | None) -> Session:
    session = Session(model, structure)
    try:
        session.open()
        _send(model, session)
    except BaseException:
        session.close()
        raise
    return session


def _send(model: Any, session: Session) -> None:
    """Make every attention layer call `attention_function.attention`.

    Raises:
        AdapterError: if the model does not allow that.
    """
    settings, sent = session.settings, session.structure.sent
    before = settings.before
    if before in sent:  # transformers accepted it before, and walks through every module to check
        return settings.set_to(sent[before])
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask, sdpa_mask

    for name, mask in ((NAME, sdpa_mask), (ADDITIVE, eager_mask)):
        AttentionInterface.register(name, attention_function.attention)
        AttentionMaskInterface.register(name, mask)
    # A model without SDPA support, or with attention in its own code, may do arithmetic on its
    # mask, or leave causality to it.
    promised = all(m._supports_sdpa for m in session.structure.names if is_hugging_face(m))
    wanted = NAME if promised and not session.structure.own else ADDITIVE
    with quiet():
        try:
            model.set_attn_implementation(wanted)
        except (ValueError, ImportError, AttributeError) as error:
            raise AdapterError(str(error)) from error
    if model.config._attn_implementation != wanted and not session.structure.own:
        names = sorted({type(m).__name__ for m in session.structure.attention})
        raise AdapterError(
            f"no softmax over keys was found in its {', '.join(names)}"
            if names
            else f"no attention was found in {type(model).__name__}"
        )
    settings.extend((NAME, ADDITIVE))
    sent[before] = settings.now


@sheltered
def watching_blocks(model: Any, tap: Tap) -> Iterator[None]:
    """While open, the tap's on_stream sees resid_pre and resid_post of every layer.

    The layers themselves are hooked (no architecture is named); the hooks are removed on exit
    and see only the thread that opened them.
    """
    session: Session = model.__dict__[SESSION]
    owner, hooks = threading.get_ident(), []

    def see(stack: Stack, args: tuple, kwargs: dict, output: Any) -> None:
        if threading.get_ident() != owner:
            return
        site = Site(stack.kind, session.layer_of(stack))
        before = args[0] if args else kwargs.get("hidden_states")
        after = output[0] if isinstance(output, tuple) else output
        for name, x in (("resid_pre", before), ("resid_post", after)):
            if not isinstance(x, Tensor) or x.dim() != 3:
                continue
            if not session.structure.may_turn(stack, x):
                tap.on_stream(name, site, x)

    def bound(module: Any, args: tuple, *rest: Any, stack: Stack) -> None:
        # torch leaves kwargs out when another thread removes its hooks at this moment.
        see(stack, args, rest[0] if len(rest) == 2 else {}, rest[-1])

    try:
        for stack in session.structure.stacks:
            for block in stack.blocks if stack.has_stream(session.structure.attending) else ():
                hooks.append(hook(block, partial(bound, stack=stack), with_kwargs=True))
        yield
    finally:
        remove_all(hooks)


def output_projection(model: Any, names: dict[nn.Module, str], call: Any) -> Tensor | None:
    """W_O of the layer that made this call, [head · d_head, d_model]; None if not found. `names`
    are those of the model's modules."""
    module = call.module
    if module is None or hasattr(module, BETWEEN):
        return None
    value = call.d_value if call.value is None else call.value.shape[-1]
    width = call.query.shape[1] * (value or call.query.shape[-1])
    owners = [module]
    parent = names.get(module, "").rpartition(".")[0]
    if parent:
        owners.append(model.get_submodule(parent))
    for owner in owners:
        for name in OUT_NAMES:
            weight = weight_of(owner, name)
            if weight is not None and weight.shape[0] == width:
                return weight
    return None


def remark(structure: Structure) -> str:
    """A note on how heads pair up in a model with differential attention, or on a model with two
    kinds of ALiBi; empty for others."""
    model: Any = structure.model
    if getattr(model.config, "alibi", False) and structure.own and model._supports_sdpa:
        own = model.config._attn_implementation
        return (
            "The eager attention of this model adds ALiBi's bias to its scores twice and its sdpa "
            "attention once, so their patterns and logits differ. This is the pass of "
            f"attn_implementation={own!r}, with which it was loaded."
        )
    if not any(hasattr(m, BETWEEN) for m in structure.attention):
        return ""
    heads = structure.told_heads("decoder")
    half = heads // 2 if isinstance(heads, int) else "half of the heads"
    return (
        f"These heads work in pairs (differential attention): the map of head h + {half} is "
        "multiplied by a learned λ and subtracted from the map of head h. Each map is shown, and "
        "can be switched off, by itself."
    )
