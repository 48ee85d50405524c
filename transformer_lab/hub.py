"""Any Hugging Face model through the seam.

transformers lets a function be registered as an attention implementation. Ours is `attend`, so
every attention layer of any architecture arrives with its queries and keys (after rotary
positions), and can be recorded and edited with no code for the architecture.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from .attention import Site, Tap, add_bias, as_additive, attend

NAME = "transformer_lab"
SESSION = "_transformer_lab_session"
_CROSS = ("encoder_attn", "encdecattention", "crossattention", "cross_attn", "encoder_decoder")
OUT_NAMES = ("o_proj", "out_proj", "c_proj", "out_lin", "dense", "o", "output.dense", "out")
_lock = threading.RLock()


class SeamError(Exception):
    """The model does not call the seam, or asks of it what it cannot do."""


def is_hugging_face(model: Any) -> bool:
    """Whether it is a transformers model, without importing transformers to ask."""
    return any(c.__name__ == "PreTrainedModel" for c in type(model).__mro__)


class Session:
    """What hangs on a model while it is tapped."""

    def __init__(self, model: Any):
        self.taps: tuple[Tap, ...] = ()
        self.width = getattr(model.config, "hidden_size", None)  # of the residual stream
        self.names = {module: name for name, module in model.named_modules()}
        self.both = bool(getattr(model.config, "is_encoder_decoder", False))
        models = [m for m in model.modules() if is_hugging_face(m)]
        self.configs = [(m.config, m.config._attn_implementation) for m in models]
        self.hooks = [m.register_forward_pre_hook(_new_pass) for m in models]
        self.turns: dict[int, dict[Any, int]] = {}  # by thread

    def close(self) -> None:
        for hook in self.hooks:
            hook.remove()
        for config, implementation in self.configs:
            config._attn_implementation = implementation

    def next_site(self, module: nn.Module) -> Site:
        """The site of this call. Layers that share one module (ALBERT) are told apart by whose
        turn it is."""
        turn = self.next_turn(module)
        site = self.site(module)
        if turn == 0:
            return site
        alike = sum(type(m) is type(module) for m in self.names)
        return Site(site.kind, site.layer + turn * alike)

    def next_turn(self, key: Any) -> int:
        """How often this key has come in this pass of this thread: 0 the first time."""
        turns = self.turns.setdefault(threading.get_ident(), {})
        turns[key] = turns.get(key, -1) + 1
        return turns[key]

    def site(self, module: nn.Module) -> Site:
        path = self.names.get(module, "").lower()
        layer = next((int(part) for part in path.split(".") if part.isdigit()), 0)
        if any(word in path for word in _CROSS) or getattr(module, "is_cross_attention", False):
            return Site("cross", layer)
        if self.both:
            return Site("decoder" if "decoder." in path else "encoder", layer)
        return Site("decoder" if getattr(module, "is_causal", False) else "encoder", layer)


def add_tap(model: Any, tap: Tap) -> None:
    """Send the model's attention through the seam, with this tap on it.

    Raises:
        SeamError: when the model cannot be sent there (BLOOM, DeBERTa …).
    """
    with _lock:
        session: Session = model.__dict__.get(SESSION) or _open(model)
        session.taps = tuple(sorted((*session.taps, tap), key=lambda t: t.records))


def remove_tap(model: Any, tap: Tap) -> None:
    """Take the tap off; with the last one the model's own attention setting comes back."""
    with _lock:
        session = model.__dict__.get(SESSION)
        if session is None:
            return
        session.taps = tuple(t for t in session.taps if t is not tap)
        if not session.taps:
            for module in model.modules():
                module.__dict__.pop(SESSION, None)
            session.close()


def _new_pass(model: nn.Module, args: Any) -> None:
    """Before a forward pass: every module's first turn comes again."""
    session: Session | None = model.__dict__.get(SESSION)
    if session is not None:
        session.turns.pop(threading.get_ident(), None)


def _open(model: Any) -> Session:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _door)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    session = Session(model)
    with quiet():
        try:
            model.set_attn_implementation(NAME)
        except (ValueError, ImportError, AttributeError) as error:
            session.close()
            raise SeamError(str(error)) from error
    if model.config._attn_implementation != NAME:
        session.close()
        raise SeamError(f"{type(model).__name__} keeps its own attention")
    for module in model.modules():
        module.__dict__[SESSION] = session
    return session


def _door(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    **other: Any,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls; see AttentionInterface there."""
    if other.get("s_aux") is not None or getattr(module, "sinks", None) is not None:
        raise SeamError(f"{type(module).__name__} uses attention sinks, which the seam lacks")
    session: Session | None = module.__dict__.get(SESSION)
    n_query, n_key = query.shape[2], key.shape[2]
    bias = attention_mask
    if bias is not None:
        bias = bias[..., :n_key]  # static caches are longer than the text
    if position_bias is not None:  # T5; additive, and it may already hold the mask
        position_bias = position_bias[..., :n_query, :n_key]
        bias = position_bias if bias is None else add_bias(as_additive(bias), position_bias)
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    # A mask already says who may look where; with none, causality is implied.
    causal = bool(causal) and attention_mask is None and n_query > 1
    taps = session.taps if session is not None else ()
    z = attend(
        query, key, value, bias=bias, causal=causal, scale=scaling, dropout=dropout,
        softcap=softcap, tap=taps, module=module,
        site=session.next_site(module) if session is not None and taps else None,
    )  # fmt: skip
    return z.transpose(1, 2).contiguous(), None


def block_modules(model: Any) -> dict[str, nn.Module]:
    """path -> module of everything that stands in an outermost ModuleList: the layers."""
    blocks, lists = {}, []
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not any(name.startswith(o + ".") for o in lists):
            lists.append(name)
            blocks.update({f"{name}.{i}": child for i, child in enumerate(module)})
    return blocks


def blocks_of(model: Any, kind: str) -> list[nn.Module]:
    """The layers of one kind in their order, as `watching_blocks` sees them."""
    session: Session | None = model.__dict__.get(SESSION)
    opened = session or Session(model)
    try:
        return [
            m for path, m in block_modules(model).items() if kind_of_block(opened, path) == kind
        ]
    finally:
        if session is None:
            opened.close()


@contextmanager
def watching_blocks(model: Any, tap: Tap) -> Iterator[None]:
    """While open, the tap's on_stream sees resid_pre and resid_post of every layer.

    The layers themselves are hooked (no architecture is named); the hooks are removed on exit
    and see only the thread that opened them.
    """
    session: Session = model.__dict__[SESSION]
    owner, handles = threading.get_ident(), []

    def hook(module, args, kwargs, output, *, site):
        if threading.get_ident() != owner:
            return
        before = args[0] if args else kwargs.get("hidden_states")
        after = output[0] if isinstance(output, tuple) else output
        for name, x in (("resid_pre", before), ("resid_post", after)):
            if isinstance(x, Tensor) and x.dim() == 3:
                tap.on_stream(name, site, x)

    try:
        for path, module in block_modules(model).items():
            kind = kind_of_block(session, path)
            if kind is None:
                continue
            site = Site(kind, int(path.rsplit(".", 1)[1]))

            def bound(module, args, *rest, site=site):
                # torch leaves kwargs out when another thread removes its hooks at this moment.
                kwargs = rest[0] if len(rest) == 2 else {}
                hook(module, args, kwargs, rest[-1], site=site)

            handles.append(module.register_forward_hook(bound, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def kind_of_block(session: Session, path: str) -> str | None:
    """The kind of the self-attention inside a layer; None where it holds no attention."""
    kinds = {
        session.site(module).kind
        for module, name in session.names.items()
        if name.startswith(path + ".") and hasattr(module, "is_causal")
    } - {"cross"}
    return kinds.pop() if len(kinds) == 1 else None


def output_projection(model: Any, call: Any) -> Tensor | None:
    """W_O of the layer that made this call, [head · d_head, d_model]; None if not found."""
    width = call.query.shape[1] * (
        call.value.shape[-1] if call.value is not None else call.query.shape[-1]
    )
    module = call.module
    if module is None:
        return None
    session: Session | None = model.__dict__.get(SESSION)
    names = session.names if session is not None else {m: n for n, m in model.named_modules()}
    owners = [module]
    parent = names.get(module, "").rpartition(".")[0]
    if parent:
        owners.append(model.get_submodule(parent))
    for owner in owners:
        for name in OUT_NAMES:
            weight = _weight_of(owner, name)
            if weight is not None and weight.shape[0] == width:
                return weight
    return None


def linear_layer(owner: Any, name: str) -> Any:
    """The linear layer of that name inside a module; None where there is none."""
    try:
        layer = owner.get_submodule(name)
    except AttributeError:
        return None
    return layer if isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D" else None


def _weight_of(owner: Any, name: str) -> Tensor | None:
    """The weight of a linear layer as (in, out)."""
    layer = linear_layer(owner, name)
    if layer is None:
        return None
    # transformers stores GPT-2's as (in, out) already
    return layer.weight.detach().T if isinstance(layer, nn.Linear) else layer.weight.detach()


def inputs_of(
    tokens: Tensor,
    target: Tensor | None,
    mask: Tensor | None,
    target_mask: Tensor | None,
    model: Any,
) -> dict[str, Any]:
    """Our arguments under the names that transformers models take.

    Raises:
        ValueError: for a model of images or sound.
    """
    main = getattr(model, "main_input_name", "input_ids")
    if main != "input_ids":
        raise ValueError(
            f"{type(model).__name__} reads {main}, not token ids; trace is for models of text"
        )
    inputs: dict[str, Any] = {"input_ids": tokens}
    if mask is not None:
        inputs["attention_mask"] = mask.long()
        one_stack = "position_ids" in _parameters(model) and not model.config.is_encoder_decoder
        if one_stack and not _is_masked(model):
            # Left padding without position ids silently shifts the text.
            inputs["position_ids"] = (mask.long().cumsum(-1) - 1).clamp(min=0)
    if target is not None:
        inputs["decoder_input_ids"] = target
        if target_mask is not None:
            inputs["decoder_attention_mask"] = target_mask.long()
    if "use_cache" in _parameters(model) or hasattr(model.config, "use_cache"):
        inputs["use_cache"] = False
    return inputs


def _is_masked(model: Any) -> bool:
    return not any(getattr(m, "is_causal", False) for m in model.modules())


def _parameters(model: Any) -> set[str]:
    import inspect

    return set(inspect.signature(model.forward).parameters)


def eager_maps(model: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, tuple]]:
    """For a model that never calls the seam: its own maps, read by name.

    Returns its output and kind -> one [batch, head, query, key] a layer. The model's attention
    setting is restored.

    Raises:
        SeamError: when it gives no maps either.
    """
    configs = [
        (m.config, m.config._attn_implementation) for m in model.modules() if is_hugging_face(m)
    ]
    with quiet():
        try:
            with suppress(ValueError, ImportError):  # it may have but one, which gives maps
                model.set_attn_implementation("eager")
            with torch.no_grad():
                output = model(**inputs, output_attentions=True)
        except TypeError as error:
            raise SeamError(
                f"{type(model).__name__} takes no output_attentions: {error}"
            ) from error
        finally:
            for config, implementation in configs:
                config._attn_implementation = implementation
    both = bool(getattr(model.config, "is_encoder_decoder", False))
    causal = type(model).__name__.endswith(("CausalLM", "LMHeadModel"))
    names = {
        "encoder": "encoder_attentions" if both else "attentions",
        "decoder": "decoder_attentions" if both else "attentions",
        "cross": "cross_attentions",
    }
    if not both:
        del names["cross"], names["encoder" if causal else "decoder"]
    maps = {kind: getattr(output, name, None) or () for kind, name in names.items()}
    maps = {kind: found for kind, found in maps.items() if found and found[0] is not None}
    if not maps:
        raise SeamError(
            f"{type(model).__name__} gives no attention maps; it may have no attention at all"
        )
    return output, maps


@contextmanager
def quiet() -> Iterator[None]:
    """transformers logs about settings that are restored a moment later."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
