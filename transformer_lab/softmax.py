"""The arithmetic of attention and blocks: from scores to weights (masks, caps, sinks, the softmax);
RMS norm, the square of a ReLU, and the rotation of rotary positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode


def safe_softmax(scores: Tensor, sinks: Tensor | None = None) -> Tensor:
    """Softmax over the last axis; a row of −inf gives 0 rather than NaN. `sinks` [..., 1] are the
    scores of one more column, which takes part of the weight and is left out: rows sum to less
    than 1.
    """
    return _shares(scores, sinks)[0]


def share_of_nothing(scores: Tensor, sinks: Tensor) -> Tensor:
    """The weight that the sinks' column takes from each row: the axes of scores but the last."""
    return _shares(scores, sinks)[1][..., 0]


def _shares(scores: Tensor, sinks: Tensor | None) -> tuple[Tensor, Tensor]:
    top = scores.amax(-1, keepdim=True)
    if sinks is not None:
        top = torch.maximum(top, sinks)
    top = top.masked_fill(top == float("-inf"), 0.0)
    weights = (scores - top).exp()
    total = weights.sum(-1, keepdim=True)
    if sinks is None:
        return weights / total.masked_fill(total == 0, 1.0), total
    rest = (sinks - top).exp()
    total = total + rest
    total = total.masked_fill(total == 0, 1.0)
    return weights / total, rest / total


def causal_mask(
    n_query: int, n_key: int, device: torch.device | None = None, rows: Tensor | None = None
) -> Tensor:
    """Bool [query, key], True where a query may attend; the last query is aligned with the last
    key. `rows` selects queries."""
    if rows is not None:
        return torch.arange(n_key, device=device) <= rows[:, None] + (n_key - n_query)
    ones = torch.ones(n_query, n_key, dtype=torch.bool, device=device)
    return ones.tril(n_key - n_query)


def spread_heads(x: Tensor, n_heads: int) -> Tensor:
    """[batch, kv_head, position, d_head] -> [batch, head, …]: each kv head serves a group."""
    groups = n_heads // x.shape[1]
    if groups == 1:
        return x
    # The same as `repeat_interleave`, and several times as fast if heads are few and short.
    return x[:, :, None].expand(-1, -1, groups, *x.shape[2:]).flatten(1, 2)


def allows(bias: Tensor) -> Tensor:
    """Bool: where a bias lets a query attend. transformers masks with the lowest finite number,
    others with −inf."""
    return bias if bias.dtype == torch.bool else bias > torch.finfo(bias.dtype).min / 2


def add_bias(bias: Tensor | None, more: Tensor) -> Tensor:
    """Combine two biases: bool ones by `and`, others by adding them."""
    if bias is None:
        return more
    if bias.dtype == torch.bool and more.dtype == torch.bool:
        return bias & more
    return as_additive(bias) + as_additive(more)


def as_additive(bias: Tensor) -> Tensor:
    """A bool bias as 0 and −inf."""
    if bias.dtype != torch.bool:
        return bias
    zero = torch.zeros(bias.shape, device=bias.device)
    return zero.masked_fill_(~bias, float("-inf"))


def cap(scores: Tensor, softcap: float | None) -> Tensor:
    """softcap·tanh(scores/softcap)."""
    return scores if softcap is None else softcap * torch.tanh(scores / softcap)


def masked(scores: Tensor, *masks: Tensor | None) -> Tensor:
    """Apply masks to scores: bool ones forbid (−inf) where False, others are added."""
    for mask in masks:
        if mask is None:
            continue
        if mask.dtype == torch.bool:
            scores = scores.masked_fill(~mask, float("-inf"))
        else:
            scores = scores + mask.to(scores.dtype)
    return scores


def part_of(
    bias: Tensor | None, batches: slice, heads: slice, rows: Tensor | None
) -> Tensor | None:
    """The part of a broadcasting bias that belongs to these batches, heads and rows."""
    if bias is None:
        return None
    while bias.dim() < 4:
        bias = bias[None]
    bias = bias if bias.shape[0] == 1 else bias[batches]
    bias = bias if bias.shape[1] == 1 else bias[:, heads]
    return bias if rows is None or bias.shape[2] == 1 else bias[:, :, rows]


def as_column(sinks: Tensor, query: Tensor) -> Tensor:
    """Sinks with the axes [batch, head, query, 1].

    Raises:
        ValueError: if the shape does not fit.
    """
    column = sinks[None, :, None, None] if sinks.dim() == 1 else sinks
    shape = (*query.shape[:3], 1)
    fits = column.dim() == 4 and all(a in (1, b) for a, b in zip(column.shape, shape, strict=True))
    if not fits:
        raise ValueError(
            f"sinks must have shape [head], here [{shape[1]}], or one that broadcasts to "
            f"{list(shape)}, got {list(sinks.shape)}"
        )
    return column


def check_shapes(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Check the shapes of `attend`'s inputs.

    Raises:
        ValueError: if the shapes do not match; the message names them.
    """
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.dim() != 4:
            raise ValueError(
                f"{name} must have shape [batch, head, position, d_head], got {list(x.shape)} "
                "(for one head and one text: x[None, None])"
            )
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"query and key must have the same d_head for a dot product, got {query.shape[-1]} "
            f"and {key.shape[-1]}"
        )
    if key.shape[2] != value.shape[2]:
        raise ValueError(
            f"each key needs one value, got {key.shape[2]} keys and {value.shape[2]} values"
        )
    if key.shape[1] != value.shape[1] or query.shape[1] % key.shape[1]:
        raise ValueError(
            "the number of key and value heads must be equal and divide that of query heads, got "
            f"{query.shape[1]} query, {key.shape[1]} key and {value.shape[1]} value heads"
        )


def as_slice(index: int | slice) -> slice:
    return index if isinstance(index, slice) else slice(index, index + 1)


def drop_axes(x: Tensor, batch: int | slice, head: int | slice) -> Tensor:
    """Drop the axes that were indexed by an int."""
    if not isinstance(head, slice):
        x = x.squeeze(1)
    return x if isinstance(batch, slice) else x.squeeze(0)


def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """x / √(mean of x² + eps) · weight, over the last axis: the values of `F.rms_norm`, whose
    gradient takes ten times as long on a CPU.

    eps None: the machine epsilon of the type. Source: Zhang and Sennrich 2019.
    """
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return F.rms_norm(x, x.shape[-1:], weight, eps)
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    normed = _RMSNorm.apply(x, eps)[0] if _is_learned(x) else x * _inverse_rms(x, eps)
    return normed if weight is None else normed * weight


class RMSNorm(nn.RMSNorm):
    """As `nn.RMSNorm` over one axis, with our `rms_norm`."""

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)². Source: So et al. 2021 (Primer)."""
    if _is_learned(x):
        return _SquaredReLU.apply(x)[0]
    positive = F.relu(x)
    return positive * positive


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x·cos + (x with its two halves swapped)·sin, over the last axis; x's type and shape. With
    sin = (−sines, sines) each dimension i is rotated together with i + d/2."""
    if _is_learned(x) and x.dtype == cos.dtype:
        return _Rotation.apply(x, cos, sin)  # type: ignore[return-value]
    return _rotate(x, cos, sin)


# PyTorch differentiates a formula operation by operation, and each costs a pass over memory and a
# saved tensor. These three define their own gradients.


def _is_learned(x: Tensor) -> bool:
    """Whether an ordinary tensor on a CPU needs a gradient; a compiler fuses operations itself."""
    learned = x.requires_grad and torch.is_grad_enabled() and x.device.type == "cpu"
    return learned and type(x) is Tensor and not torch.compiler.is_compiling()


def _inverse_rms(x: Tensor, eps: float) -> Tensor:
    return torch.rsqrt(torch.linalg.vecdot(x, x).unsqueeze(-1) / x.shape[-1] + eps)


class _RMSNorm(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, eps):
        scale = _inverse_rms(x, eps)
        return x * scale, scale

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.eps = inputs[1]
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0], *output)

    @staticmethod
    def backward(ctx, gradient, _):  # type: ignore[override]
        x, normed, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative: through the scale too
            scale = _inverse_rms(x, ctx.eps)
            normed = x * scale
        along = torch.linalg.vecdot(gradient, normed).unsqueeze(-1) / x.shape[-1]
        return torch.addcmul(gradient, normed, along, value=-1) * scale, None


class _SquaredReLU(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        positive = F.relu(x)
        return positive * positive, positive

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx, gradient, of_positive):  # type: ignore[override]
        (positive,) = ctx.saved_tensors
        out = None if gradient is None else (gradient * positive).mul_(2)
        if of_positive is not None:  # only for a second derivative
            more = of_positive * (positive > 0)
            out = more if out is None else out + more
        return out


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    traced = torch.compiler.is_compiling() or is_in_torch_dispatch_mode()
    if x.device.type != "cpu" or x.dtype != cos.dtype or traced:
        # The angles stay in fp32 under autocast: at position 1000 bf16 is off by whole turns.
        return (x * cos + torch.cat((x[..., half:], x[..., :half]), -1) * sin).to(x.dtype)
    out = x * cos
    out[..., :half].addcmul_(x[..., half:], sin[..., :half])
    out[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return out


class _Rotation(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, cos, sin):
        return _rotate(x, cos, sin)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[override]
        cos, sin = ctx.saved_tensors
        return rotated(gradient, cos, -sin), None, None
