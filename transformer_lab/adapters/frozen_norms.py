"""Freeze norms at the scale that they had in a run, which makes them linear.

A norm divides each row by one number, its length or its spread, and multiplies by a gain. The kind
of norm is not looked up: its gain, its shift and whether it centres are measured, and the result is
compared with the norm's own output. A module that differs is not frozen.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .interrupts import no_grad

LARGE = 1024.0  # size of a probe: an epsilon is negligible beside its square


def is_norm(module: nn.Module) -> bool:
    """Whether it is a norm by its class's name, with no modules inside."""
    named = "norm" in type(module).__name__.lower()
    return named and not any(True for _ in module.children())


class LinearNorm:
    """A norm as gain · (x, centred or not) / scale + shift, without its scale.

    Args:
        module: the norm.
        like: an input [..., d], for its shape, dtype and device.

    Raises:
        ValueError: if it is not a norm of this kind.
    """

    def __init__(self, module: nn.Module, like: Tensor):
        wide = torch.promote_types(like.dtype, torch.float32)
        twin = copy.copy(module)
        absent = dict.fromkeys(vars(module)["_parameters"])  # including a bias that is None
        twin.__dict__["_parameters"] = absent | {
            name: p.detach().to(wide)
            for name, p in module.named_parameters(recurse=False, remove_duplicate=False)
        }
        run: Any = twin.forward
        d = like.shape[-1]
        signs = 1.0 - 2.0 * (torch.arange(d, device=like.device, dtype=wide) % 2)
        probe = (LARGE * signs).expand(like.shape).contiguous()
        with no_grad():
            self.shift: Tensor = run(torch.zeros_like(probe)).to(wide)
            up = run(probe).to(wide)
            moved = run(probe + LARGE).to(wide)
            self.centred = bool(torch.allclose(moved, up, rtol=1e-3, atol=1e-4))
            centred = self._centre(probe)
            length = centred.square().mean(-1, keepdim=True).sqrt()
            self.gain: Tensor = (up - self.shift) * length / centred
            other = LARGE * torch.cos(torch.arange(1.0, d + 1, device=like.device).to(wide))
            other = other.expand(like.shape).contiguous()
            length = self._centre(other).square().mean(-1, keepdim=True).sqrt()
            off = run(other).to(wide) - self.shift - self.without_scale(other) / length
            if float(off.norm()) > 1e-3 * float(up.norm()):
                raise ValueError(f"{type(module).__name__} is not a known kind of norm")

    def without_scale(self, x: Tensor) -> Tensor:
        """gain · x, with x centred if the norm centres."""
        return self.gain.to(x.dtype) * self._centre(x)

    def _centre(self, x: Tensor) -> Tensor:
        return x - x.mean(-1, keepdim=True) if self.centred else x


def held(module: nn.Module, x: Tensor, y: Tensor, room: float) -> Tensor | None:
    """The norm's output for x [row, …] at the scale of its first row, for which it is y[0]; None if
    it is not a norm of this kind."""
    first, given = x[:1].detach(), y[:1].detach()
    wide = torch.promote_types(x.dtype, torch.float32)
    try:
        linear = LinearNorm(module, first)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        # It takes more arguments (such as a gate), or other shapes.
        return None
    raw = linear.without_scale(first.to(wide))
    own = given.to(wide) - linear.shift
    tiny = torch.finfo(wide).tiny
    scale = (raw * own).sum(-1, keepdim=True) / raw.square().sum(-1, keepdim=True).clamp(min=tiny)
    off = (raw * scale - own).norm(dim=-1)
    if not bool((off <= room * given.to(wide).norm(dim=-1) + 1e-6).all()):
        return None
    # Rounded row by row to the model's precision, in which parts are read.
    return (linear.without_scale(x.to(wide)) * scale + linear.shift).to(y.dtype)
