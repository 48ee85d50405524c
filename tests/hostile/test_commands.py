"""Commands: what they print for any error, and that the command which `train` recommends works."""

import shlex
import struct
import warnings
import zlib

import pytest
import torch
from click.testing import CliRunner

from transformer_lab.cli import main
from transformer_lab.lessons.progress import Progress

pytestmark = pytest.mark.badinput

ERRORS = [
    RuntimeError("CUDA out of\nmemory"),
    struct.error("unpack"),
    RecursionError("too deep"),
    zlib.error("Error -3"),
    KeyError("name"),
    IndexError(),
    TypeError("'int' object"),
    AttributeError("x"),
    AssertionError(),
    ZeroDivisionError(),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
    MemoryError("no room"),
    torch.OutOfMemoryError("GPU"),
    StopIteration(),
    OverflowError("int too large"),
    ValueError("x" * 10**6),
    OSError(5, "Input/output error", "a/b"),
]


def failing(error):
    def call(*_, **__):
        warnings.warn("an old\nfile", UserWarning, stacklevel=1)
        raise error

    return call


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_any_error_is_one_line_and_exit_code_2(error, tmp_path, monkeypatch):
    monkeypatch.setattr("transformer_lab.training.toml.run_from_config", failing(error))
    file = tmp_path / "my config.toml"
    file.write_text("")
    done = CliRunner().invoke(main, ["train", str(file)])
    assert done.exit_code == 2
    warned, *said = done.stderr.splitlines()
    assert warned == "transformer-lab: warning: an old file"
    assert len(said) == 1
    assert said[0].startswith("transformer-lab: ")
    assert len(said[0]) < 4000
    if not isinstance(error, ValueError | OSError | MemoryError):
        assert type(error).__name__ in said[0]
        assert f"transformer-lab --traceback train '{file}'" in said[0]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("fails", [True, False])
def test_a_warning_does_not_stand_before_an_error(fails, monkeypatch):
    """Warnings are printed after a command's output; training prints its own at once."""

    def look():
        warnings.warn("an old\nfile", UserWarning, stacklevel=1)
        if fails:
            raise ValueError("this and that")
        return Progress({}, ())

    monkeypatch.setattr("transformer_lab.lessons.progress", look)
    done = CliRunner().invoke(main, ["progress"])
    wanted = "this and that" if fails else "warning: an old file"
    assert done.stderr == f"transformer-lab: {wanted}\n"
    assert done.exit_code == (2 if fails else 0)


def test_with_traceback_the_error_itself_comes_out(tmp_path, monkeypatch):
    monkeypatch.setattr("transformer_lab.training.toml.run_from_config", failing(KeyError("name")))
    file = tmp_path / "c.toml"
    file.write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = CliRunner().invoke(main, ["--traceback", "train", str(file)])
    assert isinstance(done.exception, KeyError)


def test_ctrl_c_is_one_line_and_exit_code_130(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("transformer_lab.training.toml.run_from_config", stop)
    (tmp_path / "c.toml").write_text("")
    done = CliRunner().invoke(main, ["train", str(tmp_path / "c.toml")])
    assert (done.exit_code, done.stderr) == (130, "transformer-lab: stopped by Ctrl-C\n")


TEXT = "the quick brown fox jumps over the lazy dog. " * 60
DIGITS = "31415 92653 58979 32384 " * 90
LETTERS = "абвгд ежзик\n" * 90
FAMILY = {
    "chars": ("n_ctx = 32", "name = 'text_file'", TEXT),
    "tiny": ("n_ctx = 2", "name = 'text_file'", TEXT),
    "one": ("n_ctx = 1", "name = 'text_file'", TEXT),
    "digits": ("n_ctx = 32", "name = 'text_file'", DIGITS),
    "letters": ("n_ctx = 8", "name = 'text_file'", LETTERS),
    "words": ("n_ctx = 4", "name = 'text_file'\ntokenizer = 'word'", TEXT),
    "bpe": ("n_ctx = 3", "name = 'text_file'\ntokenizer = 'bpe'", TEXT),
    "encoder": ("n_ctx = 8\nkind = 'encoder'", "name = 'text_file'", TEXT),
    "reverse": ("n_ctx = 12", "name = 'reverse'\nsize = 30\nheld_out = 5", ""),
    "sort": ("n_ctx = 32\nkind = 'decoder'", "name = 'sort'\nsize = 30\nheld_out = 5", ""),
    "numbers": ("n_ctx = 32", "name = 'number_words'\nsize = 30\nheld_out = 5", ""),
    "copy": ("n_ctx = 12\nkind = 'encoder'", "name = 'copy_task'\nsize = 30\nheld_out = 5", ""),
    "induction": ("n_ctx = 80", "name = 'induction'\nsize = 30\nheld_out = 5", ""),
    "stories": ("n_ctx = 200\nkind = 'decoder'", "name = 'stories'\nsize = 30\nheld_out = 5", ""),
}


@pytest.mark.parametrize("name", FAMILY)
def test_the_command_that_train_recommends_works(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, data, text = FAMILY[name]
    if text:
        (tmp_path / "text.txt").write_text(text)
        data += "\npath = 'text.txt'"
    (tmp_path / "c.toml").write_text(
        f"[model]\nn_layers = 1\nn_heads = 2\nd_model = 16\n{model}\n[data]\n{data}\nbatch_size = 4\n"
        "[train]\nsteps = 2\ndevice = 'cpu'\neval_batches = 1\n[run]\nfolder = 'my runs/a'\n"
    )
    trained = CliRunner().invoke(main, ["train", "c.toml"])
    assert trained.exit_code == 0, trained.output
    command = trained.stdout.strip().rsplit("see its heads: ", 1)[1]
    program, *arguments = shlex.split(command)
    assert program == "transformer-lab"
    shown = CliRunner().invoke(main, [*arguments, "--html", "heads.html"])
    assert shown.exit_code == 0, shown.output
    assert (tmp_path / "heads.html").stat().st_size > 1000
