"""Hostile checkpoints: refused with one sentence, in < 2 s and < 200 MiB, and nothing runs."""

import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

import transformer_lab as tl
from tests.factories import Rows, learner
from transformer_lab.files.models import load_model, save_model
from transformer_lab.files.paths import FileError
from transformer_lab.files.safefiles import read_header, read_tensors
from transformer_lab.training.loop import train
from transformer_lab.training.run import Run

pytestmark = pytest.mark.hostile_ckpt


def entry(begin, end, dtype="F32", shape=None):
    return {"dtype": dtype, "shape": shape or [(end - begin) // 4], "data_offsets": [begin, end]}


def file_of(header, data=b"", length=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


class Evil:
    def __reduce__(self):
        return (os.system, ("touch pwned",))


def million_tensors():
    one = b'"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    return b"{" + b",".join(one % i for i in range(1_000_000)) + b"}"


two_keys = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
CASES = {
    "empty": (b"", "truncated"),
    "seven bytes": (b"1234567", "truncated"),
    "header longer than the file": (
        file_of({"a": entry(0, 4)}, b"1234", length=10**6),
        "truncated",
    ),
    "header length of 2^64 - 1": (b"\xff" * 16, "truncated"),
    "header too long": (file_of(b"{" + b" " * (1 << 20) + b"}"), "header of 1,048,578 bytes"),
    "a million tensors": (None, "header of .* bytes"),
    "many tensors in a short header": (
        file_of({f"t{i}": entry(0, 0, shape=[0]) for i in range(9000)}),
        "more than 8192 tensors",
    ),
    "not JSON": (file_of(b"{nonsense}"), "unreadable header"),
    "not UTF-8": (file_of(b'{"\xff\xfe":1}'), "unreadable header"),
    "deeply nested": (file_of(deep), "unreadable header"),
    "a list": (file_of(b"[1,2]"), "not a JSON object"),
    "a key twice": (file_of(two_keys, bytes(8)), "occurs twice"),
    "a path as a name": (file_of({"../x": entry(0, 4)}, bytes(4)), "invalid name '../x'"),
    "an absolute path as a name": (file_of({"/etc/x": entry(0, 4)}, bytes(4)), "invalid name"),
    "control characters in a name": (
        file_of({"a\x1b[2J\n": entry(0, 4)}, bytes(4)),
        "invalid name",
    ),
    "overlapping tensors": (
        file_of({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)),
        "at a wrong offset",
    ),
    "a hole": (file_of({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)), "at a wrong offset"),
    "more data than tensors": (file_of({"a": entry(0, 4)}, bytes(400)), "but it has 400"),
    "less data than tensors": (file_of({"a": entry(0, 400)}, bytes(4)), "but it has 4"),
    "a negative place": (file_of({"a": entry(-4, 4)}, bytes(4)), "no valid entry"),
    "a negative size": (file_of({"a": entry(0, 4, shape=[-1])}, bytes(4)), "no valid entry"),
    "a size that overflows": (
        file_of({"a": entry(0, 4, shape=[2**40, 2**40])}, bytes(4)),
        "no valid entry",
    ),
    "a size as text": (file_of({"a": entry(0, 4, shape=["1"])}, bytes(4)), "no valid entry"),
    "a size as a bool": (file_of({"a": entry(0, 4, shape=[True])}, bytes(4)), "no valid entry"),
    "an unknown type": (file_of({"a": entry(0, 4, dtype="C64")}, bytes(4)), "no valid entry"),
    "an entry without a type": (file_of({"a": {"shape": [1]}}, bytes(4)), "no valid entry"),
    "metadata that is not text": (
        file_of({"__metadata__": {"a": 1}, "a": entry(0, 4)}, bytes(4)),
        "not text",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_hostile_files_are_refused(tmp_path, case):
    raw, message = CASES[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(file_of(million_tensors()) if raw is None else raw)
    with pytest.raises(FileError, match=message) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 400


MEASURE = """
import json, resource, sys, time
from transformer_lab.files.safefiles import FileError, read_tensors
from safetensors import safe_open
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
longest = open(sys.argv[-1], "rb").read()[8:]
start = time.process_time()
json.loads(longest)
parsing = time.process_time() - start  # of the longest header, in this process
for path in sys.argv[1:]:
    before, start = peak(), time.process_time()
    try:
        read_tensors(path)
    except FileError:
        print((time.process_time() - start) / parsing, peak() - before)
"""


def test_refusing_is_quick_and_small(tmp_path):
    files = []
    for i, (raw, _) in enumerate(CASES.values()):
        files.append(tmp_path / f"{i}.safetensors")
        files[-1].write_bytes(file_of(million_tensors()) if raw is None else raw)
    longest = b"{" + b",".join(b'"k%d":[]' % i for i in range(86_000)) + b"}"  # just below 1 MiB
    files.append(tmp_path / "longest.safetensors")
    files[-1].write_bytes(file_of(longest))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, files)],
        capture_output=True,
        text=True,
        check=True,
    )
    measured = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
    assert len(measured) == len(files)
    assert max(times for times, _ in measured) < 100  # times one parse of the longest header
    assert sum(mib for _, mib in measured) < 200


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".pkl"])
def test_pickles_are_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(FileError, match="is a PyTorch pickle, which can run code"):
        read_tensors(path)


@pytest.mark.parametrize("form", ["zip", "old", "bare"])
def test_a_renamed_pickle_is_called_one_and_runs_nothing(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.safetensors"
    if form == "bare":
        path.write_bytes(pickle.dumps(Evil()))
    else:
        torch.save(Evil(), path, _use_new_zipfile_serialization=form == "zip")
    assert zipfile.is_zipfile(path) == (form == "zip")
    with pytest.raises(FileError, match="is a PyTorch pickle despite its name"):
        load_model(tmp_path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(FileError, match="not a regular file"):
        read_header(tmp_path / "model.safetensors")


def described(folder, **changes):
    """Replace the stored configuration by a false one."""
    tensors, metadata = read_tensors(folder / "model.safetensors")
    values = {**json.loads(metadata["transformer_lab"]), **changes}
    from transformer_lab.files.safefiles import committed, write_tensors

    with committed(folder / "model.safetensors") as path:
        write_tensors(path, tensors, {"transformer_lab": json.dumps(values)})
    (folder / "config.json").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            dict(vocab_size=10**9),
            r"invalid configuration: vocab_size must be at most .* got 1000000000",
        ),
        (dict(vocab_size=10**7), r"\[10, 16\] in the file but \[10000000, 16\] in the model"),
        (dict(d_model=10**6, d_head=None), r"in the file but"),
        (dict(n_layers=9999), r"cannot be a model with 9999 layers"),
        (dict(n_ctx=10**12), r"n_ctx must be at most .* got 1000000000000"),
        (dict(n_heads=0), r"invalid configuration: n_heads must be .* got 0"),
        (dict(vocab_size="10"), r"invalid configuration: vocab_size must be .* got '10'"),
        (
            dict(positions={"name": "os.system"}),
            r"invalid configuration: positions must be .* got 'os.system'",
        ),
        (dict(backdoor=1), r"invalid configuration: unknown model option 'backdoor'"),
        ({"class": "subprocess.Popen"}, r"class 'subprocess.Popen', not one of Transformer"),
    ],
)
def test_a_lying_configuration_allocates_nothing(tmp_path, changes, message):
    save_model(learner(), tmp_path)
    described(tmp_path, **changes)
    with pytest.raises(FileError, match=message):
        load_model(tmp_path)


def test_weights_that_are_not_finite_are_named(tmp_path):
    broken = learner()
    broken.embedding.weight.data[3, 3] = float("nan")
    save_model(broken, tmp_path)
    with pytest.raises(FileError, match=r"embedding.weight has values that are not finite"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd"])
def test_a_state_that_points_elsewhere_is_passed_over(tmp_path, name):
    list(train(learner(), Rows(), steps=2, run=tmp_path / "r", checkpoint_every=1))
    path = tmp_path / "r" / "checkpoints" / "step-00000002" / "state.json"
    state = json.loads(path.read_text())
    state.pop("seal")
    state["files"][name] = {"bytes": 1, "sha256": "0"}
    import hashlib

    text = json.dumps(state, sort_keys=True).encode()
    path.write_text(json.dumps({**state, "seal": hashlib.sha256(text).hexdigest()}))
    with pytest.warns(UserWarning, match="skipping"):
        assert Run(tmp_path / "r").newest().step == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"step":' + b"9" * 5000 + b"}",
        b"[" * 10**5,
        b'{"transformer_lab_checkpoint": 1}',
    ],
)
def test_a_nonsense_state_is_passed_over(tmp_path, raw):
    list(train(learner(), Rows(), steps=2, run=tmp_path / "r", checkpoint_every=1))
    (tmp_path / "r" / "checkpoints" / "step-00000002" / "state.json").write_bytes(raw)
    with pytest.warns(UserWarning, match="skipping"):
        assert Run(tmp_path / "r").newest().step == 1


def test_nothing_in_the_package_unpickles():
    package = Path(tl.__file__).parent
    for path in package.rglob("*.py"):
        text = path.read_text("utf-8")
        for call in ("torch.load(", "pickle.load", "import pickle", "joblib", "np.load("):
            assert call not in text, f"{path} uses {call}"
