"""How attention sees word order: every scheme, what it depends on, and what changes with it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import traitlets as t
from torch import Tensor

from ...adapters.lookup import transformer_of
from ...adapters.wrappers import unwrapped
from ...model import Transformer
from ...positions import SCHEMES, scheme
from ..shared.base import css, esm
from ..shared.codecs import pack_floats, shown_text
from ..shared.modules import VIEWS
from ..shared.scripted import ScriptedView
from ..shared.selection import SelectionView, link_of, sizes_of
from ..shared.traits import Float, Int
from .trial import Trial, token_names, tried

KNOWN = {*json.loads((VIEWS / "positions" / "schemes.json").read_text("utf-8"))} - {"other"}
SENTENCE = "the dog bit the man"
TESTS = ("move", "shuffle")
LONGEST_TABLE = 512  # most positions of a learned table that are shown


class PositionView(ScriptedView, SelectionView):
    """Position schemes side by side: the encoding itself, the dot product or bias by distance, and
    what changes when a sentence is moved or its words are shuffled.

    Sinusoidal, rotary and ALiBi positions are closed forms, which the browser computes, so sliders
    work in a saved page too. A learned table and T5's biases come from the model; without a model
    they are random (standard deviation 0.5 and 1), and the view says so.

    Without a model and a text, moving and shuffling are measured on one head with fixed random
    queries and keys (one of each per word, standard deviation 1), the same for every scheme.

    Args:
        scheme_or_model: a scheme of `transformer_lab.positions` or its name; a `Transformer`, a
            Hugging Face model of a family that `pretrained.load` knows, or a `TextModel`: then its
            own positions are shown first. None: sinusoidal positions.
        text: what is moved and shuffled: text for a TextModel, token ids [position] for another
            model, words separated by spaces without a model.
        labels: a label for each token id.
        d_model, n_heads, base, length: initial sizes (a model's own if there is one); base: 10000
            unless the scheme sets it.
        shift: by how many positions the words are moved.
        causal: whether the head with random queries is causal.
        test: "move" or "shuffle".
        layer, head: of the model, or for ALiBi and T5 the head whose biases are shown.
        title: the model's name by default.

    Raises:
        ValueError: for an unknown scheme, a size that does not fit, or a text that is too long.
    """

    _esm: ClassVar[str] = esm("positions/view.js")
    _css: ClassVar[str] = css("positions")
    _folder: ClassVar[str] = "positions"

    scheme = t.Unicode("sinusoidal").tag(sync=True)
    d_model = Int(64, min=2, max=1 << 14).tag(sync=True)
    n_heads = Int(4, min=1, max=256).tag(sync=True)
    base = Float(10000.0).tag(sync=True)
    length = Int(64, min=2, max=LONGEST_TABLE).tag(sync=True)
    shift = Int(16, min=0, max=LONGEST_TABLE).tag(sync=True)
    causal = t.Bool(False).tag(sync=True)
    test = t.Enum(TESTS, "move").tag(sync=True)
    shuffle = Int(0, min=0).tag(sync=True)
    first_results: ClassVar = SelectionView.first_results | {"_given": {}}

    def __init__(
        self,
        scheme_or_model: Any = None,
        *,
        text: Any = None,
        labels: Sequence[str] | None = None,
        d_model: int = 64,
        n_heads: int = 4,
        base: float | None = None,
        length: int = 64,
        shift: int = 16,
        causal: bool = False,
        test: str = "move",
        layer: int = 0,
        head: int = 0,
        title: str | None = None,
    ):
        model, tokenizer, name = _model_of(scheme_or_model)
        chosen = scheme("sinusoidal") if model is None else model.config.positions
        if scheme_or_model is not None and model is None:
            chosen = scheme(scheme_or_model)
        base = float(getattr(chosen, "base", 10000.0) if base is None else base)
        _check(d_model=d_model, n_heads=n_heads, length=length, shift=shift, base=base, test=test)
        self._model_table: Tensor | None = None
        self._trial: Trial | None = None
        if chosen.name not in KNOWN and (model is None or text is None):
            raise ValueError(
                f"scheme {chosen.name!r} has no formula in this view: give a model that has it and "
                "a text= on which it is measured, or describe it in views/positions/schemes.js and "
                "schemes.json"
            )
        words = _words(text if model is None and text is not None else SENTENCE)
        traits = self._look_at(model, tokenizer, text, labels, name) if model is not None else {}
        if model is not None:
            d_model, n_heads = model.config.d_model, model.config.n_heads
            length = min(length, model.config.n_ctx)
            causal = model.config.kind == "decoder"
        measured = traits.get("_given", {}).get("shifts")
        if measured:
            shift = max(by for by in measured if by <= shift)
        super().__init__(
            title=title or name or "Positions",
            of=(model,),
            scheme=chosen.name,
            d_model=d_model,
            n_heads=n_heads,
            base=base,
            length=length,
            causal=causal,
            test=test,
            shift=shift,
            _words=words,
            **traits,
        )
        layers = model.config.n_layers if model is not None and measured else 1
        for place, value, count in (("layer", layer, layers), ("head", head, n_heads)):
            if not 0 <= value < count:
                raise ValueError(f"{place}={value} is outside 0 … {count - 1}")
        self.layer, self.head = layer, head
        if not measured:
            self.shift = min(self.shift, max(0, self.length - len(words["ids"])))
        self._hold()

    def _look_at(self, model: Transformer, tokenizer, text, labels, name) -> dict[str, Any]:
        """Everything that the view takes from a model, as traits."""
        config, positions = model.config, model.config.positions
        self._model_table = _learned(model)
        given: dict[str, Any] = {
            "name": shown_text(name),
            "scheme": positions.name,
            "d_model": config.d_model,
            "n_heads": config.n_heads,
            "d_head": config.d_head,
            "n_ctx": config.n_ctx,
            "layers": config.n_layers,
            "causal": config.kind == "decoder",
            "table": self._model_table is not None,
        }
        for part in ("base", "halves", "buckets", "max_distance"):
            if hasattr(positions, part):
                given[part] = getattr(positions, part)
        if text is None:
            return {"_given": given}
        tokens, labels, special = _tokens(model, tokenizer, text, labels)
        self._trial = trial = tried(model, tokens, labels, special)
        given |= {"words": token_names(labels), **trial.described()}
        return {
            "_given": given,
            "kind": trial.kind,
            "link": link_of(trial.trace),
            "_kinds": {trial.kind: sizes_of(trial.trace)[trial.kind]},
        }

    @t.validate("scheme")
    def _check_scheme(self, proposal: Any) -> str:
        value = proposal["value"]
        if value not in KNOWN and value != self._results["_given"].get("scheme"):
            raise t.TraitError(f"scheme={value!r} is not known; choose one of {', '.join(KNOWN)}")
        return value

    @t.validate("base")
    def _check_base(self, proposal: Any) -> float:
        if not 1 < proposal["value"] < math.inf:
            raise t.TraitError(f"base={proposal['value']} must be above 1, and finite")
        return proposal["value"]

    # -- what is shown ----------------------------------------------------------------------------

    @property
    def own(self) -> bool:
        """Whether the model's own scheme is shown, with its own sizes."""
        return self._shown("sizes")["sizes"]["own"]

    @property
    def width(self) -> int:
        """Size of a position's vector, or of one head's query and key."""
        return self._shown("sizes")["sizes"]["width"]

    @property
    def heads(self) -> int:
        """How many heads there are to choose from: the model's own number, if it is shown."""
        return self._shown("sizes")["sizes"]["heads"]

    def encoding(self) -> Tensor | None:
        """The scheme as the view shows it, or None if it has no such parts.

        Vectors [position, dimension] of sinusoidal and learned positions, angles [position, pair]
        in radians of rotary ones, biases [head, query, key] of ALiBi and T5.
        """
        found = self._shown("encoding")["encoding"]
        return None if found is None else tensor(found["values"]).reshape(found["shape"])

    def by_distance(self) -> tuple[Tensor, Tensor]:
        """(distances key − query [distance], values fp32 [series, distance]).

        Values are the dot product of two positions' vectors (for a learned table its mean, minimum
        and maximum over the text), the mean cosine of rotary pairs, or every head's bias.
        """
        found = self._numbers()
        return torch.tensor(found.along("distance")), tensor(found["by_distance"])

    def weights(self) -> tuple[Tensor, Tensor]:
        """Attention weights [query, key] before and after the test that is shown.

        After a shuffle, each word is put back in its original position.
        """
        change = self._shown("change")["change"]
        before, after = (
            tensor(change[name]).reshape(change["n"], -1) for name in ("before", "after")
        )
        return before, after

    @property
    def largest(self) -> float:
        """The largest change of a weight in the test."""
        return self._shown("change")["change"]["largest"]

    # -- for the browser --------------------------------------------------------------------------

    def _part_named(self, name: str) -> tuple[dict[str, Any], list[bytes]]:
        if name == "table" and self._model_table is not None:
            return {}, [pack_floats(self._model_table)]
        if name == "maps" and self._trial is not None:
            return {}, [self._trial.packed()]
        return super()._part_named(name)


def tensor(values: Any) -> Tensor:
    return torch.from_numpy(values.copy())


def _learned(model: Transformer) -> Tensor | None:
    """What a model learned, fp32: its positions' vectors, or its first stack's biases; or None."""
    module: Any = model.positions
    if model.config.positions.name == "learned":
        return module.weight.detach().float().cpu()[:LONGEST_TABLE]
    if model.config.positions.name == "relative":
        first = module.decoder if model.config.kind == "decoder" else module.encoder
        return first.weight.detach().float().cpu()
    return None


def _check(*, base: float, test: str, **sizes: int) -> None:
    traits: dict[str, Any] = PositionView.class_traits()
    for name, value in sizes.items():
        least, most = traits[name].min, traits[name].max
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{name}={value!r} must be a whole number")
        if not least <= value <= most:
            raise ValueError(f"{name}={value} is outside {least} … {most}")
    if sizes["d_model"] % 2:
        raise ValueError(
            f"d_model={sizes['d_model']} must be even: sines and cosines come in pairs"
        )
    if not 1 < base < math.inf:
        raise ValueError(f"base={base} must be above 1, and finite; the paper has 10000")
    if test not in TESTS:
        raise ValueError(f"test={test!r} is not known; choose 'move' or 'shuffle'")


def _model_of(given: Any) -> tuple[Transformer | None, Any, str]:
    """(`Transformer`, its tokenizer, its name); (None, None, "") if a scheme was given."""
    if given is None or isinstance(given, (str, dict, *SCHEMES.values())):
        return None, None, ""
    inner = unwrapped(given)
    tokenizer = getattr(given, "tokenizer", None)
    name = getattr(given, "name", "") or type(inner).__name__
    if isinstance(inner, torch.nn.Module):
        own = transformer_of(inner)
        if own is None:
            from ...pretrained import load

            own = load(inner)
        return own, tokenizer, name
    raise ValueError(
        f"scheme_or_model is a {type(given).__name__}; give a scheme ({', '.join(SCHEMES)}), a "
        "Transformer or a TextModel"
    )


def _tokens(model, tokenizer, text, labels) -> tuple[Tensor, list[str], list[bool]]:
    if isinstance(text, str):
        if tokenizer is None:
            raise ValueError(
                f"text={text!r} needs a tokenizer: give a TextModel, or token ids with labels="
            )
        from ...text_model import TextModel

        reader = TextModel(model, tokenizer)
        tokens = reader.encode(text)
        if len(tokens) > model.config.n_ctx:
            raise ValueError(f"text has {len(tokens)} tokens; n_ctx={model.config.n_ctx}")
        trace = reader.trace(text, *(text,) * (reader.kind == "encoder-decoder"))
        kind = "encoder" if "encoder" in trace.kinds else "decoder"
        return tokens, list(trace.query_tokens(kind)), trace.special(kind)
    tokens = torch.as_tensor(text).long().flatten()
    names = [str(i) for i in tokens.tolist()] if labels is None else [str(x) for x in labels]
    if len(names) != len(tokens):
        raise ValueError(f"labels has {len(names)} names; text has {len(tokens)} tokens")
    return tokens, names, [False] * len(tokens)


def _words(text: Any) -> dict[str, Any]:
    """Words, and an id for each; equal words have equal ids."""
    words = text.split() if isinstance(text, str) else [str(word) for word in text]
    if not 2 <= len(words) <= 16:
        raise ValueError(f"text has {len(words)} words; give 2 to 16")
    kinds = {word: i for i, word in reversed(list(enumerate(dict.fromkeys(words))))}
    return {"names": token_names(words), "ids": [kinds[word] for word in words]}
