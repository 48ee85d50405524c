"""The configuration of a model, as one frozen object that is saved beside its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .arguments import check_fields, names_options, shown, unknown
from .positions import Rotary, Scheme, Sinusoidal, scheme, scheme_to_dict

MODEL_KINDS = ("decoder", "encoder", "encoder-decoder")
NORMS = ("layer", "rms")
ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "relu2", "silu", "swiglu")
# Upper limits of the sizes: beyond them, building takes hours or all memory, and the number is more
# likely a typo.
LARGEST = {"n_layers": 10_000, "n_decoder_layers": 10_000, "d_ff": 2**18, "n_experts": 10_000}
LARGEST_SIZE = 2**24

CELLS = ("lstm", "gru")
ATTENTIONS = ("bahdanau", "none")


@names_options
@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The options of a `Transformer`: its kind, its sizes and the variants of its parts.

    Sizes: `vocab_size` tokens, `n_layers` blocks (in both the encoder and the decoder, unless
    `n_decoder_layers` differs), `n_heads` query heads sharing `n_kv_heads` key/value heads,
    `d_model` dimensions in the residual stream, `d_head` per head (d_model / n_heads), `d_ff` in
    the feed-forward layer (4 · d_model, or 8/3 for SwiGLU), at most `n_ctx` positions. With
    `n_experts`, each block has that many feed-forward layers, and each token goes through
    `experts_per_token` (2) of them: see `blocks.Experts`.

    Raises:
        ValueError: if a value has the wrong type, two sizes do not fit, or a name is unknown.
    """

    vocab_size: int
    kind: str = "decoder"
    n_layers: int = 4
    n_heads: int = 4
    d_model: int = 128
    n_ctx: int = 256
    n_decoder_layers: int | None = None
    target_vocab_size: int | None = None  # encoder-decoder with two vocabularies
    # Derived if left out; whole numbers afterwards.
    n_kv_heads: int = None  # type: ignore[assignment]
    d_head: int = None  # type: ignore[assignment]
    d_ff: int = None  # type: ignore[assignment]
    positions: Scheme = field(default_factory=Rotary)
    norm: str = "layer"
    norm_first: bool = True
    norm_affine: bool = True
    norm_eps: float = 1e-5
    activation: str = "gelu"
    bias: bool = True
    dropout: float = 0.0
    attention_only: bool = False  # blocks without a feed-forward layer
    n_experts: int | None = None  # feed-forward layers per block, among which a router chooses
    experts_per_token: int = None  # type: ignore[assignment]
    balance_loss: float = 0.01  # weight of the term that spreads tokens over experts, in training
    head: bool = True  # False: no head, the model returns its final hidden states
    tie_head: bool = True
    head_bias: bool = False
    head_transform: bool = False  # BERT's dense + activation + norm before the head
    token_types: int = 0  # BERT's segments
    scale_embedding: bool | None = None  # × √d_model; None: yes for sinusoidal positions
    embedding_norm: bool = False
    qk_norm: bool = False
    logit_softcap: float | None = None
    zero_init: bool = False  # output projections and head start at zero
    pad_id: int | None = None

    def __post_init__(self):
        set_ = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        set_("positions", scheme(self.positions))
        check_fields(self)
        for name in ("vocab_size", "n_layers", "n_heads", "d_model", "n_ctx"):
            check_positive(name, getattr(self, name))
        for name in ("n_decoder_layers", "target_vocab_size", "n_kv_heads", "d_head", "d_ff"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        check_known("kind", self.kind, MODEL_KINDS)
        check_known("norm", self.norm, NORMS)
        check_known("activation", self.activation, ACTIVATIONS)
        check_dropout(self.dropout)
        self._check_experts()
        for name in ("norm_eps", "logit_softcap"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 <= self.token_types <= LARGEST_SIZE:
            raise ValueError(f"token_types must be 0 … {LARGEST_SIZE}, got {self.token_types}")
        if self.d_head is None:
            if self.d_model % self.n_heads:
                near = max(1, round(self.d_model / self.n_heads)) * self.n_heads
                raise ValueError(
                    f"d_model must be divisible by n_heads={self.n_heads}, got {self.d_model}; "
                    f"try d_model={near}, or give d_head"
                )
            set_("d_head", self.d_model // self.n_heads)
        if self.n_kv_heads is None:
            set_("n_kv_heads", self.n_heads)
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads must be divisible by n_kv_heads={self.n_kv_heads}, got {self.n_heads}"
            )
        if self.d_ff is None:
            wide = 8 * self.d_model // 3 if self.activation == "swiglu" else 4 * self.d_model
            set_("d_ff", wide)
        if self.kind == "encoder-decoder" and self.n_decoder_layers is None:
            set_("n_decoder_layers", self.n_layers)
        if self.kind != "encoder-decoder":
            for name in ("n_decoder_layers", "target_vocab_size"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{name} is for kind='encoder-decoder' only, got "
                        f"{name}={getattr(self, name)} with kind={self.kind!r}; leave it out"
                    )
        if self.scale_embedding is None:
            set_("scale_embedding", isinstance(self.positions, Sinusoidal))
        if self.pad_id is not None and not 0 <= self.pad_id < self.vocab_size:
            raise ValueError(
                f"pad_id must be below vocab_size={self.vocab_size}, got {self.pad_id}"
            )

    def _check_experts(self) -> None:
        if not 0 <= self.balance_loss < math.inf:
            raise ValueError(f"balance_loss must be at least 0 and finite, got {self.balance_loss}")
        if self.n_experts is None:
            if self.experts_per_token is not None:
                raise ValueError(
                    f"experts_per_token={self.experts_per_token} needs n_experts, the number of "
                    "experts to choose from; try n_experts=8"
                )
            return
        check_positive("n_experts", self.n_experts)
        if self.attention_only:
            raise ValueError(
                f"n_experts={self.n_experts} are feed-forward layers, and attention_only=True has none; "
                "leave one out"
            )
        if self.experts_per_token is None:
            object.__setattr__(self, "experts_per_token", min(2, self.n_experts))
        check_positive("experts_per_token", self.experts_per_token)
        if self.experts_per_token > self.n_experts:
            raise ValueError(
                f"experts_per_token must be at most n_experts={self.n_experts}, got "
                f"{self.experts_per_token}"
            )

    def replace(self, **changes: Any) -> ModelConfig:
        """A copy with some fields changed; sizes that were derived are derived again."""
        derived = {"d_head": None, "d_ff": None} if {"d_model", "n_heads"} & set(changes) else {}
        return replace(self, **{**derived, **changes})

    @classmethod
    def modern(cls, **fields_: Any) -> ModelConfig:
        """The recipe that learns most per step: rotary positions, parameter-free RMSNorm (after
        the embedding too), QK-norm, ReLU², zero-initialised output projections, an untied head
        and a logit softcap of 15. Fields passed here override it. Source: modded-nanogpt, 2024."""
        recipe: dict[str, Any] = dict(positions=Rotary(), norm="rms", norm_affine=False)
        recipe |= dict(embedding_norm=True, qk_norm=True, activation="relu2", bias=False)
        recipe |= dict(zero_init=True, tie_head=False, logit_softcap=15.0)
        return cls(**{**recipe, **fields_})

    @classmethod
    def paper_base(cls, **fields_: Any) -> ModelConfig:
        """The base model of Vaswani et al. 2017 (table 3). The paper states 65 M parameters and
        about 37,000 tokens; with 37,000 there are 63.1 M here (every weight, the shared embedding
        once), and 65 M with 40,700."""
        paper: dict[str, Any] = dict(kind="encoder-decoder", vocab_size=37000, n_layers=6)
        paper |= dict(n_heads=8, d_model=512, d_ff=2048, n_ctx=512, positions=Sinusoidal())
        paper |= dict(norm_first=False, activation="relu", dropout=0.1)
        return cls(**{**paper, **fields_})

    @classmethod
    def paper_big(cls, **fields_: Any) -> ModelConfig:
        """The big model of Vaswani et al. 2017 (table 3). The paper states 213 M parameters; with
        37,000 tokens there are 214.2 M here."""
        paper = dict(n_heads=16, d_model=1024, d_ff=4096, dropout=0.3)
        return cls.paper_base(**{**paper, **fields_})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        out = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**out, "positions": scheme_to_dict(self.positions)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Make a configuration from `to_dict`'s values.

        Raises:
            ValueError: for a key that is not a field; the message lists the fields.
        """
        check_options(cls, values)
        return cls(**values)


@names_options
@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """The options of a `Recurrent`: its kind, its sizes, its cell and its attention.

    Sizes: `vocab_size` tokens, `n_layers` recurrent layers (in the encoder and in the decoder) of
    `d_model` units, texts of at most `n_ctx` tokens (a guard, not a part of the model).

    kind: "decoder" (a language model) or "encoder-decoder".
    cell: "lstm" (Hochreiter and Schmidhuber 1997) or "gru" (Cho et al. 2014).
    attention: for an encoder-decoder. "bahdanau": at every step the decoder attends to the whole
        source (Bahdanau et al. 2015). "none": it gets only the encoder's last state (Sutskever et
        al. 2014). None: "bahdanau" for an encoder-decoder.

    Raises:
        ValueError: if a value has the wrong type, a size does not fit or a name is unknown.
    """

    vocab_size: int
    kind: str = "decoder"
    cell: str = "lstm"
    attention: str | None = None
    n_layers: int = 1
    d_model: int = 128
    n_ctx: int = 2048
    target_vocab_size: int | None = None
    dropout: float = 0.0
    tie_head: bool = True
    pad_id: int | None = None

    n_heads = 1  # Bahdanau's one attention pattern
    head = True

    def __post_init__(self):
        check_fields(self)
        for name in ("vocab_size", "n_layers", "d_model", "n_ctx", "target_vocab_size"):
            if name == "target_vocab_size" and self.target_vocab_size is None:
                continue
            check_positive(name, getattr(self, name))
        if self.attention is None:
            both = self.kind == "encoder-decoder"
            object.__setattr__(self, "attention", "bahdanau" if both else "none")
        known = dict(kind=("decoder", "encoder-decoder"), cell=CELLS, attention=ATTENTIONS)
        for name, names in known.items():
            check_known(name, getattr(self, name), names)
        if self.kind == "decoder":
            for name, nothing in (("attention", "none"), ("target_vocab_size", None)):
                if getattr(self, name) != nothing:
                    raise ValueError(
                        f"{name} is for kind='encoder-decoder' only, got {getattr(self, name)!r}; "
                        "a language model reads one text, so leave it out"
                    )
        elif self.d_model % 2:
            raise ValueError(f"d_model must be even, half for each direction, got {self.d_model}")
        check_dropout(self.dropout)
        if self.pad_id is not None and not 0 <= self.pad_id < self.vocab_size:
            raise ValueError(
                f"pad_id must be below vocab_size={self.vocab_size}, got {self.pad_id}"
            )

    @property
    def n_decoder_layers(self) -> int | None:
        """As in a `ModelConfig`; Bahdanau's attention is one layer at any depth."""
        return 1 if self.kind == "encoder-decoder" else None

    def replace(self, **changes: Any) -> RecurrentConfig:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RecurrentConfig:
        """Make a configuration from `to_dict`'s values.

        Raises:
            ValueError: for a key that is not a field; the message lists the fields.
        """
        check_options(cls, values)
        return cls(**values)


def check_options(config: type, values: dict[str, Any]) -> None:
    """Check that every key is a field of this configuration, and that vocab_size is there."""
    check_table(values)
    known = [f.name for f in fields(config)]
    strange = sorted(set(map(str, values)) - set(known))
    if strange:
        raise ValueError(f"unknown model option {unknown(strange[0], known)}")
    if "vocab_size" not in values:
        raise ValueError("vocab_size is missing from the model options")


def check_table(values: Any) -> None:
    if not isinstance(values, Mapping):
        raise ValueError(
            f"the model options must be a table of names and values, got {shown(values)}"
        )


def check_positive(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {shown(value)}")
    most = LARGEST.get(name, LARGEST_SIZE)
    if value > most:
        raise ValueError(f"{name} must be at most {most:,}, got {shown(value)}")


def check_dropout(value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"dropout must be at least 0 and below 1, got {value}")


def check_known(name: str, value: Any, names: tuple[str, ...]) -> None:
    if value not in names:
        raise ValueError(f"{name} must be one of {', '.join(names)}, got {shown(value)}")
