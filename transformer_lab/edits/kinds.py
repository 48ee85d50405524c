"""The kinds of edits to a forward pass, each a small class.

An `Edit` is only a description; `tl.edit` applies it to a model. It can be shown (`describe`),
written as Python (`code`, its repr) and, if it holds no tensors, sent as plain JSON (`to_dict`).
The functions of `constructors` make them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ..attention import KINDS, AttentionCall, Site
from .calls import cut_from, own_part

PARTS = ("attention", "mlp")


class EditError(ValueError):
    """The edit matches nothing in this model, or cannot be applied to it."""


@dataclass(frozen=True, eq=False, repr=False)
class Edit:
    """A change at one layer and head, or at all layers or heads where these are None.

    Each of the three `change_…` methods gets a value of the pass and returns the one to continue
    with: the same object if nothing changes.
    """

    layer: int | None = None
    head: int | None = None
    kind: str | None = None

    name = "edit"  # of the function that makes it

    def __post_init__(self):
        if self.kind is not None and self.kind not in KINDS:
            raise EditError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        for name in ("layer", "head"):
            whole_or_none(name, getattr(self, name))

    # -- what it does ---------------------------------------------------------------------------

    def change_attention(self, call: AttentionCall, start: int) -> AttentionCall:
        """Return the call to continue with; `start` is the position of its first query (above 0
        with a cache).
        """
        return call

    def change_heads(
        self, call: AttentionCall, z: Tensor, start: int, real: Tensor | None
    ) -> Tensor:
        """Return the z to continue with.

        `real` bool [batch or 1, query], True for real tokens; None if all are.
        """
        return z

    def change_stream(self, name: str, site: Site, x: Tensor) -> Tensor:
        return x

    def streams(self) -> tuple[str, ...]:
        """Names of the residual-stream sites that it changes."""
        return ()

    @property
    def needs_heads(self) -> bool:
        """Whether the edit acts only in layers with attention."""
        return not self.streams()

    def stream_kind(self, kind: str) -> str:
        """The stack whose residual stream is changed: cross-attention writes into the decoder's."""
        return "decoder" if kind == "cross" else kind

    def check(self, kind: str, n_layers: int, n_heads: int | None) -> None:
        """Check the edit against a model's numbers of layers and heads.

        Raises:
            EditError: if it does not fit them.
        """
        for name, value, limit in (("layer", self.layer, n_layers), ("head", self.head, n_heads)):
            if value is not None and limit == 0:
                raise EditError(f"{name}={value}: this model's {kind} has no {name}s to change")
            if value is not None and limit is not None and not 0 <= value < limit:
                raise EditError(f"{name}={value} is outside 0 … {limit - 1} of this model's {kind}")

    def heads(self, call: AttentionCall) -> slice:
        if self.head is None:
            return slice(None)
        if not 0 <= self.head < call.n_heads:
            raise EditError(f"head={self.head} is outside 0 … {call.n_heads - 1}")
        return slice(self.head, self.head + 1)

    # -- descriptions ---------------------------------------------------------------------------

    def describe(self) -> str:
        """Describe in a few words what is changed, and where."""
        return f"{self.where()}: {self._what()}"

    def where(self) -> str:
        side = {None: "", "cross": "cross-attention, "}.get(self.kind, f"{self.kind}, ")
        layer = "every layer" if self.layer is None else f"layer {self.layer}"
        head = "all heads" if self.head is None else f"head {self.head}"
        return f"{side}{layer}, {head}"

    def _what(self) -> str:
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """The arguments that differ from their defaults; `kind` comes last."""
        order = sorted(fields(self), key=lambda f: f.name == "kind")
        values = {f.name: getattr(self, f.name) for f in order}
        return {f.name: values[f.name] for f in order if not _same(values[f.name], f.default)}

    def code(self) -> str:
        """Python code that makes the edit."""
        return f"tl.{self.name}({written(self.arguments())})"

    def __repr__(self) -> str:
        return self.code()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `edit_from_dict` reads them back.

        Raises:
            EditError: for an edit that holds tensors.
        """
        values = self.arguments()
        for name, value in values.items():
            if not isinstance(value, str | int | float):
                raise EditError(
                    f"{name} of {self.code()} must be a text or a number to be written as JSON"
                )
        return {"edit": self.name, **values}


@dataclass(frozen=True, eq=False, repr=False)
class Ablation(Edit):
    value: Any = "zero"

    name = "ablate"

    def check(self, kind: str, n_layers: int, n_heads: int | None) -> None:
        super().check(kind, n_layers, n_heads)
        if hasattr(self.value, "check"):
            self.value.check(kind, n_layers, n_heads)

    def change_heads(self, call, z, start, real):
        heads, z = self.heads(call), z.clone()
        z[:, heads] = self._replacement(call, z[:, heads], start, real)
        return z

    def _replacement(self, call, z, start, real) -> Any:
        if isinstance(self.value, Tensor):
            return self.value.to(z)
        if hasattr(self.value, "vectors"):  # a Reference
            vectors = self.value.vectors(call.site, self.head)[:, None].to(z)
            return own_part(vectors, call, z)
        if self.value == "zero":
            return 0.0
        if start or z.shape[2] == 1:
            raise EditError(
                "value='mean' is the mean over a text's positions, and there is only one position "
                "here: take the mean over other texts, value=tl.mean_of(model, texts), or "
                "generate with cached=False"
            )
        if real is None:
            return z.mean(2, keepdim=True)
        weight = (real / real.sum(-1, keepdim=True).clamp(min=1))[:, None, :, None]
        return (z * weight.to(z)).sum(2, keepdim=True)

    def _what(self) -> str:
        if isinstance(self.value, str):
            return "switched off" if self.value == "zero" else "held at its mean over the text"
        if isinstance(self.value, Tensor):
            return "set to a given value"
        return "held at its mean over a reference set"


@dataclass(frozen=True, eq=False, repr=False)
class Scale(Edit):
    by: float = 1.0

    name = "scale"

    def change_heads(self, call, z, start, real):
        heads, z = self.heads(call), z.clone()
        z[:, heads] = z[:, heads] * self.by if self.by else 0.0
        return z

    def arguments(self) -> dict[str, Any]:
        values = super().arguments()
        kind = {"kind": values.pop("kind")} if "kind" in values else {}
        return {**values, "by": self.by, **kind}

    def _what(self) -> str:
        return f"times {self.by:g}"


@dataclass(frozen=True, eq=False, repr=False)
class KnockOut(Edit):
    query: int | None = None
    key: int | None = None

    name = "knock_out"

    def __post_init__(self):
        super().__post_init__()
        for name, value in (("query", self.query), ("key", self.key)):
            whole_or_none(name, value)
            if value is not None and value < 0:
                raise EditError(f"{name}={value}: positions of edges are counted from 0")
        if self.query is None and self.key is None:
            raise EditError("knock_out needs query or key; to switch a whole head off, use ablate")

    def check(self, kind: str, n_layers: int, n_heads: int | None) -> None:
        super().check(kind, n_layers, n_heads)
        if kind == "decoder" and self.query is not None and (self.key or 0) > self.query:
            raise EditError(
                f"query={self.query} cannot attend to key={self.key}, which comes after it: a "
                "decoder has no such edge"
            )

    def change_attention(self, call, start):
        _, _, n_query, n_key = call.shape
        # A cache may hold slots for future tokens, or may have dropped the first ones.
        cross = call.site is not None and call.site.kind == "cross"
        n_seen = n_key if cross or call.start is None else start + n_query
        for name, value, limit in (
            ("query", self.query, start + n_query),
            ("key", self.key, n_seen),
        ):
            if value is not None and not 0 <= value < limit:
                raise EditError(f"{name}={value} is outside the {limit} tokens (0 … {limit - 1})")
        if self.query is not None and self.query < start:
            return call  # this row was computed earlier, and is in the cache
        key = None if self.key is None else self.key - call.first_key
        if key is not None and key < 0:
            return call
        rows = _one_or_all(None if self.query is None else self.query - start, n_query)
        return cut_from(call, self.heads(call), rows, _one_or_all(key, n_key))

    def _what(self) -> str:
        if self.key is None:
            return f"all attention of token {self.query} removed"
        query = "every token" if self.query is None else f"token {self.query}"
        return f"{query} → token {self.key} cut"


@dataclass(frozen=True, eq=False, repr=False)
class Skip(Edit):
    part: str = "attention"
    expert: int | None = None

    name = "skip"

    def __post_init__(self):
        super().__post_init__()
        if self.part not in PARTS:
            raise EditError(f"part must be 'attention' or 'mlp', got {self.part!r}")
        if self.part == "mlp" and self.kind == "cross":
            raise EditError("an mlp belongs to kind='decoder', not to 'cross'")
        whole_or_none("expert", self.expert)
        if self.expert is not None and self.part != "mlp":
            raise EditError(f"expert={self.expert} is part of an mlp; give part='mlp' too")

    @property
    def needs_heads(self) -> bool:
        return self.part == "attention"

    def streams(self) -> tuple[str, ...]:
        if self.part == "mlp":
            return ("mlp_out",) if self.expert is None else ("gates",)
        return ("cross_out",) if self.kind == "cross" else ("attn_out",)

    def change_stream(self, name, site, x):
        if self.expert is None:
            return torch.zeros_like(x)
        if not 0 <= self.expert < x.shape[-1]:
            raise EditError(
                f"expert={self.expert} is outside 0 … {x.shape[-1] - 1} of layer {site.layer}"
            )
        x = x.clone()
        x[..., self.expert] = 0
        return x

    def where(self) -> str:
        return super().where().rpartition(", ")[0]

    def _what(self) -> str:
        return f"{self.part if self.expert is None else f'expert {self.expert}'} skipped"

    def arguments(self) -> dict[str, Any]:
        values = {"layer": self.layer, "part": self.part, "expert": self.expert, "kind": self.kind}
        return {name: value for name, value in values.items() if value is not None}


# -- inside ---------------------------------------------------------------------------------------


def _one_or_all(place: int | None, n: int) -> slice:
    return slice(0, n) if place is None else slice(place, place + 1)


def whole_or_none(name: str, value: Any) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise EditError(f"{name} must be a whole number, or None for all, got {value!r}")


def _same(value: Any, default: Any) -> bool:
    return (
        type(value) is type(default)
        and isinstance(value, str | int | float | type(None))
        and (value == default)
    )


def written(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={_literal(value)}" for name, value in values.items())


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Tensor):
        return "value"
    return "reference" if hasattr(value, "vectors") else repr(value)
