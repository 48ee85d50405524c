"""The adapter for Hugging Face models, through the attention interface."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..attention import AttentionCall, Site, Tap
from . import attention_interface, copies, placeholders
from . import model_inputs as reading
from . import output_gates as between
from . import returned_maps as fallback
from . import stream_edits as stream
from .causality import structure_of
from .continuation import go_on
from .hooks import SESSION, hook, hooked
from .interrupts import no_grad
from .module_lists import block_modules
from .network import ChangedError, Inputs, Layer, Network, Output, edits_among, unreadable
from .patches import Patches
from .speech import sound_of, times_of, unread
from .structure import Structure, parameters_of

OTHER_INPUTS = ("pixel_values", "input_features", "input_values", "bbox")


class HuggingFaceNetwork(Network):
    """The adapter for a transformers model.

    Args:
        module: a PreTrainedModel.
    """

    _patches: tuple[Inputs | None, Patches | None] = (None, None)  # of the last inputs

    @property
    def config(self) -> Any:
        return self.module.config

    @cached_property
    def structure(self) -> Structure:
        return structure_of(self.module)

    @property
    def kinds(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.structure.kinds

    @property
    def kind(self) -> str:
        if self.structure.both:
            return "encoder-decoder"
        return "decoder" if self.structure.causal else "encoder"

    def heads(self, kind: str) -> Sequence[int | None]:
        return [layer.heads for layer in self.layers(kind)]

    def layers(self, kind: str) -> tuple[Layer, ...]:
        return self.structure.layers(kind)

    @property
    def name(self) -> str:
        return getattr(self.config, "name_or_path", "") or type(self.module).__name__

    @property
    def size(self) -> int:
        width = getattr(self.config, "d_model", None) or getattr(self.config, "hidden_size", 0)
        return width * (getattr(self.config, "num_hidden_layers", None) or 1)

    @property
    def vocabulary(self) -> tuple[int | None, int | None]:
        size = getattr(self.config, "vocab_size", None)
        if size is None:  # it is that of the text model inside
            decoder = getattr(self.module, "decoder", None) if self.structure.both else None
            return self._rows(self.module), self._rows(decoder or self.module)
        return size, getattr(self.config, "target_vocab_size", None) or size

    def _rows(self, module: Any) -> int | None:
        """How many rows a model's embedding of tokens has. None if it has no embedding, or if larger
        ids mark an image or a sound."""
        table = None
        with suppress(AttributeError, NotImplementedError):
            table = module.get_input_embeddings()
        rows = getattr(table, "num_embeddings", None)
        ends = ("token_id", "token_index")
        ids = [x for n, x in vars(self.config).items() if n.endswith(ends) and isinstance(x, int)]
        return None if rows is None or max(ids, default=0) >= rows else rows

    @property
    def has_head(self) -> bool:
        return getattr(self.module, "get_output_embeddings", lambda: None)() is not None

    @property
    def has_classes(self) -> bool:
        return "ForImageClassification" in type(self.module).__name__

    @property
    def picture_size(self) -> tuple[int, int] | None:
        return reading.image_size(self.module) if reading.reads_pixels(self.module) else None

    # -- one pass -------------------------------------------------------------------------------

    def run(self, inputs: Inputs) -> Output:
        """Run one forward pass.

        Raises:
            ValueError: for tokens or positions that the model has no embedding for.
        """
        given = self._given(inputs)
        try:
            output = _output(self.module(**given))
        except (AttributeError, TypeError, ValueError) as error:
            if unfit := placeholders.do_not_fit(self.module, inputs, error):
                raise ValueError(unfit) from error
            lacks = [name for name in OTHER_INPUTS if name in parameters_of(self.module)]
            named = bool(lacks) and ("NoneType" in str(error) or lacks[0] in str(error))
            if not named or inputs.tokens is None:
                raise
            raise ValueError(
                f"{type(self.module).__name__} needs {lacks[0]} besides text; trace the text "
                "model inside it instead"
            ) from error
        except (IndexError, RuntimeError) as error:  # RoBERTa's last positions, a long target …
            beyond = "out of bounds" in str(error) or "out of range" in str(error)
            read = inputs.target if inputs.tokens is None else inputs.tokens
            if not beyond or read is None:
                if why := unread(self.module, inputs.given, error):
                    raise ValueError(why) from error
                raise
            raise ValueError(
                f"{type(self.module).__name__} has no embedding for one of these tokens or "
                f"positions ({read.shape[1]} tokens); shorten the text"
            ) from error
        if self.structure.own and self.structure.is_outdated():
            del self.structure
            raise ChangedError(
                f"{type(self.module).__name__} replaced some of its modules during this pass"
            )
        return output

    def _given(self, inputs: Inputs) -> dict[str, Any]:
        return reading.inputs_of(inputs, self.module, self.structure.causal)

    def check(self, inputs: Inputs) -> None:
        reading.check_modality(self.module, inputs.tokens, inputs.given)
        if inputs.tokens is None:
            return
        super().check(inputs)
        limit = getattr(self.config, "max_position_embeddings", None) or 0
        if 0 < limit < inputs.tokens.shape[1]:
            raise ValueError(
                f"the text has {inputs.tokens.shape[1]} tokens but this model's context is "
                f"{limit}; shorten it"
            )

    def more_inputs(self, tokens: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        found = reading.more_inputs(self.module, tokens, given)
        return placeholders.read(self.module, tokens, found)

    def patches(self, inputs: Inputs) -> Patches | None:
        # Needed several times for the same inputs, and it walks through every module.
        asked, found = self._patches
        if asked is not inputs:
            by_tokens = inputs.tokens is not None
            find = placeholders.patches_among if by_tokens else reading.patches_of
            self._patches = inputs, (found := find(self.module, inputs))
        return found

    def picture(self, inputs: Inputs) -> Tensor | None:
        found = super().picture(inputs)
        return placeholders.picture_of(self.module, inputs) if found is None else found

    def pictured(self, inputs: Inputs) -> Tensor | None:
        return placeholders.standing(self.module, inputs)

    def heard(self, inputs: Inputs) -> list[str] | None:
        if inputs.tokens is not None:
            return None
        sound = sound_of(self.module)
        return times_of(self.module, inputs.given) if sound is None else sound.labels

    def n_positions(self, inputs: Inputs) -> int:
        found = self.patches(inputs)
        if found is not None:
            return len(inputs.first) * len(found.labels)
        if (heard := self.heard(inputs)) is not None:
            return len(inputs.first) * len(heard) + super().n_positions(inputs)
        return super().n_positions(inputs)

    def in_copies(self, tap: Tap, inputs: Inputs) -> bool | None:
        return None if copies.may_be_copied(self.module, tap, inputs) else False

    def edited_beside(self, tap: Tap) -> bool:
        session = self.module.__dict__.get(SESSION)
        return session is not None and edits_among(tap, session.taps)

    @property
    def numbers_per_token(self) -> int:
        return copies.numbers_per_token(self.module)

    def predicting_at(self, places: Tensor) -> AbstractContextManager[None]:
        return copies.head_at(self.module, places)

    def own_maps(self, inputs: Inputs) -> tuple[Output, dict[str, dict[int, Tensor]]]:
        output, maps = fallback.eager_maps(self.module, self._given(inputs))
        if len(maps) == 1 and not self.structure.both:  # the patterns show which kind it is
            (found,) = maps.values()
            maps = {"encoder" if any(map(_looks_ahead, found)) else "decoder": found}
        return _output(output), {kind: self._by_layer(kind, found) for kind, found in maps.items()}

    def _by_layer(self, kind: str, maps: tuple) -> dict[int, Tensor]:
        """Patterns by layer: hybrid models return those of their attention layers only."""
        try:
            having = [layer.number for layer in self.layers(kind) if layer.heads != 0]
        except attention_interface.AdapterError:
            having = []
        if len(having) == len(maps):
            return dict(zip(having, maps, strict=True))
        return {i: found for i, found in enumerate(maps) if found is not None}

    def remarks(self, inputs: Inputs) -> str:
        counted = reading.remark(self._given(inputs), inputs)
        return " ".join(filter(None, (attention_interface.remark(self.structure), counted)))

    def missing(self, kinds: Collection[str]) -> str:
        return self.structure.missing(kinds)

    # -- its parts ------------------------------------------------------------------------------

    def blocks(self, kind: str | None = None) -> list[nn.Module]:
        if kind is None:
            return list(block_modules(self.module).values())
        return self.structure.blocks(kind)

    def apart(self) -> set[nn.Module]:
        towers = {self.module.get_submodule(path) for path in self.structure.apart.values()}
        return {module for tower in towers for module in tower.modules()}

    def output_weight(self, call: AttentionCall) -> Tensor | None:
        return attention_interface.output_projection(self.module, self.structure.names, call)

    def stands_between(self, site: Site) -> bool:
        return between.stands_between(self, site)

    @property
    def logit_softcap(self) -> float | None:
        config = getattr(self.config, "get_text_config", lambda: self.config)()
        names = ("final_logit_softcapping", "logits_soft_cap")  # Gemma's, RecurrentGemma's
        return next((cap for name in names if (cap := getattr(config, name, None))), None)

    def after_blocks(self, kind: str, inputs: Inputs) -> Callable[[Tensor], Tensor] | None:
        """A function from streams to logits: a stream replaces the last block's output."""
        blocks = self.blocks(kind)
        if not blocks or (inputs.tokens is None and inputs.target is None):
            return None
        one, target = (None if x is None else x[:1, :1] for x in (inputs.tokens, inputs.target))
        beside = inputs.given if one is None else {}  # inputs other than tokens
        first = {n: x[:1] if isinstance(x, Tensor) else x for n, x in beside.items()}
        given = self._given(Inputs(one, target, given=first))
        owner = threading.get_ident()

        def run(x: Tensor) -> Tensor:
            # One token each: after the last block, every model treats positions independently.
            streams = x.reshape(-1, 1, x.shape[-1])

            def instead(_module: Any, _args: Any, output: Any) -> Any:
                if threading.get_ident() != owner:
                    return None
                return (streams, *output[1:]) if isinstance(output, tuple) else streams

            with hooked(partial(hook, blocks[-1], instead)):
                logits = _output(self.module(**given)).logits
            assert logits is not None  # called only for models with a head
            return logits.reshape(*x.shape[:-1], -1)

        return run

    # -- taps -----------------------------------------------------------------------------------

    def tapped(self) -> Iterator[Any]:
        yield from ()  # the taps are the session's, see attention_interface

    def add_tap(self, tap: Tap) -> None:
        attention_interface.add_tap(self.module, tap, self.structure)

    def remove_tap(self, tap: Tap) -> None:
        attention_interface.remove_tap(self.module, tap)

    def pass_now(self) -> Any:
        return attention_interface.pass_of(self.module)

    def resumed(self, state: Any) -> AbstractContextManager[None]:
        return attention_interface.resumed(self.module, state)

    def watching_stream(self, tap: Tap) -> AbstractContextManager[None]:
        return attention_interface.watching_blocks(self.module, tap)

    def changing_stream(
        self, tap: Tap, names: Sequence[str], kind: str, layer: int | None
    ) -> AbstractContextManager[None]:
        return stream.changing(self.module, tap, names, kind, layer)

    def refuses_stream(self, names: Sequence[str], kind: str) -> str:
        return unreadable(names)  # the rest is checked when the hooks are registered

    # -- the whole ------------------------------------------------------------------------------

    def evaluated(self) -> Network:
        twin = super().evaluated()
        return self if twin is self else HuggingFaceNetwork(twin.module)

    @property
    def n_ctx(self) -> int | None:
        names = ("n_ctx", "max_position_embeddings", "n_positions")
        found = (getattr(self.config, name, None) for name in names)
        return next((n for n in found if n and n > 0), None)

    def untrained(self) -> Any:
        return type(self.module)(copy.deepcopy(self.config))

    def save(self, folder: str | Path, ours: Callable[..., Any], **options: Any) -> None:
        self.module.save_pretrained(folder)

    def write(
        self,
        tokens: Tensor,
        most: int,
        *,
        bos_id: int | None,
        eos_id: int | None,
        written: Tensor | None = None,
        sampling: Any = None,
        cached: bool = True,
        **options: Any,
    ) -> list[int]:
        if sampling is not None:
            return go_on(
                self,
                tokens,
                most,
                bos_id=bos_id,
                eos_id=eos_id,
                written=written,
                sampling=sampling,
                cached=cached,
            )
        both = self.kind == "encoder-decoder"
        if both and written is not None:
            options["decoder_input_ids"] = written
        if not cached:
            options["use_cache"] = False
        with no_grad():
            found = self.module.generate(tokens, max_new_tokens=most, do_sample=False, **options)
        before = tokens.shape[1] if not both else 0 if written is None else written.shape[1]
        return found[0, before:].tolist()


def _looks_ahead(maps: Any) -> bool:
    return isinstance(maps, Tensor) and maps.dim() == 4 and bool((maps.triu(1) > 0).any())


def _output(given: Any) -> Output:
    logits = getattr(given, "logits", None)
    logits = getattr(given, "prediction_logits", None) if logits is None else logits
    if logits is not None and logits.dim() != 3:  # [batch, class], or of an image's pixels
        return Output(answers=logits)
    return Output(logits, getattr(given, "last_hidden_state", None))
