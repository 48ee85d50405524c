"""A training run described by a TOML file, for the command line and for torchrun."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..arguments import Seed, shown, type_hints, unknown, wrong
from ..config import LARGEST_SIZE, MODEL_KINDS, ModelConfig
from ..datasets.batches import MOST
from ..files.paths import OneLine, as_path
from ..files.rng import seed_everything
from ..files.safefiles import read_bytes
from . import distributed

# Every key but those of the model and of the dataset, with its type and what it does.
KEYS: dict[str, dict[str, tuple[Any, str]]] = {
    "data": {
        "name": (
            str,
            "a dataset of transformer_lab.datasets, whose options are keys of this section too",
        ),
        "batch_size": (int, "rows per batch, over all processes (32)"),
        "n_ctx": (int, "tokens per row, for running text (the model's n_ctx)"),
        "seed": (Seed, "seed of the dataset and of the order of its batches (0)"),
        "by_length": (bool, "batches of texts of similar length, with little padding (false)"),
    },
    "train": {
        "steps": (int, "the total number of updates"),
        "optimizer": (str, "adamw or modern (adamw)"),
        "lr": (float, "peak learning rate"),
        "schedule": (str, "cosine, linear, noam or constant"),
        "warmup": (int, "steps of warm-up"),
        "clip": (float, "largest gradient norm"),
        "weight_decay": (float, "weight decay on matrices"),
        "label_smoothing": (float, "label smoothing of the training loss (0)"),
        "precision": (str, "auto, fp32, bf16 or fp16 (auto)"),
        "compile": (bool | str, "use torch.compile: true, false, auto or a backend (false)"),
        "device": (str, "auto, cpu, cuda or mps (auto)"),
        "threads": (int, "CPU threads of each process"),
        "seed": (Seed, "seed of the weights and of dropout (0)"),
        "eval_every": (int, "steps between evaluations (a tenth of the run)"),
        "eval_batches": (int, "held-out batches per evaluation (20)"),
    },
    "run": {
        "folder": (str, "the folder of the run"),
        "keep": (int, "how many checkpoints to keep (2)"),
        "checkpoint_every": (int, "steps between checkpoints (a tenth of the run)"),
        "snapshot_every": (int, "steps between attention snapshots (none)"),
        "probe": (str, "text whose attention is saved (the first held-out example)"),
    },
}
# The least and the most that a number may be, if the code that uses it does not check that.
RANGES = {
    "batch_size": (1, MOST),
    "n_ctx": (1, LARGEST_SIZE),
    "eval_batches": (1, MOST),
    "threads": (1, 4096),
    "keep": (1, MOST),
}
MAX_FILE = 1 << 20
PRESETS = {
    "modern": ModelConfig.modern,
    "paper_base": ModelConfig.paper_base,
    "paper_big": ModelConfig.paper_big,
}


class ConfigError(OneLine, ValueError):
    """A configuration that cannot be used; the message gives path, line and remedy."""


@dataclass(frozen=True)
class TrainConfig:
    """The checked contents of a file: one dict per section."""

    path: Path
    text: str
    model: dict[str, Any]
    data: dict[str, Any]
    train: dict[str, Any]
    run: dict[str, Any]

    def error(self, section: str, key: str | None, message: str) -> ConfigError:
        line = _line_of(self.text, section, key)
        where = f"{self.path}:{line}" if line else f"{self.path}"
        return ConfigError(f"{where}: [{section}] {message}")

    @contextmanager
    def blaming(self, section: str) -> Iterator[None]:
        """Add to an error of the library the file and the line of the key that it names."""
        try:
            yield
        except ConfigError:
            raise
        except (ValueError, TypeError) as error:
            named = re.findall(r"\b([a-z_]+)(?==|\b)", str(error))
            section_keys = getattr(self, section)
            key = next((word for word in named if word in section_keys), None)
            raise self.error(section, key, str(error)) from error


def read_config(path: str | Path) -> TrainConfig:
    """Read and check a file, as far as possible without loading the data.

    Raises:
        ConfigError: if it is not TOML, has an unknown section or key (the message lists the known
            ones) or a value of the wrong type, or lacks a key.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # pyright: ignore[reportMissingImports]

    path = as_path(path)
    try:
        text = read_bytes(path, limit=MAX_FILE, error=ConfigError).decode("utf-8-sig")
        values = tomllib.loads(text)
    except ConfigError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid TOML: too many nested brackets") from None
    except ValueError as error:  # also a number of too many digits, not a TOMLDecodeError
        where = re.search(r"\(at line (\d+)", str(error))
        raise ConfigError(
            f"{path}{':' + where[1] if where else ''}: not valid TOML: {error}"
        ) from None
    sections = ("model", *KEYS)
    for section, given in values.items():
        if section not in sections:
            line = _line_of(text, section, None) or _line_of(text, "", section)
            raise ConfigError(
                f"{path}{f':{line}' if line else ''}: unknown section {section!r}; known: "
                f"{', '.join(sections)}"
            )
        if not isinstance(given, dict):
            raise ConfigError(f"{path}: {section} must be a section: [{section}]")
    config = TrainConfig(path, text, **{s: dict(values.get(s, {})) for s in sections})
    for section, key in (("data", "name"), ("train", "steps"), ("run", "folder")):
        if key not in getattr(config, section):
            raise config.error(section, None, f"{key} is missing: {KEYS[section][key][1]}")
    from .. import datasets

    name, preset = config.data["name"], config.model.get("preset")
    for section, key, value, names in (
        ("data", "name", name, datasets.IN_TRAINING_FILES),
        ("model", "preset", preset, tuple(PRESETS)),
        ("model", "kind", config.model.get("kind"), MODEL_KINDS),
    ):
        if value is not None and value not in names:
            message = f"{key} must be one of {', '.join(names)}, got {shown(value)}"
            raise config.error(section, key, message)
    known: dict[str, dict[str, Any]] = {
        section: {key: hint for key, (hint, _) in keys.items()} for section, keys in KEYS.items()
    }
    known["data"] |= _options(name)
    known["model"] = type_hints(ModelConfig) | {"preset": str, "positions": str | dict}
    for section in sections:
        for key, value in getattr(config, section).items():
            _check_key(config, section, key, value, known[section])
    return config


def run_from_config(path: str | Path, resume: bool = False, *, progress: bool = True) -> Any:
    """Train as the file describes. Under torchrun every process calls this.

    The run's folder also gets `model/`, which `TextModel.from_pretrained` and
    `transformer-lab explore --model` read.

    Returns:
        the `Run`.

    Raises:
        ConfigError: if the file cannot be used; the message gives path, line and remedy.
        TrainingStopped: after an interrupt.
    """
    from ..model import Transformer
    from .loop import train
    from .run import Run

    config = read_config(path)
    options, extra = dict(config.train), dict(config.run)
    threads, seed = options.pop("threads", None), options.pop("seed", 0)
    n_eval, device_name = options.pop("eval_batches", 20), options.pop("device", "auto")
    options.setdefault("eval_every", max(1, options["steps"] // 10))
    folder, keep = extra.pop("folder"), extra.pop("keep", 2)
    with config.blaming("run"):
        run = Run(folder, keep=keep)
    with config.blaming("train"):
        if threads is not None:
            torch.set_num_threads(threads)
        device, joined = distributed.join(device_name)
    try:
        data = _load_data(config)
        batches, held_out = _batches(config, data, n_eval)
        probe = _probe(config, data) if "snapshot_every" in extra else None
        extra.pop("probe", None)
        seed_everything(seed)
        with config.blaming("model"):
            model = Transformer(_model_config(config, data)).to(device)
        _check_fit(config, model, held_out[0])
        seed_everything(seed + 1 + distributed.rank_and_size()[0])  # each process its own dropout
        with config.blaming("train"):
            steps = train(
                model,
                batches,
                threads=threads,
                **options,
                **extra,
                eval_batches=held_out,
                probe=probe,
                run=run,
                resume=resume,
                progress=progress,
            )
        for _ in steps:
            pass
        if distributed.rank_and_size()[0] == 0:
            from ..text_model import TextModel

            TextModel(model, data.tokenizer, data.name).save(run.folder / "model")
        return run
    finally:
        if joined:
            distributed.leave()


# ---------------------------------------------------------------- the parts


def _load_data(config: TrainConfig) -> Any:
    from .. import datasets

    name = config.data["name"]
    accepted = _options(name)
    with config.blaming("data"):
        return getattr(datasets, name)(**{k: v for k, v in config.data.items() if k in accepted})


def _model_config(config: TrainConfig, data: Any) -> ModelConfig:
    values = dict(config.model)
    make = PRESETS.get(values.pop("preset", None) or "", ModelConfig)
    values.setdefault("vocab_size", data.tokenizer.vocab_size)
    if make is not ModelConfig.paper_base and make is not ModelConfig.paper_big:
        values.setdefault("kind", _kind(config, data))
    if values["vocab_size"] < data.tokenizer.vocab_size:
        raise ValueError(
            f"vocab_size={values['vocab_size']} is below the {data.tokenizer.vocab_size} tokens of "
            f"{data.name}; leave it out"
        )
    made = make(**values)
    if not made.head:
        raise ValueError("head=false leaves no token predictions to train; leave it out")
    return made


def _kind(config: TrainConfig, data: Any) -> str:
    if config.model.get("preset", "").startswith("paper"):
        return "encoder-decoder"
    return config.model.get("kind", getattr(data, "kinds", ("decoder",))[0])


def _batches(config: TrainConfig, data: Any, n_eval: int) -> tuple[Any, list]:
    """Training batches, and the first few held-out ones."""
    kind = _kind(config, data)
    size, seed = config.data.get("batch_size", 32), config.data.get("seed", 0)
    with config.blaming("data"):
        if hasattr(data, "kinds"):  # separate examples
            by_length = config.data.get("by_length", False)
            stream = data.batches(size, kind=kind, seed=seed, by_length=by_length)
            return stream, data.epoch(size, kind=kind)[:n_eval]
        if config.data.get("by_length"):
            raise ValueError("by_length=true is for separate texts; running text has no padding")
        n_ctx = config.data.get("n_ctx") or config.model.get("n_ctx", 256)
        stream, held_out = data.batches(size, n_ctx, seed=seed), data.epoch(size, n_ctx)[:n_eval]
        if kind == "encoder":
            from ..datasets import mask_tokens

            stream = stream.masked(data.tokenizer)
            held_out = [mask_tokens(b, data.tokenizer, seed=i) for i, b in enumerate(held_out)]
        elif kind != "decoder":
            raise ValueError(
                f"name={data.name!r} is running text, which needs kind='decoder' or 'encoder', not {kind!r}"
            )
        stream.sha256 = data.sha256
        return stream, held_out


def _probe(config: TrainConfig, data: Any) -> Any:
    text = config.run.get("probe")
    with config.blaming("run"):
        if not hasattr(data, "kinds"):
            n_ctx = config.data.get("n_ctx") or config.model.get("n_ctx", 256)
            return data.held_out[: min(64, n_ctx)] if text is None else data.encode(text)
        if text is not None:
            raise ValueError(f"probe={text!r} is for running text; leave it out for {data.name}")
        batch = data.collate(data.held_out[:1], kind=_kind(config, data))
        return batch.tokens if batch.target_in is None else (batch.tokens, batch.target_in)


def _check_fit(config: TrainConfig, model: Any, batch: Any) -> None:
    """Run one forward pass, so that errors of shape are reported as errors of the file."""
    from .objective import evaluate, predict, to_device

    batch = to_device(batch, model.device)
    with config.blaming("model"):
        evaluate(model, [batch], loss=lambda m, b: predict(m, b).sum() * 0)
    shown = batch.tokens if batch.target_in is None else batch.target_in
    if batch.targets.shape != shown.shape:
        raise config.error(
            "data",
            "name",
            f"{config.data['name']} for kind={model.config.kind!r} has one target per text, but a "
            "configuration file trains models that predict a token at every position; use tl.train",
        )


def _options(name: str) -> dict[str, Any]:
    """Options of a dataset that a TOML file can set, with their types."""
    from .. import datasets

    hints = type_hints(getattr(datasets, name))
    return {option: hint for option, hint in hints.items() if option != "return"}


# ---------------------------------------------------------------- checks


def _check_key(
    config: TrainConfig, section: str, key: str, value: Any, known: Mapping[str, Any]
) -> None:
    if key not in known:
        raise config.error(section, key, f"unknown key {unknown(key, sorted(known))}")
    must_be = wrong(value, known[key], infinite=key == "clip")
    if must_be:
        raise config.error(section, key, f"{key} must be {must_be}, got {shown(value)}")
    least, most = RANGES.get(key, (None, None)) if section in KEYS else (None, None)
    if least is not None and value < least:
        raise config.error(section, key, f"{key} must be at least {least}, got {value}")
    if most is not None and value > most:
        raise config.error(section, key, f"{key} must be at most {most:,}, got {value}")
    if isinstance(value, str) and not value.strip():
        raise config.error(section, key, f"{key} is empty; leave the line out, or fill it in")


def _line_of(text: str, section: str, key: str | None) -> int | None:
    """The line number of a key in a section (or of the section, for key=None)."""
    here = ""
    for number, line in enumerate(text.split("\n"), 1):
        header = re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line)
        if header:
            here = header[1].split(".")[0].strip("\"' ")
            if here == section and key is None:
                return number
        elif (
            key is not None
            and here == section
            and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line)
        ):
            return number
    return None
