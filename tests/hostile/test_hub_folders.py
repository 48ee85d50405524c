"""Hugging Face folders that are damaged, lie, or do not hold the model's weights: each is refused
with one sentence, and no wrong weights are loaded silently."""

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import transformer_lab as tl
from tests.hostile.hub_folders import FC, SECONDS, change, configure, same_weights, words
from tests.missing import package
from transformer_lab import pretrained
from transformer_lab.cli import main
from transformer_lab.exploring import write_notebook

T = package("transformers")
pytestmark = pytest.mark.hostile_ckpt


# -- damaged folders --------------------------------------------------------------------------------


def to_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def renamed_pickle(folder: Path) -> None:
    to_pickle(folder)
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")


def truncate(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size]) and None


def write(name: str, text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(text)


def sizes(**values: Any) -> Callable[[Path], None]:
    return lambda folder: configure(folder, **values)


def sharded(weight_map: Callable[[dict[str, str]], dict[str, Any]]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
        places = dict.fromkeys(tensors, "model-00001-of-00001.safetensors")
        index = {"metadata": {}, "weight_map": weight_map(places)}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return make


DEEP = "[" * 100_000
FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty weights": (truncate("model.safetensors", 0), "truncated"),
    "weights of 4 bytes": (truncate("model.safetensors", 4), "truncated"),
    "half the weights": (truncate("model.safetensors", 20_000), "damaged"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors"),
    "a pickle": (to_pickle, "is a PyTorch pickle.*save_pretrained"),
    "a pickle in disguise": (renamed_pickle, "pickle"),
    "config: no JSON": (write("config.json", "{"), "not readable JSON"),
    "config: a list": (write("config.json", "[]"), "not a JSON object"),
    "config: deep": (write("config.json", '{"model_type": "gpt2", "a": ' + DEEP), "too deeply"),
    "config: another family": (sizes(model_type="t5"), "tiny"),
    "config: no family": (
        lambda f: (f / "config.json").write_text(
            (f / "config.json").read_text().replace("model_type", "model_tvpe")
        ),
        "model_type",
    ),
    "config: unknown family": (sizes(model_type="no-such"), "no-such"),
    "config: model_type 5": (sizes(model_type=5), "tiny"),
    "config: architectures 5": (sizes(architectures=[5]), "tiny"),
    "config: a list of layers": (sizes(n_layer=[2]), "tiny"),
    "config: n_layer a string": (sizes(n_layer="two"), "n_layer"),
    "config: no heads": (sizes(n_head=0), "tiny"),
    "config: layers below 0": (sizes(n_layer=-1), "n_layer=-1, which does not fit"),
    "config: heads below 0": (sizes(n_head=-1), "n_head=-1, which does not fit"),
    "config: one layer less": (sizes(n_layer=1), r"h\.1.*do not belong"),
    "config: one layer more": (sizes(n_layer=3), r"h\.2.*missing"),
    "config: 10⁹ layers": (sizes(n_layer=10**9), "n_layer=1000000000, which does not fit"),
    "config: 10⁹ layers, as a float": (
        sizes(n_layer=1e9),
        "n_layer=1000000000.0, which does not fit",
    ),
    "config: 10⁹ words": (sizes(vocab_size=10**9), "vocab_size=1000000000"),
    "config: 10⁶ words": (sizes(vocab_size=10**6), "another shape"),
    "config: 10⁹ places": (sizes(n_positions=10**9), "n_positions=1000000000"),
    "config: 10⁵ places": (sizes(n_positions=10**5), "another shape"),
    "config: 10⁹ wide": (sizes(n_embd=10**9), "n_embd=1000000000"),
    "config: 10⁹ labels": (sizes(num_labels=10**9), "num_labels=1000000000"),
    "config: 10⁶ labels": (sizes(num_labels=10**6), "num_labels=1000000"),
    "config: 32 wide": (sizes(n_embd=32), "another shape"),
    "config: code of its own": (
        sizes(model_type="mine", auto_map={"AutoConfig": "evil.Config"}),
        r"asks to run its own code \(auto_map\), which transformer_lab never runs",
    ),
    "config: a kernel from the hub": (sizes(attn_implementation="a/b"), "its own code"),
    "tokenizer: no JSON": (write("tokenizer.json", "{"), "not readable JSON"),
    "tokenizer: a list": (write("tokenizer.json", "[]"), "not a JSON object"),
    "tokenizer: empty": (write("tokenizer.json", "{}"), "tokenizer"),
    "tokenizer: deep": (write("tokenizer.json", DEEP), "too deeply"),
    "tokenizer: no model": (lambda f: configure(f, "tokenizer.json", model=5), "tokenizer"),
    "tokenizer: a vocabulary of text": (
        lambda f: configure(f, "tokenizer.json", model={"type": "WordLevel", "vocab": "abc"}),
        "tokenizer",
    ),
    "tokenizer: larger than the model": (
        lambda f: words(60).save_pretrained(f),
        "tokenizer has 60 tokens but the embedding of the model tiny has 52 rows",
    ),
    "tokenizer: none": (
        lambda f: [(f / n).unlink() for n in ("tokenizer.json", "tokenizer_config.json")],
        "tokenizer",
    ),
    "tokenizer config: a list": (write("tokenizer_config.json", "[]"), "not a JSON object"),
    "tokenizer config: class 5": (
        lambda f: configure(f, "tokenizer_config.json", tokenizer_class=5),
        "tokenizer",
    ),
    "tokenizer config: token 5": (
        lambda f: configure(f, "tokenizer_config.json", unk_token={"a": [5]}),
        "tokenizer",
    ),
    "generation config: no JSON": (write("generation_config.json", "{"), "not readable JSON"),
    "a vocabulary of 200 MiB": (
        lambda f: [(f / "vocab.txt").touch(), os.truncate(f / "vocab.txt", 200 << 20)],
        "got 209,715,200",
    ),
    "index: no JSON": (
        lambda f: (sharded(dict)(f), write("model.safetensors.index.json", "{")(f)),
        "not readable JSON",
    ),
    "index: no map": (sharded(lambda places: []), "no weight_map"),  # type: ignore[arg-type]
    "index: a missing file": (
        sharded(lambda places: {**places, FC: "model-00002-of-00002.safetensors"}),
        "'model-00002-of-00002.safetensors', which does not exist",
    ),
    "index: a file elsewhere": (
        sharded(lambda places: {**places, FC: "../tiny/model-00001-of-00001.safetensors"}),
        "is not a safetensors file of the folder",
    ),
    "index: a tensor that is not there": (
        sharded(lambda places: {**places, "other": "model-00001-of-00001.safetensors"}),
        "does not list the tensors",
    ),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_damaged_folder_gets_one_sentence(folder, case, tmp_path, capfd):
    damage, message = FOLDERS[case]
    damage(folder)
    capfd.readouterr()
    began = time.monotonic()
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        tl.TextModel.from_pretrained(folder)
    assert time.monotonic() - began < SECONDS
    assert str(folder) in str(caught.value) or "of the model tiny" in str(caught.value)
    assert "\n" not in str(caught.value)
    page = tmp_path / "page.html"
    result = CliRunner().invoke(main, ["explore", "--model", str(folder), "--html", str(page)])
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert not page.exists()
    out, err = capfd.readouterr()
    assert not out and not err, "a library spoke beside the one line"


@pytest.mark.parametrize("case", [case for case in FOLDERS if "10⁹" in case])
def test_a_tokenizer_is_not_looked_for_by_way_of_absurd_sizes(folder, case):
    """transformers builds a configuration to find the tokenizer's class, and 10⁹ labels with it."""
    damage, message = FOLDERS[case]
    damage(folder)
    with pytest.raises(ValueError, match=message):
        pretrained.load_tokenizer(folder)


def test_a_folder_may_hold_a_tokenizer_alone(tmp_path):
    words().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    assert len(pretrained.load_tokenizer(tmp_path)) == 52


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt"]
)
def test_a_pipe_is_not_waited_for(folder, name):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    for load in (tl.TextModel.from_pretrained, pretrained.load):
        with pytest.raises(ValueError, match=f"{name} is "):
            load(folder)


def test_a_length_that_builds_nothing_is_no_size(folder):
    """Tokenizers write 10³⁰ for "no limit", and some configurations copy it."""
    configure(folder, model_max_length=int(1e30))
    configure(folder, "tokenizer_config.json", model_max_length=int(1e30))
    assert tl.TextModel.from_pretrained(folder).random_weights == ()


def test_a_folder_of_links_loads(folder, tmp_path):
    """As in the cache of the hub."""
    (tmp_path / "links").mkdir()
    for path in folder.iterdir():
        (tmp_path / "links" / path.name).symlink_to(path)
    assert tl.TextModel.from_pretrained(tmp_path / "links").random_weights == ()


def test_a_whole_index_loads(folder):
    logits = tl.TextModel.from_pretrained(folder).trace("the keys").logits
    sharded(dict)(folder)
    torch.testing.assert_close(
        tl.TextModel.from_pretrained(folder).trace("the keys").logits, logits
    )


def test_the_command_line_shows_random_weights_when_asked(folder, tmp_path):
    change(folder, lambda t: t.pop(FC))
    page = tmp_path / "page.html"
    call = ["explore", "--model", str(folder), "--text", "the keys", "--html", str(page)]
    refused = CliRunner().invoke(main, call)
    assert refused.exit_code == 2 and "--allow-missing" in refused.stderr
    shown = CliRunner().invoke(main, [*call, "--allow-missing"])
    assert shown.exit_code == 0, shown.output
    assert f"<title>random weights: {FC} was not in the file" in page.read_text()
    notebook = write_notebook(str(folder), None, None, tmp_path, allow_missing=True)
    assert f"from_pretrained({str(folder)!r}, allow_missing=True)" in notebook.read_text()


def test_code_of_the_folder_is_not_run_where_it_is_not_needed(folder, monkeypatch):
    """A family built into transformers needs no remote code, and the user is not asked."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    marker = folder.parent / "ran"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')")
    configure(folder, auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"})
    configure(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", "evil.F"]})
    tl.TextModel.from_pretrained(folder)
    pretrained.load(folder), pretrained.load_tokenizer(folder)
    assert not marker.exists()


# -- any damage -------------------------------------------------------------------------------------

FILES = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")


def outcome(folder: Path) -> str:
    """Return "refused" or "loaded"; anything else is an error of the test."""
    try:
        model = tl.TextModel.from_pretrained(folder)
        model.trace("the keys w3")
    except (ValueError, FileNotFoundError):
        return "refused"
    assert model.random_weights == ()
    assert same_weights(model.model, load_file(folder / "model.safetensors"))
    return "loaded"


@pytest.mark.parametrize("name", FILES)
def test_any_cut_or_flipped_bit_is_refused_or_loads_the_file(folder, name):
    rng = random.Random(name)
    whole = (folder / name).read_bytes()
    seen = set()
    for number in range(24):
        data = bytearray(whole)
        if number % 3 == 0:
            del data[rng.randrange(len(data)) :]
        else:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (folder / name).write_bytes(data)
        seen.add(outcome(folder))
    assert "refused" in seen
