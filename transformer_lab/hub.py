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
_SESSION = "_transformer_lab_session"
_CROSS = ("encoder_attn", "encdecattention", "crossattention", "cross_attn", "encoder_decoder")
_OUT = ("o_proj", "out_proj", "c_proj", "out_lin", "dense", "o", "output.dense", "out")
_lock = threading.RLock()


class SeamError(Exception):
    """The model does not call the seam, or asks of it what it cannot do."""


def is_hugging_face(model: Any) -> bool:
    """Whether it is a transformers model, without importing transformers to ask."""
    return any(c.__name__ == "PreTrainedModel" for c in type(model).__mro__)


class _Session:
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
        session: _Session = model.__dict__.get(_SESSION) or _open(model)
        session.taps = tuple(sorted((*session.taps, tap), key=lambda t: t.records))


def remove_tap(model: Any, tap: Tap) -> None:
    """Take the tap off; with the last one the model's own attention setting comes back."""
    with _lock:
        session = model.__dict__.get(_SESSION)
        if session is None:
            return
        session.taps = tuple(t for t in session.taps if t is not tap)
        if not session.taps:
            for module in model.modules():
                module.__dict__.pop(_SESSION, None)
            session.close()


def _new_pass(model: nn.Module, args: Any) -> None:
    """Before a forward pass: every module's first turn comes again."""
    session: _Session | None = model.__dict__.get(_SESSION)
    if session is not None:
        session.turns.pop(threading.get_ident(), None)


def _open(model: Any) -> _Session:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _door)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    session = _Session(model)
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
        module.__dict__[_SESSION] = session
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
    session: _Session | None = module.__dict__.get(_SESSION)
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
    session: _Session | None = model.__dict__.get(_SESSION)
    opened = session or _Session(model)
    try:
        return [
            m for path, m in block_modules(model).items() if _kind_of_block(opened, path) == kind
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
    session: _Session = model.__dict__[_SESSION]
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
            kind = _kind_of_block(session, path)
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


def hook_stream(
    model: Any, tap: Tap, names: tuple[str, ...], kind: str, layer: int | None = None
) -> list[Any]:
    """Let a tap that is on the model change its residual stream; returns hooks to remove.

    Args:
        names: of "resid_pre", "resid_post", and of "attn_out", "cross_out", "mlp_out", which are
            the outputs of the last linear layer of that part: what follows it (dropout, a norm
            without a bias, the sum) keeps a zero a zero.
        kind, layer: whose stream; None: every layer's.

    Raises:
        SeamError: where the layers, or that part of them, cannot be told.
    """
    session: _Session = model.__dict__[_SESSION]
    blocks = {p: m for p, m in block_modules(model).items() if _kind_of_block(session, p) == kind}
    if not blocks:
        raise SeamError(f"the layers of {type(model).__name__} were not found")
    shared = sum(1 for _ in blocks)  # layers that share one module come by in turns
    handles: list[Any] = []
    try:
        for path, block in blocks.items():
            first = int(path.rsplit(".", 1)[1])
            if layer is not None and (layer - first) % shared:
                continue
            for name in names:
                where = dict(tap=tap, name=name, kind=kind, layer=first, step=shared)
                if name == "resid_pre":
                    hook = _changing_input(**where)
                    handles.append(block.register_forward_pre_hook(hook, with_kwargs=True))
                    continue
                end = block if name == "resid_post" else _end_of(session, path, block, name)
                handles.append(end.register_forward_hook(_changing_output(**where)))
    except SeamError:
        for handle in handles:
            handle.remove()
        raise
    return handles


def _changing_input(**where: Any):
    def hook(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if args:
            return (_through(module, args[0], **where), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": _through(module, kwargs["hidden_states"], **where)}

    return hook


def _changing_output(**where: Any):
    def hook(module: nn.Module, args: tuple, output: Any) -> Any:
        if isinstance(output, tuple):
            return (_through(module, output[0], **where), *output[1:])
        return _through(module, output, **where)

    return hook


def _through(module: nn.Module, x: Tensor, *, tap, name, kind, layer, step) -> Tensor:
    session: _Session | None = module.__dict__.get(_SESSION)
    if session is None or x.dim() < 2:  # another thread has just closed it
        return x
    turn = session.next_turn((module, name, tap))
    return tap.on_stream(name, Site(kind, layer + turn * step), x)


def _end_of(session: _Session, path: str, block: nn.Module, name: str) -> nn.Module:
    """The module whose output is what a part of a layer adds to the stream.

    Raises:
        SeamError: where it cannot be told by the shape of the layer.
    """
    inside = {
        n[len(path) + 1 :]: m
        for m, n in session.names.items()
        if n.startswith(path + ".") and hasattr(m, "is_causal")
    }
    ends: dict[str, nn.Module] = {}
    for short, module in inside.items():
        part = "cross_out" if session.site(module).kind == "cross" else "attn_out"
        owners = [module]
        if "." in short:
            owners.append(block.get_submodule(short.rpartition(".")[0]))
        found = [layer for o in owners for n in _OUT if (layer := _linear(o, n)) is not None]
        if part not in ends and found:
            ends[part] = found[0]
    end = ends.get(name)
    if name == "mlp_out":
        end = _end_of_mlp(block, inside, set(ends.values()))
    if end is None or _width(end) not in (None, session.width or _width(end)):
        part = {"attn_out": "attention", "cross_out": "cross-attention", "mlp_out": "mlp"}[name]
        raise SeamError(f"the {part} of its layer {path} was not found, so it cannot be skipped")
    return end


def _end_of_mlp(block: nn.Module, attention: dict[str, nn.Module], ends: set) -> nn.Module | None:
    """Of the matrices that are not attention's: the module that holds them all and no norm, or
    the second of two linear layers that stand in the block itself."""
    names = {m: n for n, m in block.named_modules()}
    weights = [
        name
        for name, weight in block.named_parameters()
        if weight.dim() >= 2
        and not any(name.startswith(n + ".") for n in attention)
        and not any(name.startswith(names[end] + ".") for end in ends)
    ]
    owners = [name.rpartition(".")[0].split(".") for name in weights]
    if not owners:
        return None
    common = []
    for parts in zip(*owners, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    if common:
        whole = block.get_submodule(".".join(common))
        if not any("norm" in type(m).__name__.lower() for m in whole.modules()):
            return whole
    last = _linear(block, ".".join(owners[-1]))
    return last if len(owners) == 2 and last is not None else None


def _kind_of_block(session: _Session, path: str) -> str | None:
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
    session: _Session | None = model.__dict__.get(_SESSION)
    names = session.names if session is not None else {m: n for n, m in model.named_modules()}
    owners = [module]
    parent = names.get(module, "").rpartition(".")[0]
    if parent:
        owners.append(model.get_submodule(parent))
    for owner in owners:
        for name in _OUT:
            weight = _weight_of(owner, name)
            if weight is not None and weight.shape[0] == width:
                return weight
    return None


def _width(layer: nn.Module) -> int | None:
    """How many numbers a linear layer gives; None where it is none."""
    return getattr(layer, "out_features", getattr(layer, "nf", None))


def _linear(owner: Any, name: str) -> Any:
    """The linear layer of that name inside a module; None where there is none."""
    try:
        layer = owner.get_submodule(name)
    except AttributeError:
        return None
    return layer if isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D" else None


def _weight_of(owner: Any, name: str) -> Tensor | None:
    """The weight of a linear layer as (in, out)."""
    layer = _linear(owner, name)
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
