"""Changing the residual stream of a Hugging Face model, with no code for its architecture.

The layers stand in a ModuleList, so what goes in and comes out of them can be hooked. What
attention and the mlp add is the output of their last linear layers, which are found by the shape
of the layer; where that is not clear, the edit is refused.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .attention import Site, Tap
from .hub import OUT_NAMES, SESSION, SeamError, Session, block_modules, kind_of_block, linear_layer


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
    session: Session = model.__dict__[SESSION]
    blocks = {p: m for p, m in block_modules(model).items() if kind_of_block(session, p) == kind}
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
    session: Session | None = module.__dict__.get(SESSION)
    if session is None or x.dim() < 2:  # another thread has just closed it
        return x
    turn = session.next_turn((module, name, tap))
    return tap.on_stream(name, Site(kind, layer + turn * step), x)


def _end_of(session: Session, path: str, block: nn.Module, name: str) -> nn.Module:
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
    last = linear_layer(block, ".".join(owners[-1]))
    return last if len(owners) == 2 and last is not None else None


def _width(layer: nn.Module) -> int | None:
    """How many numbers a linear layer gives; None where it is none."""
    return getattr(layer, "out_features", getattr(layer, "nf", None))
