"""User files without an end, that are not regular files, or that unpack to more than fits."""

import gzip
import json
import os
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transformer_lab import datasets
from transformer_lab.files.paths import FileError
from transformer_lab.training.toml import ConfigError, read_config

pytestmark = pytest.mark.badinput

READERS = {
    "text_file": datasets.text_file,
    "pairs_file": datasets.pairs_file,
    "labelled_file": datasets.labelled_file,
    "questions_file": datasets.questions_file,
}
EXTRA_MIB = 300

# Prints each refusal, and by how many MiB the peak memory exceeds that before the first.
MEASURE = """
    import json, resource, sys
    from transformer_lab import datasets

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def refusal(name, given):
        try:
            getattr(datasets, name)(**given)
        except ValueError as error:
            return str(error)

    small, *calls = json.loads(sys.argv[1])
    refusal(*small)
    before = peak()
    print(json.dumps([[refusal(*call), peak() - before] for call in calls]))
"""


@pytest.fixture(scope="module")
def costs(folder):
    """costs[reader, file]: (refusal, MiB of peak memory so far beyond a small file's).

    One process reads all of them: starting it costs more than a refusal."""
    names = [(reader, file) for file in ("line.txt", "nul.txt") for reader in READERS]
    calls = [[reader, {"path": str(folder / file)}] for reader, file in names]
    names, calls = [*names, "gzip"], [*calls, ["multi30k", {"folder": str(folder)}]]
    small = ["text_file", {"path": str(folder / "small.txt")}]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE), json.dumps([small, *calls])],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(names, json.loads(done.stdout), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files too long to read: sparse, or made only once."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "small.txt").write_text("a small text\n" * 50)
    with open(folder / "nul.txt", "wb") as file:
        file.write(b"first\nsecond\n")
        file.truncate(4 << 30)
    with open(folder / "line.txt", "wb") as file:
        file.write(b"first\nsecond\n")
        for _ in range(400):
            file.write(b"x" * (1 << 20))
    packer = zlib.compressobj(9, wbits=31)
    with open(folder / "train.en.gz", "wb") as file:
        file.write(packer.compress(b"first\nsecond\n"))
        line = (b"y" * 1023 + b"\n") * 1024
        for _ in range(90):
            file.write(packer.compress(line))
        file.write(packer.flush())
    yield folder
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is not told there")
@pytest.mark.parametrize("reader", READERS)
def test_a_line_without_an_end_costs_little_and_is_named(reader, costs):
    said, mib = costs[reader, "line.txt"]
    assert "line.txt, line 3: has more than 100,000 characters; split it, or pass a lar" in said
    assert mib < EXTRA_MIB


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is not told there")
@pytest.mark.parametrize("reader", READERS)
def test_four_gigabytes_of_nothing_cost_little_and_are_named(reader, costs):
    said, mib = costs[reader, "nul.txt"]
    assert "nul.txt, line 3: holds a NUL byte at offset 13" in said
    assert mib < EXTRA_MIB


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is not told there")
def test_a_gzip_bomb_costs_little_and_is_named(folder, costs):
    assert (folder / "train.en.gz").stat().st_size < 1 << 20
    said, mib = costs["gzip"]
    assert "train.en.gz: has more than 64 MiB of text" in said
    assert mib < EXTRA_MIB


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = textwrap.dedent(f"""
        import transformer_lab as tl
        from transformer_lab.tokenizers import load_tokenizer
        from transformer_lab.training.toml import read_config

        data = tl.datasets
        readers = [data.text_file, data.pairs_file, data.labelled_file, data.questions_file]
        readers += [lambda path: data.tiny_shakespeare(path=path), read_config, load_tokenizer]
        readers += [lambda path: tl.views.notebook_to_html(path, "x.html")]
        for path in ("/dev/stdin", "/dev/zero", {str(pipe)!r}):
            for read in readers:
                try:
                    read(path)
                except (ValueError, OSError) as error:
                    print(path in str(error))
    """)
    read, write = os.pipe()  # a standard input that never ends
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdin=read,
            capture_output=True,
            text=True,
            timeout=90,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    finally:
        os.close(read)
        os.close(write)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"] * 24


def test_the_command_line_waits_for_no_pipe(tmp_path):
    from click.testing import CliRunner

    from transformer_lab.cli import main

    os.mkfifo(tmp_path / "c.toml")
    done = CliRunner().invoke(main, ["train", str(tmp_path / "c.toml")])
    assert done.exit_code == 2
    assert "is not a regular file" in done.output


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-9], lambda b: b[:12] + b"\xff" * 9 + b[21:], lambda b: b"x" + b]
)
def test_a_damaged_gzip_file_is_named(damage, tmp_path):
    for name in ("train.en.gz", "train.de.gz", "val.en.gz", "val.de.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"one dog\ntwo dogs\n" * 20))
    (tmp_path / "val.de.gz").write_bytes(damage((tmp_path / "val.de.gz").read_bytes()))
    with pytest.raises(FileError, match=r"val.de.gz: is not a complete gzip file"):
        datasets.multi30k(folder=tmp_path)


# ---------------------------------------------------------------- damaged files

GOOD = {
    "text_file": "the cat sat on the mat.\n" * 20,
    "pairs_file": "".join(f"cat {i}\tKatze {i}\n" for i in range(20)),
    "labelled_file": "".join(f"cat {i}\t{'ab'[i % 2]}\n" for i in range(20)),
    "questions_file": "".join(
        f'{{"question": "who {i}?", "context": "Ann {i} ran.", "answer": "Ann {i}"}}\n'
        for i in range(20)
    ),
    "toml": '[model]\nn_layers = 1\n[data]\nname = "copy_task"\nlength = [2, 3]\nsize = 9\n'
    '[train]\nsteps = 4\nlr = 0.1\ncompile = false\n[run]\nfolder = "r"\n',
}


@st.composite
def damaged(draw, good: bytes):
    """A file truncated, with bits flipped, and with bytes removed or inserted."""
    data = bytearray(good[: draw(st.integers(0, len(good)))] if draw(st.booleans()) else good)
    for _ in range(draw(st.integers(0, 3)) if data else 0):
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 5))] = draw(st.binary(max_size=8))
    return bytes(data)


QUICK = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("kind", GOOD)
def test_a_damaged_file_is_read_or_named_in_one_line(kind, tmp_path):
    path = tmp_path / "file"
    read = READERS.get(kind, read_config)

    @QUICK
    @given(damaged(GOOD[kind].encode()))
    def each(data):
        path.write_bytes(data)
        try:
            read(path)
        except (FileError, ConfigError, ValueError) as error:
            said = str(error)
        else:
            return
        assert said.startswith(str(path))
        assert "\n" not in said

    each()
