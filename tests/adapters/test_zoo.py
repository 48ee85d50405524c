"""The table of Hugging Face models claims no more than its architectures show, and the sweep behind
it finds errors. `python -m benchmarks zoo` makes the table; this tests a part of it."""

import json
from pathlib import Path

import pytest

from tests.missing import package
from transformer_lab.adapters import attention_interface
from transformer_lab.attention import AttentionCall
from transformer_lab.edits.kinds import Ablation, KnockOut

T = package("transformers")

from benchmarks.zoo import table  # noqa: E402
from benchmarks.zoo.building import build, config_of, registered  # noqa: E402
from benchmarks.zoo.examine import (  # noqa: E402
    EXACT,
    IN_PART,
    NO_ATTENTION,
    NOT_BUILT,
    OWN_MAPS,
    READ_ONLY,
    REFUSED,
    WRONG,
    Result,
    examine,
)
from benchmarks.zoo.pool import read, sweep  # noqa: E402

DOCS = Path(__file__).parents[2] / "docs"
TABLE = json.loads((DOCS / "models.json").read_text("utf-8"))
ROWS = {row["name"]: row for row in TABLE["models"]}
PINNED = TABLE["versions"]["transformers"]
RANKS = {
    EXACT: 4,
    IN_PART: 3,
    READ_ONLY: 3,
    OWN_MAPS: 2,
    NO_ATTENTION: 1,
    REFUSED: 1,
    NOT_BUILT: 0,
    WRONG: 0,
}

# Each mechanism once: what computes attention, or replaces it.
MECHANISMS = {
    "causal/gpt2": "plain heads, learned positions",
    "causal/llama": "grouped queries, rotary positions",
    "causal/mistral": "a sliding window",
    "causal/gpt_oss": "sinks",
    "causal/gemma2": "softcap, windows in every other layer",
    "causal/deepseek_v3": "latent queries and keys, experts",
    "causal/deepseek_v32": "sparse indices",
    "causal/qwen3_next": "linear attention in every other layer",
    "causal/zamba": "one attention module that several layers share",
    "causal/gptj": "attention and feed-forward side by side",
    "causal/diffllama": "differential attention",
    "causal/longcat_flash": "two attentions in each block",
    "causal/prophetnet": "streams of n-grams, so its own maps",
    "causal/bloom": "ALiBi, in code of its own",
    "causal/mamba": "no attention",
    "masked/bert": "an encoder",
    "masked/albert": "layers that share their weights",
    "masked/deberta-v2": "disentangled positions, in code of its own",
    "masked/reformer": "hashed keys, refused",
    "seq2seq/t5": "position biases, three kinds",
    "seq2seq/bart": "an encoder and a decoder",
    "seq2seq/nllb-moe": "no fused attention, experts",
    "image-text/llava": "a model of text inside one of pictures",
    "image-text/qwen2_5_vl": "a picture as a list of patches, with its grid",
    "vision/sam_vision_model": "windows of a picture, padded",
    "vision/swin2sr": "windows that shift, layers in stages",
    "speech/whisper": "sound, and cross-attention to it",
    "speech/wav2vec2": "a wave",
}

this_version = pytest.mark.skipif(
    T.__version__ != PINNED,
    reason=f"the table is of transformers {PINNED}, and {T.__version__} is installed",
)


@this_version
@pytest.mark.parametrize("name", MECHANISMS)
def test_the_table_claims_no_more_than_is_shown(name):
    found = examine(registered()[name])
    claimed = ROWS[name]["verdict"]
    assert RANKS[found.verdict] >= RANKS[claimed], f"{found.verdict}: {found.why}"


@pytest.mark.parametrize("name", ["image-text/llava", "image-text/qwen2_5_vl"])
def test_a_picture_stands_among_the_tokens(name):
    assert ROWS[name]["picture"] is True


@this_version
def test_every_architecture_that_is_registered_has_its_line():
    assert set(registered()) == set(ROWS)


def test_nothing_in_the_table_is_wrong():
    assert [name for name, row in ROWS.items() if row["verdict"] == WRONG] == []


def test_what_is_refused_is_told_why():
    silent = [
        name
        for name, row in ROWS.items()
        if row["verdict"] != EXACT and not row.get("why", "").strip()
    ]
    assert silent == []


def test_the_page_is_made_of_the_numbers():
    assert (DOCS / "models.md").read_text("utf-8") == table.as_markdown(TABLE)


# -- the sweep finds what is wrong -----------------------------------------------------------------


def uniform(self, *args, **kwargs):
    scores = AttentionCall.scores(self, *args, **kwargs)
    return scores.isfinite().float() / scores.isfinite().sum(-1, keepdim=True)


def of_the_head_before(change):
    """Make an edit act on the head before the one it names."""
    return lambda self, call: slice((self.head or 0) - 1, self.head or None)


BROKEN = {
    "maps": (AttentionCall, "pattern", uniform),
    "ablation": (Ablation, "heads", of_the_head_before("ablation")),
    "cut": (KnockOut, "heads", of_the_head_before("cut")),
    "attention setting": (
        attention_interface.Session,
        "close",
        lambda self: [h.remove() for h in self.hooks],
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_found(monkeypatch, what):
    monkeypatch.setattr(*BROKEN[what])
    found = examine(registered()["causal/llama"], pages=False)
    assert found.verdict == WRONG and what in found.why


def test_a_crash_is_wrong_and_a_sentence_is_a_refusal(monkeypatch):
    def fails(error):
        def door(*args, **kwargs):
            raise error

        return door

    for error, verdict in ((KeyError("x"), WRONG), (ValueError("it reads music"), REFUSED)):
        monkeypatch.setattr("transformer_lab.trace", fails(error), raising=False)
        found = examine(registered()["causal/gpt2"], pages=False)
        assert found.verdict == verdict and ("music" in found.why or "KeyError" in found.why)


def test_nothing_of_a_tiny_model_is_at_rest():
    model = build(registered()["causal/gpt_oss"])
    at_rest = [n for n, p in model.named_parameters() if p.numel() > 1 and p.std() < 1e-3]
    assert at_rest == []


@pytest.mark.parametrize("name", ["causal/qwen3_next", "causal/lfm2", "causal/gemma3_text"])
def test_a_tiny_hybrid_has_every_sort_of_layer(name):
    one = registered()[name]
    kind = getattr(T, one.made)
    small = config_of(one, kind)
    assert set(small.layer_types) == set(kind.config_class().layer_types)
    assert 2 <= len(small.layer_types) == small.num_hidden_layers <= 8


def test_a_sweep_that_was_broken_off_goes_on(tmp_path):
    one = registered()["causal/gpt2"]
    raw = tmp_path / "raw.jsonl"
    known = Result(one.name, one.made, EXACT, seconds=1.0)
    raw.write_text(json.dumps(vars(known)) + '\n{"name": "half a li')
    assert list(sweep([one], raw=raw, resume=True)) == [known]
    assert list(read(raw)) == [one.name]
