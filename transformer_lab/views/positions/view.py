"""How attention sees word order: every scheme, what it depends on, and what changes with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import traitlets as t
from torch import Tensor

from ...adapters.lookup import transformer_of
from ...adapters.wrappers import unwrapped
from ...model import Transformer
from ...positions import SCHEMES, alibi_slopes, scheme
from ..shared.base import css, esm
from ..shared.codecs import pack_floats, shown_text
from ..shared.messages import messages
from ..shared.selection import SelectionView, link_of
from ..shared.traits import Float, Int
from .numbers import attention, permutation, put_back
from .scene import position_scene
from .schemes import KNOWN, MAX_DISTANCE, Known, Sizes
from .trial import Trial, token_names, tried

say = messages("positions")

if TYPE_CHECKING:
    from ..marks.scene import Scene

SENTENCE = "the dog bit the man"
TESTS = ("move", "shuffle")
LONGEST_TABLE = 512  # most positions of a learned table that are shown


class PositionView(SelectionView):
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

    scheme = t.Unicode("sinusoidal").tag(sync=True)
    d_model = Int(64, min=2, max=1 << 14).tag(sync=True)
    n_heads = Int(4, min=1, max=256).tag(sync=True)
    base = Float(10000.0).tag(sync=True)
    length = Int(64, min=2, max=LONGEST_TABLE).tag(sync=True)
    shift = Int(16, min=0, max=LONGEST_TABLE).tag(sync=True)
    causal = t.Bool(False).tag(sync=True)
    test = t.Enum(TESTS, "move").tag(sync=True)
    shuffle = Int(0, min=0).tag(sync=True)
    first_results: ClassVar = SelectionView.first_results | {"_table": b"", "_maps": b""}

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
                "a text= on which it is measured, or describe it in views/positions/schemes.py and "
                "schemes.js"
            )
        words = text if model is None and text is not None else SENTENCE
        traits = self._look_at(model, tokenizer, text, labels, name) if model is not None else {}
        if model is not None:
            d_model, n_heads = model.config.d_model, model.config.n_heads
            length = min(length, model.config.n_ctx)
            causal = model.config.kind == "decoder"
        self._words, self._given = _words(words), traits.pop("_given", {})
        measured = self._given.get("shifts")
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
            _words=self._words,
            _given=self._given,
            **traits,
        )
        layers = model.config.n_layers if model is not None and measured else 1
        for place, value, count in (("layer", layer, layers), ("head", head, n_heads)):
            if not 0 <= value < count:
                raise ValueError(f"{place}={value} is outside 0 … {count - 1}")
        self.layer, self.head = layer, head
        if not measured:
            self.shift = min(self.shift, self._most_shift)

    def _look_at(self, model: Transformer, tokenizer, text, labels, name) -> dict[str, Any]:
        """Everything that the view takes from a model, as traits."""
        config = model.config
        given: dict[str, Any] = {"name": shown_text(name), "scheme": config.positions.name}
        given |= {"d_model": config.d_model, "n_heads": config.n_heads, "d_head": config.d_head}
        given |= {"n_ctx": config.n_ctx, "layers": config.n_layers}
        given |= {"causal": config.kind == "decoder"}
        given |= {"base": getattr(config.positions, "base", None)}
        given |= {"halves": getattr(config.positions, "halves", False)}
        traits: dict[str, Any] = {}
        self._model_table = Known(config.positions.name).table(model, LONGEST_TABLE)
        if self._model_table is not None:
            traits["_table"] = pack_floats(self._model_table)
        for name in ("buckets", "max_distance"):
            if hasattr(config.positions, name):
                given[name] = getattr(config.positions, name)
        if text is not None:
            tokens, labels, special = _tokens(model, tokenizer, text, labels)
            self._trial = trial = tried(model, tokens, labels, special)
            n, kind = len(tokens), trial.kind
            given |= {"kind": kind, "words": token_names(labels), **trial.described()}
            traits |= {
                "_maps": trial.packed(),
                "kind": kind,
                "link": link_of(trial.trace),
                "_kinds": {
                    kind: {
                        "layers": config.n_layers,
                        "heads": config.n_heads,
                        "queries": n,
                        "keys": n,
                    }
                },
            }
        return {"_given": given, **traits}

    @t.validate("scheme")
    def _check_scheme(self, proposal: Any) -> str:
        value = proposal["value"]
        if value not in KNOWN and value != self._given.get("scheme"):
            raise t.TraitError(f"scheme={value!r} is not known; choose one of {', '.join(KNOWN)}")
        return value

    @t.validate("base")
    def _check_base(self, proposal: Any) -> float:
        if not proposal["value"] > 1:
            raise t.TraitError(f"base={proposal['value']} must be above 1")
        return proposal["value"]

    # -- what is shown ----------------------------------------------------------------------------

    @property
    def own(self) -> bool:
        """Whether the model's own scheme is shown, with its own sizes."""
        return bool(self._given) and self._given["scheme"] == self.scheme

    @property
    def _known(self) -> Known:
        return Known(self.scheme)

    @property
    def _sizes(self) -> Sizes:
        own = self.own
        return Sizes(
            width=self.width,
            heads=self.heads,
            head=self._head,
            base=self._base,
            halves=bool(own and self._given["halves"]),
            causal=self._causal,
            table=self._model_table if own else None,
            max_distance=self._given.get("max_distance", MAX_DISTANCE),
        )

    @property
    def _from_model(self) -> str | None:
        """Which of the model's measurements is shown, if any: "own" or "none"."""
        if self._trial is None:
            return None
        if self.own:
            return "own"
        return "none" if self.scheme == "none" else None

    @property
    def width(self) -> int:
        """Size of a position's vector, or of one head's query and key."""
        added = bool(self._known.words.get("vector"))
        if self.own:
            return self._given["d_model" if added else "d_head"]
        return self.d_model if added else max(2, self.d_model // self.n_heads // 2 * 2)

    @property
    def heads(self) -> int:
        """How many heads there are to choose from: the model's own number, if it is shown."""
        return self._given["n_heads"] if self.own or self._from_model else self.n_heads

    @property
    def _base(self) -> float:
        return self._given["base"] if self.own else self.base

    @property
    def _head(self) -> int:
        return min(self.head, self.heads - 1)

    @property
    def _causal(self) -> bool:
        return self._given["causal"] if self._from_model or self.own else self.causal

    @property
    def _most_shift(self) -> int:
        return max(0, self.length - len(self._words["ids"]))

    def encoding(self) -> Tensor | None:
        """The scheme as the view shows it, or None if it has no such parts.

        Vectors [position, dimension] of sinusoidal and learned positions, angles [position, pair]
        in radians of rotary ones, biases [head, query, key] of ALiBi and T5.
        """
        return self._known.encoding(self._sizes, self.length)

    def by_distance(self) -> tuple[Tensor, Tensor]:
        """(distances key − query [distance], values [series, distance]).

        Values are the dot product of two positions' vectors (for a learned table its mean, minimum
        and maximum over the text), the mean cosine of rotary pairs, or every head's bias.
        """
        n = self.length
        distances = torch.arange(-(n - 1), 1 if self._causal else n)
        return distances, self._known.by_distance(self._sizes, distances, n)

    def weights(self) -> tuple[Tensor, Tensor]:
        """Attention weights [query, key] before and after the test that is shown.

        After a shuffle, each word is put back in its original position.
        """
        variant = self._from_model
        if variant is not None:
            assert self._trial is not None
            place = (min(self.layer, self.kinds[self._trial.kind]["layers"] - 1), self._head)
            before = self._trial.before[variant]
            if self.test == "move" and variant == "none":
                return before[place], before[place]
            after = self._trial.changes[variant][self.test][self._which][0]
            return before[place], after[place]
        ids = self._words["ids"]
        head = self._known.in_head(self._sizes, self.shift + len(ids))
        before = attention(head, ids, 0, self._causal)
        if self.test == "move":
            return before, attention(head, ids, self.shift, self._causal)
        order = permutation(len(ids), self.shuffle)
        shuffled = attention(head, [ids[i] for i in order], 0, self._causal)
        return before, put_back(shuffled, order)

    @property
    def largest(self) -> float:
        """The largest change of a weight in the test."""
        before, after = self.weights()
        # In fp64, as in the browser, so that both report the same number.
        return float((before.double() - after.double()).abs().max())

    @property
    def _which(self) -> int:
        """Which of the trial's states is shown."""
        assert self._trial is not None
        if self.test == "shuffle":
            return self.shuffle % len(self._trial.orders)
        shifts = self._trial.shifts
        return min(range(len(shifts)), key=lambda i: abs(shifts[i] - self.shift))

    @property
    def _shown_shift(self) -> int:
        if self._from_model == "own":
            assert self._trial is not None
            return self._trial.shifts[self._which] if self.test == "move" else self.shift
        return self.shift

    @property
    def sentence(self) -> str:
        return say(
            "sentence",
            scheme=self.scheme,
            own=self.own,
            width=self.width,
            pairs=self.width // 2,
            name=self._given["name"] if self._trial else None,
            head=self._head,
            causal=self._causal,
            slope=float(alibi_slopes(self.heads)[self._head]),
            test=self.test,
            shift=self._shown_shift,
            largest=self.largest,
        )

    def _scene(self) -> Scene:
        names = self._given["words"] if self._from_model else self._words["names"]
        moved, last = self._shown_shift, len(names) - 1
        titles = (f"positions 0–{last}", f"positions {moved}–{moved + last}")
        if self.test == "shuffle":
            titles = ("as written", "shuffled, put back")
        return position_scene(
            self._title,
            self.sentence,
            self.scheme,
            self._head,
            self._causal,
            self.encoding(),
            self.by_distance(),
            self.weights(),
            titles,
            names,
        )


def _check(*, d_model, n_heads, length, shift, base, test) -> None:
    most = {"d_model": 1 << 14, "n_heads": 256, "length": LONGEST_TABLE, "shift": LONGEST_TABLE}
    least = {"d_model": 2, "n_heads": 1, "length": 2, "shift": 0}
    given = dict(d_model=d_model, n_heads=n_heads, length=length, shift=shift)
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{name}={value!r} must be a whole number")
        if not least[name] <= value <= most[name]:
            raise ValueError(f"{name}={value} is outside {least[name]} … {most[name]}")
    if d_model % 2:
        raise ValueError(f"d_model={d_model} must be even: sines and cosines come in pairs")
    if not base > 1:
        raise ValueError(f"base={base} must be above 1; the paper has 10000")
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
