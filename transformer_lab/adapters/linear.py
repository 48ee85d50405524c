"""Weights of a Hugging Face model's linear layers: plain, changed by adapters, quantized, or kept
off the device until they are used."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .interrupts import no_grad

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def linear_layer(owner: Any, name: str) -> Any:
    """The linear layer of that name inside a module; None if there is none."""
    try:
        layer = owner.get_submodule(name)
    except AttributeError:
        return None
    plain = isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"
    adapted = isinstance(getattr(layer, "base_layer", None), nn.Module)
    return (
        layer if plain or adapted or isinstance(getattr(layer, "in_features", None), int) else None
    )


def weight_of(owner: Any, name: str) -> Tensor | None:
    """The weight of a linear layer as (in, out), with what active adapters add to it; None if there
    is no such layer or its weight cannot be determined."""
    layer = linear_layer(owner, name)
    return None if layer is None else effective_weight(layer)


def is_linear(module: nn.Module) -> bool:
    """Whether it is a linear layer, by its class: a plain one, a quantized one, or one wrapped by
    an adapter."""
    name = type(module).__name__.lower()
    return "linear" in name or name == "conv1d" or hasattr(module, "base_layer")


def measured(layer: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """The weight (in, out) and the bias [out] of a linear layer of any kind, measured with inputs
    like these [..., in]; the bias is its output for zeros."""
    zeros = torch.zeros_like(like.reshape(-1, like.shape[-1])[:1])
    with no_grad():
        bias = layer(zeros)
        weight = effective_weight(layer)
        if weight is None:
            weight = layer(torch.eye(like.shape[-1]).to(like)) - bias
    return weight, bias[0]


def effective_weight(layer: Any) -> Tensor | None:
    """The weight of a linear layer as (in, out), with what active adapters add to it; None if it
    cannot be determined."""
    if isinstance(getattr(layer, "base_layer", None), nn.Module):
        weight = _adapted(layer)
        if weight is not None:
            # It is computed again at each call; this number changes when its parameters do.
            weight.made_of = sum(map(times_written, layer.parameters()))  # type: ignore[attr-defined]
        return weight
    return _plain(layer)


def _plain(layer: Any) -> Tensor | None:
    weight = getattr(layer, "weight", None)
    if callable(weight):  # of torch.ao's quantized layers
        weight = weight()
        weight = weight.dequantize() if isinstance(weight, Tensor) and weight.is_quantized else None
    if not isinstance(weight, Tensor) or weight.dim() != 2:
        return None
    if weight.is_meta:
        weight = _fetched(layer)
    if weight is None:
        return None
    if weight.dtype not in FLOATS:
        return _of_codes(layer)
    parts: Any = weight
    if (
        hasattr(parts, "full_tensor") and parts.device_mesh.size() == 1
    ):  # otherwise only a pass gathers it
        weight = whole(parts)
        weight.made_of = times_written(parts)  # type: ignore[attr-defined]
    elif type(weight).dequantize is not Tensor.dequantize:  # torchao's
        codes, weight = weight, weight.dequantize()
        weight.made_of = times_written(codes)  # type: ignore[attr-defined]
    # transformers stores GPT-2's as (in, out) already
    return weight.detach() if type(layer).__name__ == "Conv1D" else weight.detach().T


def whole(weight: Any) -> Tensor:
    """A weight in one piece. All processes that FSDP spreads it over must call this together, as
    they must run the model together."""
    return weight.full_tensor().detach() if hasattr(weight, "full_tensor") else weight


def _of_codes(layer: Any) -> Tensor | None:
    """The quantized weight of a layer, from its outputs for all unit vectors; None if it is not
    linear, because it rounds its inputs as well."""
    n = getattr(layer, "in_features", None)
    if not isinstance(n, int):
        return None
    read = _like(layer, torch.cat((torch.zeros(1, n), torch.eye(n))))
    with no_grad():
        made = layer(read)
        weight, bias = made[1:] - made[:1], made[0]
        weight.made_of = sum(map(times_written, layer.parameters()))
        probe = torch.linspace(-1, 1, n).to(read)[None]
        return weight if _agree(probe @ weight, layer(probe) - bias) else None


def _agree(found: Tensor, wanted: Tensor) -> bool:
    near = 1e-3 if wanted.dtype in (torch.float32, torch.float64) else 5e-2
    return torch.allclose(found, wanted, atol=near * float(wanted.abs().max() + 1e-6))


def _fetched(layer: Any) -> Tensor | None:
    """The weight of a layer that accelerate keeps elsewhere until it runs."""
    if not hasattr(layer, "_hf_hook"):
        return None
    from accelerate.utils import align_module_device

    with align_module_device(layer):
        return None if layer.weight.is_meta else layer.weight.detach().clone()


def _adapted(layer: Any) -> Tensor | None:
    """The effective weight of a PEFT layer: LoRA's W + BA·scale if that gives its outputs,
    otherwise its outputs for all unit vectors."""
    base = _plain(layer.base_layer)
    if base is None:
        return None
    with no_grad():
        probe = torch.linspace(-1, 1, base.shape[0], dtype=base.dtype, device=base.device)[None]
        nothing = layer.forward(torch.zeros_like(probe))
        wanted = layer.forward(probe) - nothing
        if hasattr(layer, "lora_A") and not layer.disable_adapters and not layer.merged:
            fan = type(layer.base_layer).__name__ == "Conv1D"
            made = base.clone()
            for name in layer.active_adapters:
                if name in layer.lora_A:
                    delta = layer.get_delta_weight(name).to(base)
                    made += delta if fan else delta.T
            if _agree(probe @ made, wanted):
                return made
        return (
            layer.forward(torch.eye(base.shape[0], dtype=base.dtype, device=base.device)) - nothing
        )


def stored(weight: Tensor) -> list[Tensor]:
    """The plain tensors that a weight is stored in; for a quantized one, its codes and scales."""
    if type(weight) in (Tensor, nn.Parameter) or not hasattr(weight, "__tensor_flatten__"):
        return [weight]
    names, _ = weight.__tensor_flatten__()  # type: ignore[attr-defined]
    parts = (getattr(weight, name) for name in names)
    return [one for part in parts if isinstance(part, Tensor) for one in stored(part)]


def times_written(weight: Tensor) -> int:
    """How often a tensor was written to; 0 for inference tensors, which do not count it."""
    return 0 if weight.is_inference() else _version(weight)


def gradient_stop(model: nn.Module) -> str:
    """What blocks gradients in a model: inference mode, weights that were created in it, or layers
    with a kernel for inference only, as some quantized ones have; "" if nothing does."""
    if torch.is_inference_mode_enabled():
        return "torch.inference_mode(), which is on here"
    if any(weight.is_inference() for weight in model.parameters()):
        return "its weights, which were created in torch.inference_mode()"
    for layer in model.modules():
        n = getattr(layer, "in_features", None)
        if is_linear(layer) and _in_codes(layer) and isinstance(n, int):
            x = _like(layer, torch.ones(1, n)).requires_grad_()
            with torch.enable_grad():
                y = layer(x).sum()
                if not y.requires_grad or torch.autograd.grad(y, x, allow_unused=True)[0] is None:
                    return f"its {type(layer).__name__} layers, whose kernel is made for inference"
    return ""


def _in_codes(layer: Any) -> bool:
    """Whether the weight of a layer is quantized, in a format of the layer's own."""
    weight = getattr(layer, "weight", None)
    return not isinstance(weight, Tensor) or weight.dtype not in FLOATS


def _like(layer: Any, x: Tensor) -> Tensor:
    """x on the device of a quantized layer, in a precision that it reads."""
    kept = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
    floats = [one.dtype for one in kept if one.dtype in FLOATS]
    dtype = getattr(layer, "compute_dtype", None) or next(iter(floats), torch.float32)
    return x.to(kept[0].device if kept else None, dtype)


def _version(weight: Tensor) -> int:
    return weight._version


def device_of(model: nn.Module) -> torch.device:
    """The device on which a model reads its tokens.

    Raises:
        ValueError: for a model without weights, or whose weights are on the meta device.
    """
    first = next(model.parameters(), None)
    if first is not None and not first.is_meta:
        return first.device
    for module in model.modules():  # accelerate's hooks bring the weights when a module runs
        hook = getattr(module, "_hf_hook", None)
        for one in (hook, *getattr(hook, "hooks", ())):
            device = getattr(one, "execution_device", None)
            if device is not None:
                return (
                    torch.device("cuda", device)
                    if isinstance(device, int)
                    else torch.device(device)
                )
    raise ValueError(
        f"the weights of this {type(model).__name__} are on the meta device, where they have no "
        "values; load them first"
    )
