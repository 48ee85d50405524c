"""Load weights with a check that each is found, of the right shape and type, and finite.

transformers fills what it does not find with random numbers and says so in a log that nobody
reads. Here a model whose weights are not all in the file is refused, unless the caller allows it;
then it lists the names of what is random, and every view of it says so.
"""

from __future__ import annotations

import logging as levels
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..adapters.classes import family_of, shape_of
from ..files.paths import FileError
from .conversion import some
from .folder import AGAIN, Header, look_at

_WHOLE = ("I", "U", "B")  # first letters of the types of integers and booleans
_BUFFERS = 1 << 24  # numbers that a model may compute for itself, such as a causal mask
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
Pick = Callable[[Any], Any]


def load_hugging_face(
    source: str | Path, pick: Pick, *, allow_missing: bool = False, **options: Any
) -> Any:
    """A transformers model from a folder, or by its name on the hub, with checked weights.

    Args:
        pick: configuration -> the class to build.
        allow_missing: weights that the file does not hold stay random; the model's
            `random_weights` names them.
        options: for transformers, such as dtype.

    Raises:
        FileError: naming what is missing, left over, of another shape or type, or not
            finite; or the file that is damaged.
        OSError, ValueError: from transformers, for a name on the hub.
    """
    import transformers

    folder = _folder_of(source, options)
    options = {**options, "trust_remote_code": False}
    if folder is not None:
        options["local_files_only"] = True
    of_weights = ("dtype", "device_map", "quantization_config")
    with silence(), load_errors(folder):
        tensors = None if folder is None else look_at(folder)
        config = transformers.AutoConfig.from_pretrained(
            str(source), **{k: v for k, v in options.items() if k not in of_weights}
        )
        chosen = pick(config)
        shape = shape_of(chosen, config)
        quantized = getattr(config, "quantization_config", None) is not None
        if tensors is not None and folder is not None and not quantized:
            _check_fit(shape, tensors, folder)
        if not (quantized or "quantization_config" in options or "device_map" in options):
            _check_memory(source, shape, options.get("dtype", "auto"), config)
        model, report = chosen.from_pretrained(
            str(source), config=config, output_loading_info=True, use_safetensors=True, **options
        )
        missing = sorted(report["missing_keys"])
        if missing and all(name.split(".")[0] == "pooler" for name in missing):
            model.pooler, missing = None, []  # its output is not used here
        unknown = _unknown(model, report["unexpected_keys"])
    check(
        str(source),
        missing=() if allow_missing else missing,
        unknown=() if allow_missing else unknown,
        way_out=not allow_missing,
        shapes=[(n, list(a), list(b)) for n, a, b in report["mismatched_keys"]],
        values=model,
    )
    model.random_weights = tuple(missing)
    return model.eval()


def load_hugging_face_tokenizer(source: str | Path, **options: Any) -> Any:
    """The tokenizer of a folder or a name; errors as in `load_hugging_face`."""
    import transformers

    folder = _folder_of(source, options)
    options = {**options, "trust_remote_code": False}
    with silence(), load_errors(folder, "tokenizer"):
        if folder is not None:
            look_at(folder, weights=False)
            options["local_files_only"] = True
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(source), **options)
        tokenizer.encode("a")  # a damaged one may break only now
        if len(tokenizer) == len(tokenizer.all_special_ids):
            raise FileError(f"{source} holds a tokenizer without words; {AGAIN}")
    return tokenizer


def load_image_processor(source: str | Path, **options: Any) -> Any:
    """The image processor of a folder or a name; None if it has none. Errors as in
    `load_hugging_face`."""
    import transformers

    folder = _folder_of(source, options)
    options = {**options, "trust_remote_code": False}
    with silence(), load_errors(folder, "image processor"):
        if folder is not None:
            look_at(folder, weights=False)
            if not any((folder / name).exists() for name in _PROCESSORS):
                return None
            options["local_files_only"] = True
        return transformers.AutoImageProcessor.from_pretrained(str(source), **options)


def _folder_of(source: str | Path, options: Mapping[str, Any]) -> Path | None:
    return Path(source) / options.get("subfolder", "") if Path(source).is_dir() else None


def _check_memory(source: Any, shape: Any, dtype: torch.dtype | str, config: Any) -> None:
    """Check that the weights fit into memory.

    Raises:
        FileError: if the weights alone take more memory than is free.
    """
    import psutil

    if dtype == "auto":
        dtype = getattr(config, "dtype", None) or torch.float32
    kind = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    count = sum(p.numel() for p in shape.parameters())
    needed, free = count * kind.itemsize, psutil.virtual_memory().available
    if needed > free:
        raise FileError(
            f"{source} has {count:,} weights, which take {needed / 2**30:.1f} GiB in "
            f"{str(kind).removeprefix('torch.')}, and {free / 2**30:.1f} GiB are free; use a narrower "
            'dtype, a quantization_config, or device_map="auto", which keeps parts on the disk'
        )


def fill(model: nn.Module, state: Mapping[str, Tensor], source: Any, **options: Any) -> None:
    """`load_state_dict`, strict, with one sentence for what does not fit.

    Raises:
        FileError: see `load_hugging_face`.
    """
    own = model.state_dict()
    shapes = [
        (name, list(value.shape), list(own[name].shape))
        for name, value in state.items()
        if name in own and value.shape != own[name].shape
    ]
    whole = [
        name
        for name, parameter in model.named_parameters()
        if name in state and parameter.is_floating_point() > state[name].is_floating_point()
    ]
    missing = [name for name in own if name not in state]
    unknown = [name for name in state if name not in own]
    check(source, missing=missing, unknown=unknown, shapes=shapes, whole=whole)
    model.load_state_dict(state, **options)
    check(source, values=model)


def check(
    source: Any,
    *,
    missing: Iterable[str] = (),
    unknown: Iterable[str] = (),
    shapes: Iterable[tuple[str, list[int], list[int]]] = (),
    whole: Iterable[str] = (),
    values: nn.Module | None = None,
    way_out: bool = False,
) -> None:
    """Check that no weights have any of these problems.

    Raises:
        FileError: if some have, naming the first four and how many more.
    """
    different = [f"{name} ({found} for {wanted})" for name, found, wanted in shapes]
    infinite = [] if values is None else _not_finite(values)
    kinds = {
        "are missing": list(missing),
        "do not belong to the model": list(unknown),
        "have another shape": different,
        "are integers or booleans": list(whole),
        "hold numbers that are not finite": infinite,
    }
    wrong = [f"{some(names)} {what}" for what, names in kinds.items() if names]
    if wrong:
        way = AGAIN
        if way_out and (kinds["are missing"] or kinds["do not belong to the model"]):
            way += ", or set allow_missing=True (--allow-missing) to fill them with random numbers"
        raise FileError(
            f"{source} does not hold the weights of the model that its config describes: "
            f"{'; '.join(wrong)}; {way}"
        )


def _not_finite(model: nn.Module) -> list[str]:
    tensors = {**dict(model.named_parameters()), **model.state_dict()}
    return sorted(
        name
        for name, t in tensors.items()
        # quantized weights are tensors of other classes; offloaded ones have no numbers here
        if type(t) in (Tensor, nn.Parameter) and t.is_floating_point() and not t.is_meta
        if not _finite(t)
    )


def _finite(t: Tensor) -> bool:
    """Whether all numbers are finite, by the smallest and the largest, which are NaN if one is:
    thirty times faster than looking at each."""
    if not t.numel():
        return True
    if t.element_size() == 1:  # there is no such operation for float8
        t = t.float()
    return bool(torch.stack(t.aminmax()).isfinite().all())


# -- before the weights are read ------------------------------------------------------------------


def _check_fit(model: Any, tensors: Header, folder: Path) -> None:
    """Check the shapes of the weights, and how many numbers would be random or computed."""
    prefix = f"{model.base_model_prefix}."
    own = {name.removeprefix(prefix): p for name, p in model.named_parameters()}
    theirs = {name.removeprefix(prefix): (name, *about) for name, about in tensors.items()}
    both = [(*theirs[name], own[name]) for name in theirs if name in own]
    check(
        folder,
        shapes=[(n, s, list(p.shape)) for n, _, s, p in both if s != list(p.shape)],
        whole=[n for n, kind, _, p in both if kind[0] in _WHOLE and kind != "BF16"],
    )
    held = sum(p.numel() for *_, p in both)
    wanted = sum(p.numel() for p in own.values())
    computed = sum(b.numel() for b in model.buffers())
    if wanted > 4 * held + _BUFFERS or computed > 16 * held + _BUFFERS:
        raise FileError(
            f"{folder / 'config.json'} describes a model of {wanted + computed:,} numbers, but "
            f"the weights hold {held:,}; {AGAIN}"
        )


def _unknown(model: Any, left: Iterable[str]) -> list[str]:
    """The tensors that the model did not take and no model of its family has: a pooler or the head
    of another task is not a sign of damage, a thirteenth layer is one."""
    left = sorted(left)
    if not left:
        return []
    prefix = f"{model.base_model_prefix}."
    known: set[str] = set()
    for other in family_of(type(model), model.config):
        with torch.device("meta"):
            built = other(model.config)
        names = {*built.state_dict(), *(name for name, _ in built.named_buffers())}
        known |= {name.removeprefix(prefix) for name in names}
    return [name for name in left if name.removeprefix(prefix) not in known]


def names_of(chosen: Any, config: Any) -> set[str]:
    """The names of the weights that a class would have."""
    return {name for name, _ in shape_of(chosen, config).named_parameters()}


# -- the library's messages -----------------------------------------------------------------------


@contextmanager
def silence() -> Iterator[None]:
    """Silence logs, warnings and progress bars of transformers: what matters is raised."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(levels.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def load_errors(folder: Path | None, what: str = "model") -> Iterator[None]:
    """Turn whatever a library raises over a folder's files into one sentence.

    The tokenizers' library panics with an exception that is not even an `Exception`."""
    try:
        yield
    except (FileError, KeyboardInterrupt, SystemExit, GeneratorExit, ImportError):
        raise  # transformers says which library is not installed, and how to get it
    except BaseException as error:
        if folder is None:
            raise
        lines = str(error).strip().splitlines() or [""]
        why = f"{type(error).__name__}: {lines[0][:240]}".rstrip(": .")
        raise FileError(
            f"{folder} could not be loaded as a Hugging Face {what} ({why}); {AGAIN}"
        ) from error
