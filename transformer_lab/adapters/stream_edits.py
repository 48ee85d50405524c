"""Change the residual stream of a Hugging Face model, with no code for its architecture.

The layers are in a ModuleList, so their inputs and outputs can be hooked. What attention and the
mlp add is the output of their last linear layers, which are found by the shape of the layer; where
that is not clear, the edit is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from ..attention import Site, Tap
from .attention_interface import OUT_NAMES, Session
from .hooks import SESSION, Hook, hook, remove_all
from .interrupts import sheltered
from .linear import linear_layer
from .network import AdapterError
from .structure import Stack


@sheltered
def changing(
    model: Any, tap: Tap, names: Sequence[str], kind: str, layer: int | None = None
) -> Iterator[None]:
    """Let a tap that is on the model change its residual stream while this is open.

    Args:
        names: among "resid_pre", "resid_post", "attn_out", "cross_out" and "mlp_out". The last
            three are the outputs of that part's last linear layer: what follows it (dropout, a norm
            without a bias, the sum) keeps a zero a zero.
        kind, layer: whose stream; None: that of every layer with that part.

    Raises:
        AdapterError: if the layers, or that part of them, cannot be found.
    """
    session: Session = model.__dict__[SESSION]
    structure = session.structure
    stacks = structure.of_kind(kind)
    if not stacks:
        raise AdapterError(f"the layers of {type(model).__name__} were not found")
    if not all(stack.has_stream(structure.attending) for stack in stacks):
        raise AdapterError(
            f"{type(model).__name__} keeps its attention apart from the rest of its layers, or "
            "attends several times in each, so its residual stream cannot be read"
        )
    # Where layers share their weights, any block may run as any layer.
    places = [
        (stack, f"{stack.path}.{i}", block)
        for stack in stacks
        for i, block in enumerate(stack.blocks)
        if layer is None or stack.shared or layer == stack.first + i
    ]
    attention = "cross" if "cross_out" in names else kind
    if layer is None and {"attn_out", "cross_out"} & set(names):
        places = [place for place in places if structure.attends(place[2], attention)]
    hooks: list[Hook] = []
    try:
        for stack, path, block in places:
            for name in names:
                where = dict(tap=tap, name=name, stack=stack)
                if name == "resid_pre":
                    change = _changing_input(**where)
                    hooks.append(hook(block, change, before=True, with_kwargs=True))
                    continue
                end = block if name == "resid_post" else _end_of(session, path, block, name)
                hooks.append(hook(end, _changing_output(**where)))
        yield
    finally:
        remove_all(hooks)


def _changing_input(**where: Any):
    def change(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if args:
            return (_through(module, args[0], **where), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": _through(module, kwargs["hidden_states"], **where)}

    return change


def _changing_output(**where: Any):
    def change(module: nn.Module, args: tuple, output: Any) -> Any:
        if isinstance(output, tuple):
            return (_through(module, output[0], **where), *output[1:])
        return _through(module, output, **where)

    return change


def _through(module: nn.Module, x: Tensor, *, tap: Tap, name: str, stack: Stack) -> Tensor:
    session: Session | None = module.__dict__.get(SESSION)
    if session is None or x.dim() < 2:  # another thread has just closed it
        return x
    if name in ("resid_pre", "resid_post"):
        _check_axes(session, stack, x)
    site = Site(stack.kind, session.layer_of(stack, module))
    n = session.now.n_tokens.get("encoder" if stack.kind == "encoder" else "decoder")
    if x.dim() == 2 and n and not len(x) % n:  # OPT's mlp works on all texts as one list of tokens
        return tap.on_stream(name, site, x.unflatten(0, (-1, n))).flatten(0, 1)
    return tap.on_stream(name, site, x)


def _check_axes(session: Session, stack: Stack, x: Tensor) -> None:
    """Check that positions are a stream's second axis.

    Raises:
        AdapterError: if they are not.
    """
    side = "encoder" if stack.kind == "encoder" else "decoder"
    wanted = session.now.n_tokens.get(side)
    if wanted not in (None, x.shape[1]) or session.structure.may_turn(stack, x):
        raise AdapterError(
            f"the residual stream of {type(session.structure.model).__name__} must be [batch, "
            f"position, d_model] with the text's {wanted} tokens, got {list(x.shape)}"
        )


def _end_of(session: Session, path: str, block: nn.Module, name: str) -> nn.Module:
    """The module whose output is what a part of a layer adds to the stream.

    Raises:
        AdapterError: if it cannot be found by the shape of the layer.
    """
    attention = session.structure.attending
    inside = {name: m for name, m in block.named_modules() if name and m in attention}
    ends: dict[str, nn.Module] = {}
    for short, module in inside.items():
        part = "cross_out" if session.structure.site_of(module).kind == "cross" else "attn_out"
        owners = [module]
        if "." in short:
            owners.append(block.get_submodule(short.rpartition(".")[0]))
        found = [
            layer for o in owners for n in OUT_NAMES if (layer := linear_layer(o, n)) is not None
        ]
        if part not in ends and found:
            ends[part] = found[0]
    end = ends.get(name)
    if name == "mlp_out":
        end = _end_of_mlp(block, inside, set(ends.values()))
    if end is None or _width(end) not in (None, session.width or _width(end)):
        part = {"attn_out": "attention", "cross_out": "cross-attention", "mlp_out": "mlp"}[name]
        raise AdapterError(f"the {part} of its layer {path} was not found, so it cannot be skipped")
    return end


def _end_of_mlp(block: nn.Module, attention: dict[str, nn.Module], ends: set) -> nn.Module | None:
    """The module that holds all matrices outside attention and no norm, or the second of two linear
    layers that are directly in the block; None if there is neither."""
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
    last = linear_layer(block, ".".join(owners[-1]))
    return last if len(owners) == 2 and last is not None else None


def _width(layer: nn.Module) -> int | None:
    """The number of outputs of a linear layer; None if it is not one."""
    return getattr(layer, "out_features", getattr(layer, "nf", None))
