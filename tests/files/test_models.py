"""Saved models, over families of shapes, dtypes and damage. TL_EXAMPLES=1000 for a longer run."""

import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import transformer_lab as tl
from tests.factories import learner
from transformer_lab.files.models import load_model, load_tensors, model_tensors, save_model
from transformer_lab.files.paths import FileError
from transformer_lab.files.safefiles import committed, read_header, read_tensors, write_tensors
from transformer_lab.readers import Classifier, ReaderConfig, SpanReader
from transformer_lab.recurrent import Recurrent, RecurrentConfig

EXAMPLES = int(os.environ.get("TL_EXAMPLES", "120"))
KEPT = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@st.composite
def transformers(draw):
    kind = draw(st.sampled_from(["decoder", "encoder", "encoder-decoder"]))
    n_heads = draw(st.integers(1, 4))
    kv = draw(st.sampled_from([n for n in range(1, n_heads + 1) if n_heads % n == 0]))
    options = dict(
        kind=kind,
        vocab_size=draw(st.integers(1, 300)),
        n_layers=draw(st.integers(1, 4)),
        n_heads=n_heads,
        n_kv_heads=kv,
        d_model=8 * n_heads * draw(st.integers(1, 3)),
        n_ctx=draw(st.integers(1, 600)),
        positions=draw(st.sampled_from(["rotary", "learned", "sinusoidal", "alibi", "none"])),
        norm=draw(st.sampled_from(["layer", "rms"])),
        norm_first=draw(st.booleans()),
        norm_affine=draw(st.booleans()),
        activation=draw(st.sampled_from(["gelu", "relu2", "swiglu"])),
        bias=draw(st.booleans()),
        attention_only=draw(st.booleans()),
        head=draw(st.booleans()),
        tie_head=draw(st.booleans()),
        qk_norm=draw(st.booleans()),
    )
    if kind == "encoder-decoder":
        options |= dict(
            n_decoder_layers=draw(st.integers(1, 3)),
            target_vocab_size=draw(st.none() | st.integers(1, 300)),
        )
        if options["target_vocab_size"]:
            options["tie_head"] = draw(st.booleans())
    return tl.Transformer(tl.ModelConfig(**options))


@st.composite
def others(draw):
    if draw(st.booleans()):
        return Recurrent(
            RecurrentConfig(
                vocab_size=draw(st.integers(1, 300)),
                n_layers=draw(st.integers(1, 3)),
                d_model=draw(st.sampled_from([8, 16, 24])),
                cell=draw(st.sampled_from(["lstm", "gru"])),
            )
        )
    config = ReaderConfig(
        encoder=tl.ModelConfig(
            vocab_size=draw(st.integers(1, 300)),
            kind="encoder",
            n_layers=draw(st.integers(1, 3)),
            n_heads=2,
            d_model=16,
            n_ctx=draw(st.integers(4, 300)),
            head=False,
        )
    )
    return draw(st.sampled_from([SpanReader, Classifier]))(config)


def equal(model, loaded, kept=torch.float32):
    pairs = list(zip(model.state_dict().items(), loaded.state_dict().items(), strict=True))
    return all(n == m and torch.equal(p.to(kept).to(q.dtype), q) for (n, p), (m, q) in pairs)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(st.one_of(transformers(), transformers(), others()), st.sampled_from(sorted(KEPT)))
def test_every_model_comes_back(model, dtype):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_model(save_model(model, folder, dtype=dtype))
        assert type(loaded) is type(model)
        assert loaded.config == model.config
        assert equal(model, loaded, KEPT[dtype])


@pytest.mark.parametrize("length", range(0, 256, 8))
def test_no_length_of_a_header_makes_a_model_a_pickle(tmp_path, length):
    """The header's length is in the first bytes, and a first byte of 0x80 also begins a pickle."""
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": torch.ones(2)}, {"padding": "x" * length})
    assert read_header(path)[0] == {"a": ("F32", [2])}
    assert torch.equal(read_tensors(path)[0]["a"], torch.ones(2))


def test_all_lengths_were_met(tmp_path):
    first = set()
    for length in range(0, 256, 8):
        path = tmp_path / "model.safetensors"
        write_tensors(path, {"a": torch.ones(2)}, {"padding": "x" * length})
        first.add(path.read_bytes()[0])
    assert first == set(range(0, 256, 8))


def test_the_model_that_was_called_a_pickle(tmp_path):
    shape = dict(vocab_size=50, n_layers=4, n_heads=4, d_model=128, n_ctx=512)
    model = tl.Transformer(tl.ModelConfig(**shape))
    assert equal(model, load_model(save_model(model, tmp_path)))


def test_double_precision_is_kept(tmp_path):
    model = learner().double()
    loaded = load_model(save_model(model, tmp_path))
    assert next(loaded.parameters()).dtype == torch.float64
    assert all(map(torch.equal, model.parameters(), loaded.parameters()))


# ---------------------------------------------------------------- weights that are the model's


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.bool, torch.uint8])
def test_whole_numbers_are_no_weights(tmp_path, dtype):
    save_model(learner(), tmp_path)
    tensors, metadata = read_tensors(tmp_path / "model.safetensors")
    tensors["embedding.weight"] = tensors["embedding.weight"].to(dtype)
    with committed(tmp_path / "model.safetensors") as path:
        write_tensors(path, tensors, metadata)
    with pytest.raises(FileError, match=r"embedding.weight has dtype \w+, which is not that of w"):
        load_model(tmp_path)
    with pytest.raises(FileError, match=r"embedding.weight has dtype"):
        load_tensors(learner(), tensors, "here")


def test_a_refusal_copies_nothing(tmp_path):
    model, other = learner(), learner()
    tensors = {n: t + 1 for n, t in model_tensors(other).items()}
    tensors["decoder.norm.weight"] = torch.full_like(tensors["decoder.norm.weight"], float("nan"))
    before = {n: t.clone() for n, t in model.state_dict().items()}
    with pytest.raises(FileError, match="not finite"):
        load_tensors(model, tensors, "here")
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())


def without(folder, *names):
    tensors, metadata = read_tensors(folder / "model.safetensors")
    with committed(folder / "model.safetensors") as path:
        kept = {n: t for n, t in tensors.items() if n not in names}
        write_tensors(path, kept, metadata)


def test_what_is_missing_stays_random_only_where_that_is_wanted(tmp_path):
    model = learner()
    tl.TextModel(model, tl.tokenizers.CharTokenizer.train("abcde"), "m").save(tmp_path)
    name = "decoder.blocks.0.attention.out.weight"
    without(tmp_path, name)
    with pytest.raises(FileError, match=f"{name} is missing"):
        load_model(tmp_path)
    loaded = load_model(tmp_path, allow_missing=True)
    assert loaded.random_weights == (name,)
    others = [
        n for n, t in model_tensors(loaded).items() if not torch.equal(t, model_tensors(model)[n])
    ]
    assert others == [name]
    with pytest.raises(ValueError, match=f"{name} was not in the loaded file and is random"):
        save_model(loaded, tmp_path / "again")
    text_model = tl.TextModel.from_pretrained(tmp_path, allow_missing=True)
    assert text_model.random_weights == (name,)
    view = tl.views.HeadView(text_model.trace("abc"))
    assert f"random weights: {name} was not in the file" in repr(view)


def test_models_of_the_first_edition_have_no_checksum_and_load(tmp_path):
    model = learner()
    save_model(model, tmp_path)
    tensors, metadata = read_tensors(tmp_path / "model.safetensors")
    described = json.loads(metadata["transformer_lab"])
    del described["sha256"]
    with committed(tmp_path / "model.safetensors") as path:
        write_tensors(path, tensors, {"transformer_lab": json.dumps(described)})
    (tmp_path / "config.json").write_text(json.dumps(described))
    assert equal(model, load_model(tmp_path))


def load_or_refuse(folder):
    """The model; None if it was refused in one sentence that names the folder, else the error."""
    try:
        return load_model(folder)
    except FileError as error:
        return None if folder in str(error) and "\n" not in str(error) else error


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_model(learner(), tmp_path_factory.mktemp("saved"))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data())
def test_every_flipped_bit_is_noticed(saved, data):
    """In the weights, the header, the checksum or config.json: it is refused or reported; or there
    is a second copy, and the model loads intact."""
    name = data.draw(st.sampled_from(["model.safetensors", "config.json"]))
    raw = bytearray((saved / name).read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(saved, folder, dirs_exist_ok=True)
        (Path(folder) / name).write_bytes(raw)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            loaded = load_or_refuse(folder)
        if loaded is None:
            return
        assert equal(learner(), loaded)
        if name == "config.json" and json.loads(raw) != json.loads((saved / name).read_bytes()):
            assert any("differs from the configuration" in str(w.message) for w in said)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_every_truncation_is_refused(saved, data):
    name = data.draw(st.sampled_from(["model.safetensors", "config.json"]))
    raw = (saved / name).read_bytes()
    kept = data.draw(st.integers(0, len(raw) - 3))  # the last two may be a brace and a newline
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(saved, folder, dirs_exist_ok=True)
        (Path(folder) / name).write_bytes(raw[:kept])
        with pytest.raises(FileError, match=r"model\.safetensors|config\.json"):
            load_model(folder)


def json_values():
    return st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-2, 10**9)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
        ),
        max_leaves=4,
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data())
def test_every_wrong_value_in_a_configuration_is_refused_in_a_sentence(saved, data):
    tensors, metadata = read_tensors(saved / "model.safetensors")
    described = json.loads(metadata["transformer_lab"])
    key = data.draw(st.sampled_from([k for k in sorted(described) if k != "sha256"]))
    value = data.draw(json_values())
    with tempfile.TemporaryDirectory() as folder:
        changed = {k: v for k, v in described.items() if k != "sha256"} | {key: value}
        write_tensors(
            Path(folder) / "model.safetensors", tensors, {"transformer_lab": json.dumps(changed)}
        )
        loaded = load_or_refuse(folder)
        if loaded is None:
            return
        with torch.no_grad():  # a model that loads runs
            loaded(torch.zeros(1, 2, dtype=torch.long))
