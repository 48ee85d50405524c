"""TOML files: what they train, and the errors for invalid ones."""

import shutil
from pathlib import Path

import pytest
import torch

import transformer_lab as tl
from transformer_lab.training.toml import ConfigError, read_config, run_from_config

EXAMPLES = Path(__file__).parents[2] / "examples"
TEXT = "the quick brown fox jumps over the lazy dog. " * 40


def config(
    tmp_path, *, model="", data="", train="", run="", more="", path="text.txt", folder="run"
):
    """A file that trains, with lines added to its sections."""
    (tmp_path / "text.txt").write_text(TEXT)
    text = f"""\
[model]
n_layers = 1
n_heads = 2
d_model = 16
n_ctx = 16
{model}
[data]
name = "text_file"
path = {str(tmp_path / path)!r}
batch_size = 4
{data}
[train]
steps = 4
device = "cpu"
{train}
[run]
folder = "{tmp_path / folder}"
{run}
{more}
"""
    file = tmp_path / "c.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.toml")), ids=lambda p: p.name)
def test_the_examples_are_valid(example):
    read_config(example)


def test_trains_saves_and_resumes(tmp_path):
    file = config(tmp_path, run='snapshot_every = 2\nprobe = "the fox"')
    run = run_from_config(file, progress=False)
    assert [m["index"] for m in run.metrics()] == [1, 2, 3, 4]
    assert run.snapshots == [0, 2, 4]
    assert run.snapshot(4)["decoder"].shape == (1, 2, 7, 7)
    text_model = tl.TextModel.from_pretrained(run.folder / "model")
    assert len(text_model.predict("the qu", k=3)) == 3
    with pytest.raises(FileExistsError, match="already holds a run"):
        run_from_config(file, progress=False)
    assert run_from_config(file, resume=True, progress=False).checkpoints[-1] == 4


def test_the_same_file_gives_the_same_weights(tmp_path):
    runs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        runs.append(run_from_config(config(tmp_path / name, model="dropout = 0.1"), progress=False))
    first, second = (r.load_model().state_dict() for r in runs)
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_an_encoder_learns_hidden_tokens(tmp_path):
    file = config(tmp_path, model='kind = "encoder"')
    assert run_from_config(file, progress=False).load_model().config.kind == "encoder"


def test_pairs_make_an_encoder_decoder(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(
        "[model]\nn_layers = 1\nn_heads = 2\nd_model = 16\n"
        '[data]\nname = "reverse"\nsize = 50\nheld_out = 9\nlength = [2, 3]\n'
        '[train]\nsteps = 2\ndevice = "cpu"\n'
        f"[run]\nfolder = {str(tmp_path / 'r')!r}\nsnapshot_every = 1\n"
    )
    run = run_from_config(file, progress=False)
    assert set(run.snapshot(2)) == {"encoder", "decoder", "cross"}


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            dict(train="stepz = 4"),
            r"c.toml:15: \[train\] unknown key 'stepz'; did you mean 'steps'\? known: clip",
        ),
        (
            dict(model="n_layer = 4"),
            r"c.toml:6: \[model\] unknown key 'n_layer'; did you mean 'n_layers'\? known: activation",
        ),
        (
            dict(data="facts = 1"),
            r"c.toml:11: \[data\] unknown key 'facts'; known: batch_size, .*path",
        ),
        (dict(run="keeps = 2"), r"c.toml:18: \[run\] unknown key 'keeps'"),
        (
            dict(more="[trian]\nsteps = 1"),
            r"c.toml:\d+: unknown section 'trian'; known: model, data",
        ),
        (dict(train="lr = 'fast'"), r"c.toml:15: \[train\] lr must be a number, got 'fast'"),
        (
            dict(train="warmup = 1.5"),
            r"c.toml:15: \[train\] warmup must be a whole number, got 1.5",
        ),
        (dict(train="compile = 1"), r"c.toml:15: \[train\] compile must be true or false.*, got 1"),
        (
            dict(train="threads = true"),
            r"c.toml:15: \[train\] threads must be a whole number, got True",
        ),
        (dict(train="lr = -1"), r"c.toml:15: \[train\] lr must be above 0, got -1"),
        (
            dict(train="optimizer = 'sgd'"),
            r"c.toml:15: \[train\] optimizer must be one of .* got 'sgd'",
        ),
        (dict(train="device = 'cuda:7x'"), r"c.toml:13: .*|c.toml:15: \[train\] device must be"),
        (dict(model="preset = 'gpt'"), r"c.toml:6: \[model\] preset must be one of .*, got 'gpt'"),
        (
            dict(model="activation = 'tanh'"),
            r"c.toml:6: \[model\] activation must be one of .* got 'tanh'",
        ),
        (
            dict(model="d_ff = 10_000_000"),
            r"c.toml:6: \[model\] d_ff must be at most .* got 10000000",
        ),
        (
            dict(model="d_ff = 0"),
            r"c.toml:6: \[model\] d_ff must be a whole number of at least 1, got 0",
        ),
        (dict(model="vocab_size = 2"), r"c.toml:6: \[model\] vocab_size=2 is below the \d+ tokens"),
        (
            dict(data="tokenizer = 'bits'"),
            r"c.toml:11: \[data\] tokenizer must be one of char.*, got 'bits'",
        ),
        (dict(data="n_ctx = 9999"), r"c.toml:11: \[data\] .*too few for n_ctx=9999"),
        (dict(data="n_ctx = 32"), r"c.toml:\d+: \[model\] the text has 32 tokens but .* n_ctx=16"),
        (dict(run="keep = 0"), r"c.toml:18: \[run\] keep must be at least 1, got 0"),
        (dict(path="nowhere.txt"), r"nowhere.txt"),
        (
            dict(folder="c.toml"),
            r"c.toml:17: \[run\] folder=.* cannot be a folder: .*is a file; name",
        ),
        (
            dict(folder="x" * 300),
            r"c.toml:17: \[run\] .* cannot be a folder: file name too long; name",
        ),
        (
            dict(folder="\\u0000"),
            r"c.toml:17: \[run\] .* cannot be a folder: embedded null byte; name",
        ),
        (dict(train="steps = 5"), r"c.toml:15: not valid TOML"),
        (dict(more="?"), r"c.toml:\d+: not valid TOML"),
    ],
)
def test_a_bad_file_gets_one_line_with_path_and_line(tmp_path, lines, message):
    if "device" in lines.get("train", ""):
        file = config(tmp_path, **lines)
        file.write_text(file.read_text().replace('device = "cpu"\n', "\n", 1))
    else:
        file = config(tmp_path, **lines)
    with pytest.raises((ConfigError, OSError), match=message) as caught:
        run_from_config(file, progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.badinput
@pytest.mark.parametrize("section", ["data", "train", "run"])
def test_what_is_missing_is_named(tmp_path, section):
    file = config(tmp_path)
    key = {"data": "name", "train": "steps", "run": "folder"}[section]
    kept = [line for line in file.read_text().splitlines() if not line.startswith(f"{key} =")]
    file.write_text("\n".join(kept))
    with pytest.raises(ConfigError, match=rf"\[{section}\] {key} is missing"):
        read_config(file)


@pytest.mark.badinput
def test_a_file_that_is_no_text_is_named(tmp_path):
    file = tmp_path / "c.toml"
    file.write_bytes(b"\xff\xfe[\x00m\x00")
    with pytest.raises(ConfigError, match=r"c.toml: not UTF-8 text \(byte 0\)"):
        read_config(file)
    with pytest.raises(ConfigError, match=r"no.toml cannot be read: No such file"):
        read_config(tmp_path / "no.toml")
    file.write_text("model = 3\n")
    with pytest.raises(ConfigError, match=r"model must be a section: \[model\]"):
        read_config(file)
    file.write_text('[data]\nname = "mnist"\n[train]\nsteps = 1\n[run]\nfolder = "x"\n')
    with pytest.raises(
        ConfigError, match=r"c.toml:2: \[data\] name must be one of .*, got 'mnist'"
    ):
        read_config(file)


def test_every_listed_data_set_exists():
    for name in tl.datasets.IN_TRAINING_FILES:
        assert callable(getattr(tl.datasets, name))


def test_a_task_with_one_answer_a_text_is_refused(tmp_path):
    """Training would run for an hour on targets for which the model has no head."""
    file = tmp_path / "c.toml"
    file.write_text(
        '[model]\nkind = "encoder"\nn_layers = 1\nn_heads = 2\nd_model = 16\nn_ctx = 128\n'
        '[data]\nname = "stories"\nsize = 30\nheld_out = 5\n'
        f'[train]\nsteps = 2\ndevice = "cpu"\n[run]\nfolder = {str(tmp_path / "r")!r}\n'
    )
    with pytest.raises(ConfigError, match=r"has one target per text"):
        run_from_config(file, progress=False)
    shutil.rmtree(tmp_path / "r", ignore_errors=True)
