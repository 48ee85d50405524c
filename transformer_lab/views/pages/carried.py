"""A model embedded in a page: its weights, its tokenizers and the engine that runs it there."""

from __future__ import annotations

import copy
import json
import math
import zlib
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...adapters.continuation import ends_of
from ...adapters.linear import stored
from ...adapters.lookup import hugging_face_of, network_of
from ...adapters.network import Inputs, Network
from ...graphs.block_walks import NAME
from ...graphs.check import reads, tensors_of
from ...graphs.export import Graph, GraphError, Written, calls_of, outputs_of
from ...graphs.obtaining import at_hand, graph_of_model
from ...graphs.rows import apart
from ...graphs.store import is_shipped, structure_of
from ...model import Transformer
from ...readers import PictureClassifier
from ..shared.modules import VIEWS, join_modules
from .commons import ENGINE, MODEL
from .export import Block, block_text
from .pictures import PictureModel
from .precision import BITS, change_of, packed, unpacked
from .tokenizers import packed_tokenizer, recorded_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ...text_model import TextModel
    from ...tracing.trace import Trace

    Travelling = TextModel | PictureModel


CHECKED = 8  # rows of answers that a page compares


@dataclass(frozen=True)
class Carried:
    """What `packedOf` in views/engine/client.js reads.

    about: name, config and tokenizers, as JSON.
    weights: the bytes of a model.safetensors.
    check: as of `_check`. Not in `about`, which is the same for every text.
    rounded: the largest change of a weight by rounding.
    precision: "float32", "float16" or "int8".
    note: what the page cannot do with it, or how 8 bits change its answers, in a sentence; or "".
    prepares: whether the page can prepare another image for it.
    """

    about: bytes = field(repr=False)
    weights: bytes = field(repr=False)
    check: dict[str, Any] = field(repr=False)
    rounded: float
    precision: str = "float16"
    note: str = ""
    prepares: bool = False

    @property
    def bits(self) -> int:
        """Bits per weight."""
        return BITS[self.precision]

    @property
    def blocks(self) -> tuple[Block, Block]:
        """The engine, and the model that it runs."""
        parts = [self.about, self.weights]
        engine = Block(ENGINE, {}, [engine_script().encode()])
        info = {"checksums": [zlib.crc32(part) for part in parts], "check": self.check}
        return engine, Block(MODEL, info, parts)

    @property
    def size(self) -> int:
        """How many bytes it adds to a page, including the engine."""
        return sum(len(block_text(block)) for block in self.blocks)


def why_not(model: Travelling) -> str:
    """Why a page cannot embed a model, as the end of a sentence; "" if it can (if it exports)."""
    if isinstance(model, PictureModel) and model.why:
        return model.why
    module = network_of(model.model).module
    weights = list(module.parameters())
    if any(p.is_meta for p in weights):
        return "some of its weights are not in memory; load it without a device_map"
    # The root's parts are together after a pass: only its methods show that it is sharded.
    if any(hasattr(part, "full_tensor") for part in weights) or hasattr(module, "reshard"):
        return "FSDP keeps its weights in parts; give the model as it was before fully_shard"
    if any(stored(p)[0] is not p for p in weights):
        return "its weights are quantized; a page quantizes them itself, so load it without"
    if narrow := {p.dtype for p in weights} & {torch.float16, torch.bfloat16}:
        name = str(narrow.pop()).removeprefix("torch.")
        return f"it computes in {name}, and a page in float32; load it with dtype='float32'"
    if is_ours(model) or type(model.model) is PictureClassifier or hugging_face_of(model.model):
        return ""
    name = type(model.model).__name__
    return f"a {name} does not run in a page; a tl.Transformer or a Hugging Face model does"


def is_ours(model: Travelling) -> bool:
    """Whether the model is a `tl.Transformer`."""
    return type(model.model) is Transformer


def why_no_other_text(model: TextModel) -> str:
    """Why a page with this model takes no other text, as the end of a sentence; "" if it does."""
    for tokenizer in (model.tokenizer, model.target_tokenizer):
        try:
            packed_tokenizer(tokenizer)
        except ValueError as error:
            return str(error)
    return ""


def carried(
    model: Travelling,
    precision: str = "float16",
    traces: Iterable[Trace] = (),
    written: bool = False,
) -> Carried:
    """A model of texts, or of images, as a page holds it.

    Args:
        precision: of the weights: "float32", "float16" or "int8"; see `packed`.
        traces: of texts on which the effect of 8 bits is measured.
        written: whether the page needs which component wrote what; see `checked_graph`.

    Raises:
        ValueError: for a model that cannot be embedded, or with weights that are not finite.
    """
    if why := why_not(model):
        raise ValueError(f"{model.name} cannot travel in a page: {why}")
    network = network_of(model.model)
    learned = dict(network.module.named_parameters(remove_duplicate=False))
    for name, weight in learned.items():
        if not bool(weight.isfinite().all()):
            raise ValueError(f"{model.name} cannot travel: {name} has values that are not finite")
    traces = list(traces)
    texts = [_inputs(trace) for trace in traces]
    graph = exported_of(model, written, texts)
    if texts and not any(reads(graph, one) for one in texts):
        raise GraphError(
            f"its graph reads exactly {graph.lengths['tokens'][0]} tokens ({graph.fixed}), and this "
            f"text has {texts[0].tokens.shape[1]}"
        )
    prepares, says = model.preparation() if isinstance(model, PictureModel) else (None, "")
    from safetensors.torch import save

    weights = {**graph.weights, **(prepares.weights if prepares else {})}
    tensors = {name: t.detach().cpu().float().contiguous() for name, t in weights.items()}
    narrow = {name: t for name, t in tensors.items() if name not in learned}  # tables, integers
    narrow |= packed({name: t for name, t in tensors.items() if name in learned}, precision)
    again = unpacked(narrow)
    rounded = max(float((again[n] - t).abs().max()) for n, t in tensors.items() if t.numel())
    about: dict[str, Any] = {
        "name": model.name,
        "config": config_of(network, graph, _example(model), model.name),
        "graph": graph.description(),
        "analyses": {} if graph.written is None else graph.written.graphs,
    }
    if isinstance(model, PictureModel):
        about["analyses"] = {} if prepares is None else {"prepare": prepares.description()}
        note = " ".join(filter(None, (_change_of_answer(graph, again, model, precision), says)))
    else:
        sides, note = _of_texts(model, precision, again, traces)
        about |= sides
    text = json.dumps(about, allow_nan=False).encode("ascii")
    check = _check(graph, again, [*texts, _example(model)])
    return Carried(text, save(narrow), check, rounded, precision, note, prepares is not None)


def _of_texts(
    model: TextModel, precision: str, weights: dict[str, Tensor], read: list[Trace]
) -> tuple[dict[str, Any], str]:
    """The tokenizers, how an answer starts and ends, and a note on what the page cannot do or how 8 bits change its answers."""
    text = ""
    if precision == "int8" and read:
        text = change_of(model, weights, read).sentence(BITS[precision])
    sides = [_packed_or_recorded(model, side, read) for side in (0, 1)]
    if why := why_no_other_text(model):
        text = f"{text} No other text can be read in this page: {why}.".strip()
    about: dict[str, Any] = {
        "tokenizer": sides[0],
        "ends": sorted(ends_of(model.network.module, model.target_tokenizer.eos_id)),
    }
    if model.target_tokenizer is not model.tokenizer:
        about["targetTokenizer"] = sides[1]
    if model.kind == "encoder-decoder":
        about["starts"] = model.starts
    return about, text


def _check(graph: Graph, weights: dict[str, Tensor], inputs: Sequence[Inputs]) -> dict[str, Any]:
    """What the page computes again before it answers: the last answers of the first of these inputs
    that the graph reads, in PyTorch with the weights of the page.

    Returns:
        `inputs`; `places`, the positions, or None for an image; and for each the `ids` of its
        largest answers, and their `chances`: probabilities, or for a model without a head fractions
        of the largest number of all.
    """
    (answers,) = graph.results
    read = next(one for one in inputs if reads(graph, one))
    given = dict(zip(graph.inputs, tensors_of(read, graph), strict=True))
    if "pixel_values" in given:  # not the image, which is large
        given["pixel_values"] = _waves(given["pixel_values"].shape)
    kept = {name: weights[name].to(x.dtype) for name, x in graph.weights.items()}
    found = replace(graph, weights=kept).run(*given.values())[0].cpu().double()
    places = None
    if graph.lengths:
        places = list(range(max(0, len(found) - CHECKED), len(found)))
        found = found[places]
    rows = found.reshape(-1, found.shape[-1])[:CHECKED]
    rows = rows.softmax(-1) if answers == "logits" else rows / rows.abs().max().clamp(min=1)
    top = rows.abs().topk(min(4, rows.shape[-1]))
    return {
        "inputs": {
            name: x[0].tolist() if name != "pixel_values" else list(x.shape)
            for name, x in given.items()
        },
        "places": places,
        "ids": top.indices.tolist(),
        "chances": rows.gather(-1, top.indices).tolist(),
    }


def _waves(shape: Sequence[int]) -> Tensor:
    """The image that `verified` in views/engine/verified.js makes as well."""
    return torch.arange(math.prod(shape), dtype=torch.float64).sin().float().reshape(shape)


def _change_of_answer(
    graph: Graph, weights: dict[str, Tensor], model: PictureModel, precision: str
) -> str:
    """How 8 bits change the answer to the image shown, in a sentence; "" for other precisions."""
    if precision != "int8":
        return ""
    before = graph.run(model.pixels)
    share = apart(before, replace(graph, weights=weights).run(model.pixels))
    return (
        f"The weights of this page have {BITS[precision]} bits: on this image that changes the model's "
        f"answer by up to {100 * share:.1f} % of its largest number."
    )


def _packed_or_recorded(model: TextModel, side: int, traces: Sequence[Trace]) -> dict[str, Any]:
    """The tokenizer of the text (0) or the target (1), which may be the same.

    If it does not run in a page, the ids of these traces' texts.
    """
    tokenizer = (model.tokenizer, model.target_tokenizer)[side]
    try:
        return packed_tokenizer(tokenizer, masks=model.kind == "encoder")
    except ValueError as error:
        shared = model.tokenizer is model.target_tokenizer
        read = [(i, text) for trace in traces for i, text in enumerate(trace.words or ())]
        words = [text for i, text in read if text is not None and (shared or i == side)]
        return recorded_tokenizer(tokenizer, words, str(error))


def exported_of(model: Travelling, written: bool = False, texts: Sequence[Inputs] = ()) -> Graph:
    """The graph of a model, checked against the model as it is now, on these texts as well.

    Raises:
        ValueError: for a model that does not export, or whose graph differs from it.
    """
    network, example = _to_export(model)
    return graph_of_model(network, example, lambda: _about_export(model, written), written, texts)


def _inputs(trace: Trace) -> Inputs:
    return Inputs(trace.tokens[:1], None if trace.target is None else trace.target[:1])


def graph_at_hand(model: TextModel, then: Callable[[], Any], written: bool = False) -> bool:
    """Whether the graph of a model is already known; otherwise another process exports it.

    Args:
        then: called from another thread when the export has ended, successfully or not.
        written: as in `carried`.

    Raises:
        ValueError: for a model that no other process can export, or whose export has failed.
    """
    network, example = _to_export(model)
    return at_hand(network, example, then, written)


def has_every_graph(model: TextModel) -> bool:
    """Whether the package ships this model's graphs, including which component wrote what."""
    return is_shipped(structure_of(*_to_export(model)))


def _to_export(model: Travelling) -> tuple[Network, Inputs]:
    network = network_of(model.model)
    if network.module.training:
        network = network_of(copy.deepcopy(network.module).eval())
    return network, _example(model)


def _about_export(model: Travelling, written: bool) -> str:
    """A message about what an export takes, estimated from SmolLM2-135M.

    That took 14 s on one core and 1.6 GB, and 40 s more for which component wrote what.
    """
    network = network_of(model.model)
    numbers = sum(p.numel() for p in network.module.parameters())
    layers = sum(len(network.layers(kind)) for kind in network.kinds)
    seconds, memory = 10 + numbers / 4e7, 0.6 + 2 * 4 * numbers / 2**30
    seconds += layers + numbers / 1.3e7 if written else 0
    return (
        f"Exporting {model.name} as a graph, once, in another process: about {seconds:.0f} s and "
        f"{memory:.1f} GB of memory. Ctrl+C stops it."
    )


def _example(model: Travelling) -> Inputs:
    """Example inputs: token ids [1, 8], and a target if the model has one; or the image shown."""
    if isinstance(model, PictureModel):
        return model.inputs
    size, target = network_of(model.model).vocabulary
    ids = torch.arange(8)[None] % (size or 8)
    both = model.kind == "encoder-decoder"
    return Inputs(ids, torch.arange(6)[None] % (target or 6) if both else None)


def config_of(
    network: Network, graph: Graph, example: Inputs, name: str = "the model"
) -> dict[str, Any]:
    """What `GraphModel` in the page's engine needs to know besides the graph."""
    attends = [node[2] for node in graph.nodes if node[0] == "transformer_lab.attend"]
    calls = calls_of(network, example)
    size, target = network.vocabulary
    lengths = [*graph.lengths.values()][-1:]  # of the stack that predicts; none for an image
    written = graph.written or Written()
    return {
        "kind": network.kind,
        "layers": {kind: 1 + max(a[9] for a in attends if a[8] == kind) for kind in graph.kinds},
        "n_heads": max(network.n_heads(kind) or 0 for kind in graph.kinds),
        "n_kv_heads": max(x.shape[1] for call in calls if (x := call.value) is not None),
        "n_ctx": lengths[0][1] if lengths else None,
        "vocab_size": size,
        "target_vocab_size": target if network.kind == "encoder-decoder" else None,
        "lacking": dict(graph.lacking),
        "pairs": dict(graph.pairs),
        "w_o": outputs_of(network, calls, graph.weights),
        "walks": {
            site: {key: x.replace(NAME, name) if key == "why" else x for key, x in walk.items()}
            for site, walk in graph.walks.items()
        },
        "sources": written.sources,
        "refused": {what: why.replace(NAME, name) for what, why in written.refused.items()},
    }


@cache
def engine_script() -> str:
    """The engine as the source of a Web Worker."""
    return join_modules(VIEWS / "engine" / "worker.js")
