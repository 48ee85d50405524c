"""CONTRIBUTING.md's table "Where to change what", checked against the package: these tests add
things only in the places that the table names."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import transformer_lab as tl
from tests.halving import Halving
from transformer_lab import datasets, optim, positions
from transformer_lab.datasets import Dataset
from transformer_lab.training.toml import run_from_config

ROOT = Path(__file__).parents[1]


def test_a_position_scheme_is_a_class_and_its_name(halving, tmp_path):
    """positions.py; views have its formula in views/positions/schemes.js and .json."""
    shape = dict(vocab_size=10, n_layers=1, n_heads=2, d_model=16, n_ctx=8)
    model = tl.Transformer(tl.ModelConfig(positions=halving, **shape)).eval()
    loaded = tl.load_model(tl.save_model(model, tmp_path))
    assert loaded.config.positions == Halving()
    tokens = torch.arange(6)
    torch.testing.assert_close(loaded(tokens[None]), model(tokens[None]))
    plain = tl.Transformer(tl.ModelConfig(positions="none", **shape)).eval()
    plain.load_state_dict(model.state_dict())
    odds = (tl.trace(model, tokens).pattern(0) / tl.trace(plain, tokens).pattern(0)).log()
    fall = odds[:, 5, 1:6] - odds[:, 5, 0:5]  # from one token to the next
    torch.testing.assert_close(fall, torch.full_like(fall, 0.5), atol=1e-4, rtol=0)


def test_a_dataset_is_a_module_and_a_line(monkeypatch, tmp_path):
    """datasets/<name>.py and datasets/__init__.py."""

    def twice(*, size: int = 60, held_out: int = 12, seed: int = 0) -> Dataset:
        return datasets.reverse(size=size, held_out=held_out, seed=seed)

    monkeypatch.setattr(datasets, "twice", twice, raising=False)
    monkeypatch.setattr(datasets, "IN_TRAINING_FILES", (*datasets.IN_TRAINING_FILES, "twice"))
    file = tmp_path / "c.toml"
    file.write_text(
        f"""
[data]
name = "twice"
size = 80
batch_size = 4
[model]
n_layers = 1
n_heads = 2
d_model = 16
[train]
steps = 2
device = "cpu"
[run]
folder = "{tmp_path / "r"}"
"""
    )
    run = run_from_config(file, progress=False)
    assert [line["index"] for line in run.metrics()] == [1, 2]


def test_an_optimizer_is_a_recipe():
    """optim.py."""
    built = []

    @dataclass(frozen=True)
    class Plain(optim.AdamW):
        def build(self, model, steps):
            built.append(torch.optim.SGD(model.parameters(), lr=self.lr))
            return built

    model = tl.Transformer(tl.ModelConfig(vocab_size=10, n_layers=1, n_heads=2, d_model=16))
    before = [p.detach().clone() for p in model.parameters()]
    rows = torch.arange(9)[None]
    options = dict(steps=1, optimizer=Plain(lr=0.1), schedule="constant", warmup=0, clip=1e9)
    list(tl.train(model, [(rows[:, :-1], rows[:, 1:])], **options))
    assert len(built) == 1
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_command_is_a_function():
    """cli.py."""
    from click.testing import CliRunner

    from transformer_lab.cli import main

    @main.command("hello")
    def hello():
        raise ValueError("as every other")

    try:
        done = CliRunner().invoke(main, ["hello"])
        assert (done.exit_code, done.stderr) == (2, "transformer-lab: as every other\n")
    finally:
        del main.commands["hello"]


@pytest.mark.parametrize("name", sorted(positions.SCHEMES))
def test_every_scheme_has_a_public_name(name):
    cls = positions.SCHEMES[name]
    assert getattr(tl, cls.__name__) is cls


def rows():
    """The table's rows: what is added -> the paths named."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    section = text.split("## Where to change what")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| a")]
    return {line.split("|")[1].strip(): re.findall(r"`([\w/.]+)`", line) for line in lines}


@pytest.mark.skipif(not (ROOT / "CONTRIBUTING.md").exists(), reason="not in a clone")
@pytest.mark.parametrize("path", sorted({path for paths in rows().values() for path in paths}))
def test_what_the_table_names_is_there(path):
    if path.startswith(("transformer_lab/", "data/")):
        named = re.sub(r"[A-Z]{2,}(\.py|/)?$", "", path)  # NAME.py and NAME/ are yet to be written
        assert (ROOT / named).exists()
    else:
        assert path in ("tl.Network", "tl.NamedNetwork")
