"""TextModel: text in, traces and predictions out, with any model and tokenizer."""

import pytest
import torch

import transformer_lab as tl
from tests.missing import package
from transformer_lab.tokenizers import BPETokenizer, CharTokenizer

TEXT = "the keys to the cabinet are on the table. "
HOSTILE = ["<img src=x onerror=alert(1)>", "</script>", r"$\frac$", "a\u202eb", "a\x00b", "🙂"]


@pytest.fixture(scope="module")
def toy() -> tl.TextModel:
    torch.manual_seed(0)
    tokenizer = BPETokenizer.train(TEXT * 20, vocab_size=300)
    config = tl.ModelConfig(vocab_size=tokenizer.vocab_size, n_layers=2, d_model=32, n_ctx=64)
    return tl.TextModel(tl.Transformer(config).eval(), tokenizer, "toy")


@pytest.fixture(scope="module")
def translator() -> tl.TextModel:
    torch.manual_seed(0)
    tokenizer = CharTokenizer.train(TEXT)
    config = tl.ModelConfig(
        vocab_size=tokenizer.vocab_size, kind="encoder-decoder", n_layers=2, d_model=32, n_ctx=64
    )
    return tl.TextModel(tl.Transformer(config).eval(), tokenizer, "toy translator")


def test_a_trace_names_its_tokens(toy):
    trace = toy.trace("the keys")
    assert trace.query_tokens() == trace.key_tokens() == ["the", "·keys"]
    assert trace.model_name == "toy"
    assert tl.trace(toy, "the keys").logits.equal(trace.logits)


def test_predictions_are_the_softmax_of_the_logits(toy):
    trace = toy.trace("the keys")
    best = trace.logits[0, -1].softmax(-1).topk(3)
    names = toy.tokenizer.tokens(best.indices.tolist())
    expected = list(zip(names, best.values.tolist(), strict=True))
    assert toy.predict("the keys", k=3) == trace.predictions(k=3) == expected


def test_saved_and_loaded_it_is_the_same(toy, tmp_path):
    toy.save(tmp_path / "toy")
    again = tl.TextModel.from_pretrained(tmp_path / "toy")
    assert again.name == "toy" and not again.model.training
    torch.testing.assert_close(again.trace("the keys").logits, toy.trace("the keys").logits)


def test_an_encoder_decoder_writes_its_own_target(translator):
    trace = translator.trace("the keys")
    written = translator.generate("the keys", max_new_tokens=63)
    start = translator.tokenizer.tokens([translator.tokenizer.bos_id])
    assert trace.query_tokens("cross")[:1] == start
    assert "".join(trace.query_tokens("cross")[1:]).replace("·", " ") == written
    assert trace.special("cross", side="query")[0]


def test_a_given_target_is_read(translator):
    trace = translator.trace("the keys", "the table")
    assert trace.shape("cross") == (1 + len("the table"), len("the keys"))


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_is_traced(toy, text):
    trace = toy.trace(text)
    assert toy.decode(toy.encode(text)) == text
    assert all(c.isprintable() for token in trace.query_tokens() for c in token)


def test_a_hugging_face_model_goes_the_same_way(tmp_path):
    transformers = package("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {
        w: i for i, w in enumerate(["[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]", "keys", "the"])
    }
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", mask_token="[MASK]", pad_token="[PAD]"
    )
    config = transformers.BertConfig(
        vocab_size=7,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    model = tl.TextModel(transformers.BertForMaskedLM(config).eval(), tokenizer, "tiny")
    assert model.kind == "encoder"
    trace = model.trace("the [MASK] keys")
    assert trace.key_tokens() == ["the", "[MASK]", "keys"]
    assert trace.special() == [False, True, False]
    assert model.predict("the [MASK] keys") == trace.predictions(position=1)
    model.save(tmp_path / "tiny")
    again = tl.TextModel.from_pretrained(tmp_path / "tiny")
    torch.testing.assert_close(again.trace("the keys").logits, model.trace("the keys").logits)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.trace(""), "text is empty"),
        (lambda m: m.trace("keys " * 90), r"text has \d+ tokens but toy reads at most 64"),
        (lambda m: m.trace(3), "text must be a string, got int"),
        (lambda m: m.trace("a", "b"), "toy is a decoder and takes no target"),
        (lambda m: tl.TextModel(3, m.tokenizer), "model must be a torch module, got int"),
        (lambda m: tl.TextModel(m.model, 3), "tokenizer must be one of .* got int"),
        (
            lambda m: tl.TextModel.from_pretrained("./nowhere"),
            "the folder ./nowhere does not exist",
        ),
        (lambda m: tl.TextModel.from_pretrained("no-such/model"), "With no network, use 'shipped'"),
        (
            lambda m: tl.TextModel.from_pretrained("shipped", device="tpu"),
            "device must be one of auto, .* got 'tpu'",
        ),
        (lambda m: tl.explore(m.model), "explore takes a TextModel"),
        (lambda m: tl.explore("gtp2"), r"by name, got 'gtp2'; .* tl.TextModel.from_pretrained"),
        (lambda m: tl.explore("./nowhere"), "the folder ./nowhere does not exist"),
    ],
)
def test_bad_input_gets_one_clear_sentence(toy, call, message, monkeypatch):
    def unreachable(*_):
        raise OSError("no network in this test")

    monkeypatch.setattr("socket.getaddrinfo", unreachable)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        call(toy)


@pytest.mark.badinput
def test_a_folder_that_is_no_model_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        tl.TextModel.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not readable JSON"):
        tl.TextModel.from_pretrained(tmp_path)


@pytest.mark.badinput
def test_a_masked_model_asks_for_a_mask():
    tokenizer = CharTokenizer.train(TEXT)
    config = tl.ModelConfig(vocab_size=tokenizer.vocab_size, kind="encoder", n_layers=1, d_model=16)
    model = tl.TextModel(tl.Transformer(config).eval(), tokenizer, "toy encoder")
    with pytest.raises(ValueError, match="put <mask> into the text"):
        model.predict("the keys")
    assert len(model.predict("the keys", position=0)) == 5


@pytest.mark.badinput
@pytest.mark.parametrize("text", ["x" * 10_000_000, "word " * 1_000_000, "\x00" * 200_000])
def test_a_book_is_refused_before_it_is_split_into_tokens(text, monkeypatch):
    model = tl.shipped()
    explorer = tl.explore(model, "def f(x):")
    monkeypatch.setattr(type(model.tokenizer), "encode", None)  # must not be called
    with pytest.raises(
        ValueError, match=r"text has [\d,]+ characters but shipped reads at most 256"
    ):
        model.trace(text)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="reads at most 256"):
        explorer.text = text
    assert explorer.text == "def f(x):"  # the last text stays


@pytest.mark.parametrize("text", ["a \ud800 b", "a\x00b", "\u202eabc", "\r\n\r\n", "😀" * 40])
def test_odd_characters_are_read(text):
    explorer = tl.explore("shipped", "def f(x):")
    explorer.text = text
    assert explorer.text == text
    assert explorer.predictions


def test_explore_takes_what_the_explorer_takes(toy):
    import inspect

    given = dict(layer=1, head=1, position=2, edits=[tl.ablate(0, 1)], title="Mine")
    view, same = (
        tl.explore(toy, "the keys to", **given),
        tl.views.Explorer(toy, "the keys to", **given),
    )
    for found in (view, same):
        assert (found.layer, found.head, found.position) == (1, 1, 2)
        assert [e.code() for e in found.edits] == [tl.ablate(0, 1).code()]
    assert view.sentence == same.sentence
    names = [list(inspect.signature(f).parameters) for f in (tl.explore, tl.views.Explorer)]
    assert set(names[0]) == set(names[1])


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"position": 99}, "99"),
        ({"layer": 9}, "9"),
        ({"head": 7}, "7"),
        ({"kind": "cross"}, "cross"),
    ],
)
def test_explore_refuses_a_place_that_is_not_there(toy, given, message):
    with pytest.raises(Exception, match=message):
        tl.explore(toy, "the keys", **given)
