"""Every argument of every configuration, data set and TOML key, with values of every wrong type.

The property: a value is either refused with one sentence that names the argument, or has the
argument's type. Nothing is accepted silently, and nothing hangs.
"""

import dataclasses
import inspect
import itertools
import math
import typing

import numpy as np
import pytest
import torch
from torch import nn

import transformer_lab as tl
from transformer_lab import datasets
from transformer_lab.arguments import shown, type_hints, wrong
from transformer_lab.optim import AdamW, Modern, Schedule
from transformer_lab.positions import SCHEMES
from transformer_lab.readers import ReaderConfig
from transformer_lab.training.toml import KEYS, ConfigError, read_config

pytestmark = pytest.mark.badinput

VALUES = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    10**6,
    2**63,
    10**400,
    -(10**400),
    10**5000,
    0.0,
    2.0,
    -0.5,
    math.nan,
    math.inf,
    -math.inf,
    1e308,
    "",
    "x",
    "yes",
    "1",
    "\ud800",
    "\0",
    "x" * 10**6,
    [],
    [1],
    ["x"],
    [[]],
    (),
    (1, 2),
    {},
    {"x": 1},
    {"name": []},
    set(),
    b"x",
    1j,
    object(),
    int,
    len,
    np.int64(3),
    np.float32(0.5),
    np.array([1, 2]),
    torch.tensor(1),
]
ids = [f"{i}-{type(v).__name__}" for i, v in enumerate(VALUES)]

MODEL = dict(vocab_size=7, n_layers=1, n_heads=2, d_model=8, n_ctx=8)
CONFIGS = [
    (tl.ModelConfig, MODEL),
    (tl.RecurrentConfig, dict(vocab_size=7, d_model=8)),
    (ReaderConfig, dict(encoder=tl.ModelConfig(kind="encoder", **MODEL))),
    (Schedule, dict(name="cosine", steps=9)),
    (AdamW, {}),
    (Modern, {}),
    *[(scheme, {}) for scheme in SCHEMES.values()],
]
FIELDS = [
    pytest.param(made, good, field.name, id=f"{made.__name__}.{field.name}")
    for made, good in CONFIGS
    for field in dataclasses.fields(made)
]


def refusal(make, **given) -> tuple[object, str]:
    """(what a call returns, "") or (None, its refusal): one short line."""
    try:
        return make(**given), ""
    except ValueError as error:
        said = str(error)
    assert said
    assert "\n" not in said
    assert len(said) < 900, said
    return None, said


def plain(value) -> bool:
    """Whether JSON can hold a value: an independent check of what may pass."""
    if isinstance(value, list | tuple):
        return all(map(plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return (
        value is None or type(value) in (bool, str) or (type(value) is int and abs(value) < 2**63)
    )


def types_of(hint) -> set[type]:
    kinds = typing.get_args(hint) or (hint,)
    return {float: {float, int}, tuple: {tuple, list}}.get(hint, set()) | {
        typing.get_origin(kind) or kind for kind in kinds
    }


@pytest.mark.parametrize(("made", "good", "name"), FIELDS)
def test_a_configuration_takes_a_field_of_its_type_or_names_it(made, good, name):
    for value in VALUES:
        config, said = refusal(made, **{**good, name: value})
        if said:
            word = {"n_outputs": "n_classes"}.get(name, "" if made is Schedule else name)
            assert word in said, said
            continue
        kept = getattr(config, name)
        if name in ("positions", "encoder"):
            assert type(kept).__module__.startswith("transformer_lab")
            continue
        assert plain(kept), f"{name}={shown(value)} was kept as {shown(kept)}"
        wanted = types_of(typing.get_type_hints(made)[name])
        if tuple in wanted or isinstance(kept, tuple):
            assert isinstance(kept, tuple) and len(kept) == 2
            continue
        assert type(kept) in wanted | {type(None)} | ({int} if float in wanted else set())
        if type(kept) is bool:
            assert bool in wanted, f"{name}={value} was taken for a number"


@pytest.mark.parametrize("value", VALUES, ids=ids)
def test_a_table_of_options_is_a_table(value):
    for made in (tl.ModelConfig, tl.RecurrentConfig, ReaderConfig):
        assert refusal(made.from_dict, values=value)[1]


TRAIN = [name for name, p in inspect.signature(tl.train).parameters.items() if name != "batches"]


@pytest.mark.parametrize("name", TRAIN)
def test_train_takes_an_argument_of_its_type_or_names_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tl.Transformer(tl.ModelConfig(**MODEL))
    batch = (torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 2, dtype=torch.long))
    good = dict(model=model, steps=3, eval_batches=[batch], run=tl.Run("r"), probe=batch[0][0])
    hints = type_hints(tl.train, Run=tl.Run)
    for value in VALUES:
        _, said = refusal(tl.train, **{**good, "batches": [batch], name: value})
        if said:
            assert name in said
            continue
        assert wrong(value, hints[name], infinite=name == "clip") is None
        assert not isinstance(value, bool) or name in (
            "compile",
            "resume",
            "progress",
            "probe",
            "eval_batches",
        )
        assert (
            not isinstance(value, float)
            or not math.isnan(value)
            or name in ("probe", "eval_batches")
        )
    assert list(tmp_path.iterdir()) == [], "a refused call wrote something"


def test_infinity_clips_nothing_and_a_run_can_say_so(tmp_path):
    model = tl.Transformer(tl.ModelConfig(**MODEL))
    batch = (torch.zeros(1, 2, dtype=torch.long), torch.ones(1, 2, dtype=torch.long))
    for i, recipe in enumerate((dict(clip=math.inf), dict(optimizer=AdamW(clip=math.inf)))):
        run = tl.Run(tmp_path / f"r{i}")
        assert len(list(tl.train(model, [batch], steps=2, run=run, **recipe))) == 2
        assert run.config()["training"]["clip"] is None


SMALL = {"size": 6, "held_out": 3}
GENERATED = {
    datasets.number_words: dict(largest=30, **SMALL),
    datasets.dates: dict(locales=["de"], **SMALL),
    datasets.copy_task: SMALL,
    datasets.reverse: SMALL,
    datasets.sort: SMALL,
    datasets.induction: dict(length=17, vocab=15, held_out_lags=[6], segment=(4, 8), **SMALL),
    datasets.little_stories: SMALL,
    datasets.reports: SMALL,
    datasets.stories: SMALL,
    datasets.agreement: dict(labels=4, **SMALL),
    datasets.python_source: dict(limit=3000),
    datasets.spell: dict(n=3, language="de"),
}
ARGUMENTS = [
    pytest.param(make, good, name, id=f"{make.__name__}.{name}")
    for make, good in GENERATED.items()
    for name in inspect.signature(make).parameters
]


@pytest.mark.parametrize(("make", "good", "name"), ARGUMENTS)
def test_a_data_set_takes_an_argument_of_its_type_or_names_it(make, good, name):
    hint = type_hints(make)[name]
    for value in VALUES:
        if type(value) is int and value == 10**6:
            continue  # a valid size
        _, said = refusal(make, **{**good, name: value})
        if said:
            assert (name.rstrip("s") if name == "locales" else name) in said
            continue
        assert wrong(value, hint) is None
        assert not isinstance(value, bool)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.tsv"
    path.write_text("".join(f"the {i} fox\t{'ab'[i % 2]}\n" for i in range(40)))
    return path


@pytest.mark.parametrize("make", [datasets.text_file, datasets.pairs_file, datasets.labelled_file])
def test_a_file_s_reader_takes_an_argument_of_its_type_or_names_it(make, text):
    hints = type_hints(make)
    for name in inspect.signature(make).parameters:
        for value in VALUES:
            if refusal(make, **{"path": text, name: value})[1]:
                continue
            assert wrong(value, hints[name]) is None
            assert not isinstance(value, bool)


@pytest.mark.parametrize("method", ["batches", "epoch"])
def test_batches_take_arguments_of_their_type_or_name_them(method):
    tiny = datasets.Corpus.of("ab" * 100)
    several = datasets.reverse(**SMALL)
    for data, good in ((tiny, dict(batch_size=2, n_ctx=4)), (several, dict(batch_size=2))):
        call = getattr(data, method)
        for name in inspect.signature(call).parameters:
            for value in VALUES:
                _, said = refusal(call, **{**good, name: value})
                if said:
                    assert name in said
                    continue
                assert not isinstance(value, float if name == "by_length" else bool | float)


# ---------------------------------------------------------------- TOML


TOML = (
    "true",
    "false",
    "0",
    "-1",
    "7",
    "9223372036854775808",
    "0.5",
    "2.0",
    "nan",
    "inf",
    "-inf",
    "''",
    "'yes'",
    "'􏿿'",
    "[]",
    "['modern']",
    "[[1]]",
    "{ a = 1 }",
    "2020-01-01",
    "07:32:00",
)
GOOD = {
    "model": {},
    "data": {"name": "'text_file'", "path": "'x'"},
    "train": {"steps": "4"},
    "run": {"folder": "'r'"},
}
TOML_KEYS = [
    ("model", name) for name in [*(f.name for f in dataclasses.fields(tl.ModelConfig)), "preset"]
]
TOML_KEYS += [(section, key) for section, keys in KEYS.items() for key in keys]
TOML_KEYS += [("data", key) for key in inspect.signature(datasets.text_file).parameters]


def toml(sections) -> str:
    return "\n".join(
        f"[{section}]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items())
        for section, keys in sections.items()
    )


@pytest.mark.parametrize(("section", "key"), TOML_KEYS)
def test_a_key_of_a_file_takes_its_type_or_is_named_with_its_line(section, key, tmp_path):
    file = tmp_path / "c.toml"
    known = {name: hint for keys in KEYS.values() for name, (hint, _) in keys.items()}
    for written in TOML:
        file.write_text(toml({**GOOD, section: {**GOOD[section], key: written}}))
        line = 1 + file.read_text().split("\n").index(f"{key} = {written}")
        try:
            config = read_config(file)
        except ConfigError as error:
            said = str(error)
            assert said.startswith(f"{file}:{line}: [{section}] ") and key in said, said
            continue
        kept = getattr(config, section)[key]
        if isinstance(kept, bool):
            hint = known.get(key) or type_hints(tl.ModelConfig).get(key) or bool
            assert bool in types_of(hint), f"{key} = {written} was taken"
        assert written not in ("2020-01-01", "07:32:00", "nan"), f"{key} = {written} was taken"
        assert written not in ("inf", "-inf") or key == "clip"
        assert not (isinstance(kept, list) and section != "data")


def test_a_deep_file_and_a_long_number_are_not_toml(tmp_path):
    file = tmp_path / "c.toml"
    for text in ("a = " + "[" * 100_000, "a = " + "9" * 10_000, "a = " + "{a=" * 50_000):
        file.write_text(text)
        with pytest.raises(ConfigError, match=r"c\.toml.* not valid TOML"):
            read_config(file)


def test_a_model_without_a_head_is_not_trained_on_text(tmp_path):
    from transformer_lab.training.toml import run_from_config

    path = tmp_path / "text.txt"
    path.write_text("the fox and the dog. " * 200)
    file = tmp_path / "c.toml"
    data = {"name": "'text_file'", "path": repr(str(path)), "n_ctx": "8"}
    model = {"head": "false", "n_layers": "1", "n_heads": "1", "d_model": "64"}
    run = {"folder": repr(str(tmp_path / "r"))}
    file.write_text(toml({"model": model, "data": data, "train": {"steps": "1"}, "run": run}))
    with pytest.raises(
        ConfigError, match=r"c.toml:2: \[model\] head=false leaves no token predictions to train"
    ):
        run_from_config(file, progress=False)


def test_a_model_without_a_head_is_not_trained_by_the_default_loss():
    model = tl.Transformer(tl.ModelConfig(**MODEL, head=False))
    batch = (torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="head=False"):
        tl.train(model, [batch], steps=1)
    reader = tl.Classifier(tl.Transformer(tl.ModelConfig(**MODEL, kind="encoder", head=False)))
    tl.train(reader, [batch], steps=1)  # has its own head
    tl.train(model, [batch], steps=1, loss=lambda m, b: nn.functional.mse_loss(m(b[0]), m(b[0])))


# ---------------------------------------------------------------- notebooks


@pytest.mark.parametrize("name", ["preset", "device", "seed", "answers"])
def test_a_lesson_s_parameter_is_of_its_type_or_is_named(name, monkeypatch):
    from transformer_lab.lessons.presets import presets

    monkeypatch.delenv("TRANSFORMER_LAB_PRESET", raising=False)
    for value in [*VALUES, "cpu:x", "cpu:", "cpu:-1"]:
        made, said = refusal(presets, lesson="01", **{name: value})
        if said:
            assert f"{name}=" in said or f"{name} must" in said
        else:
            assert type(made.seed) is int


def test_a_notebook_is_run_with_values_that_can_be_written_down(tmp_path):
    from transformer_lab.lessons.runner import run_notebook

    (tmp_path / "a.ipynb").write_text("{}")
    for value in (object(), [], {}, b"x", 1j, math.nan, int, 2**63):
        for name in ("seed", "cell_seconds"):
            said = refusal(run_notebook, path=tmp_path / "a.ipynb", out="b.ipynb", **{name: value})[
                1
            ]
            assert f"{name}=" in said or f"{name} must" in said


def _paths(tmp_path):
    """Every kind of function that reads or writes where it is told: (argument, function of it)."""
    from tests.factories import small
    from transformer_lab.analysis.patching.circuit_scores import Circuit
    from transformer_lab.analysis.reports import report, reproduce
    from transformer_lab.datasets.reading import read_text
    from transformer_lab.datasets.samples import write_samples
    from transformer_lab.files import onnx_files, safefiles
    from transformer_lab.lessons import copying
    from transformer_lab.lessons.homework.gradebook import Gradebook
    from transformer_lab.pretrained import loading
    from transformer_lab.tokenizers import CharTokenizer, load_tokenizer
    from transformer_lab.training.toml import read_config
    from transformer_lab.views.pages.export import notebook_to_html

    model = small(n_ctx=8)
    view = tl.views.HeadView(tl.trace(model, [1, 2, 3]))
    swept = tl.sweep_heads(model, [1, 2, 3])
    notebook = tmp_path / "n.ipynb"
    notebook.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    return {
        "path": [
            view.save_html,
            view.save,
            swept.to_csv,
            Circuit.from_json,
            reproduce.again,
            read_text,
            lambda path: report.report(swept, path),
            onnx_files.read_onnx,
            safefiles.read_json,
            safefiles.read_tensors,
            read_config,
            lambda path: Gradebook(path, "01"),
            lambda path: notebook_to_html(notebook, path),
        ],
        "folder": [
            lambda folder: tl.save_model(model, folder),
            tl.load_model,
            load_tokenizer,
            tl.Run,
            CharTokenizer.train("ab").save,
            write_samples,
            copying.compare,
            tl.watching.TensorBoard,
        ],
        "source": [loading.load_tokenizer],
        "notebook": [lambda notebook: notebook_to_html(notebook, "a.html")],
    }


@pytest.mark.badinput
def test_what_is_no_path_is_refused_by_its_argument_s_name(tmp_path):
    for name, functions in _paths(tmp_path).items():
        for function, value in itertools.product(functions, (None, 3, True, b"x", ["a"])):
            with pytest.raises(ValueError, match=rf"^{name} must be a string or a path, got "):
                function(value)
