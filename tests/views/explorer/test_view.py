"""The Python half of the Explorer, against independent forward passes and softmaxes."""

import copy
import io
import threading
import time

import matplotlib.image
import pytest
import torch
from matplotlib.text import Text

import transformer_lab as tl
from tests.factories import small, talking
from tests.missing import package
from transformer_lab.edits.kinds import EditError
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import Explorer
from transformer_lab.views.heads import data
from transformer_lab.views.heads.data import HeadData
from transformer_lab.views.shared.map_sentences import Seen, difference_sentence, long_time

TEXT = "The animal did not cross the street because it was too tired ."
FRENCH = "l' animal n' a pas traversé la rue"


def text_model(kind="decoder", **options):
    torch.manual_seed(3)
    tokenizer = WordTokenizer.train(f"{TEXT} {FRENCH}")
    config = tl.ModelConfig(
        kind=kind,
        vocab_size=tokenizer.vocab_size,
        n_layers=2,
        n_heads=4,
        d_model=32,
        n_ctx=32,
        **options,
    )
    model = tl.Transformer(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
            if "query" in name or "key" in name:
                parameter.mul_(4)
    return tl.TextModel(model, tokenizer, f"small {kind}")


def probabilities(model, position, *edits, text=TEXT):
    """From a plain forward pass; softmax in float64."""
    network = copy.deepcopy(model.model)
    tokens = model.encode(text)[None]
    with torch.no_grad():
        if edits:
            with tl.edit(network, *edits):
                logits = network(tokens)
        else:
            logits = network(tokens)
    return logits[0, position].double().softmax(-1)


@pytest.fixture(scope="module")
def decoder():
    return text_model()


def test_predictions_and_effects_are_those_of_plain_forward_passes(decoder):
    edits = [tl.ablate(1, 2), tl.knock_out(0, 1, query=12, key=3)]
    view = tl.explore(decoder, TEXT)
    assert isinstance(view, Explorer)
    before = probabilities(decoder, -1)
    names = [decoder.tokenizer.tokens([i])[0] for i in range(len(before))]
    assert view.effect is None
    assert [(r.token, r.after) for r in view.predictions] == [
        (names[i], None) for i in before.topk(8).indices
    ]
    view.edits = edits
    after = probabilities(decoder, -1, *edits)
    assert not torch.allclose(before, after, atol=1e-3)
    for row in view.predictions:
        at = names.index(row.token)
        assert row.before == pytest.approx(float(before[at]), abs=1e-6)
        assert row.after == pytest.approx(float(after[at]), abs=1e-6)
    kl = float((before * (before.log() - after.log())).sum())
    assert view.effect.kl == pytest.approx(kl, rel=1e-4)
    risen = {names[i] for i in after.topk(3).indices}
    assert risen <= {row.token for row in view.predictions}
    assert view.effect.likeliest.token == names[int(before.argmax())]
    alone = probabilities(decoder, -1, tl.ablate(0, 3))
    found = view.effect_of(0, 3)
    assert found.kl == pytest.approx(float((before * (before / alone).log()).sum()), rel=1e-4)
    assert "Without layer 0, head 3, “" in found.sentence("Without layer 0, head 3")
    assert [e.code() for e in view.edits] == [e.code() for e in edits]
    assert torch.equal(probabilities(decoder, -1), before), "nothing is left on the model"


def test_the_maps_are_before_after_and_their_difference(decoder):
    view = Explorer(decoder, TEXT, layer=1, head=0)
    clean = decoder.trace(TEXT).pattern(1, 0)
    torch.testing.assert_close(view.row(7), clean[7])
    key = int(clean[7].argmax())
    edit = tl.knock_out(1, 0, query=7, key=key)
    view.edits = [edit]
    with tl.edit(decoder, edit):
        edited = decoder.trace(TEXT).pattern(1, 0)
    assert float(edited[7, key]) == 0
    torch.testing.assert_close(view.row(7), edited[7])
    assert view.sentence.startswith("Layer 1, head 0 after the edits: ")
    view._options = {"map": "difference"}
    torch.testing.assert_close(view.row(7), edited[7] - clean[7])
    view.selected = (7, key)
    assert f"changes by −{float(clean[7, key]):.2f}".replace("0.", ".") in view.sentence
    view._options = {"map": "before"}
    torch.testing.assert_close(view.row(7), clean[7])


def test_of_equal_changes_the_first_is_named():
    seen = Seen("cross", 0, 1, False, ["a"], ["x", "y", "z"], causal=False, same=False)
    told = difference_sentence(seen, torch.tensor([[0.1, -0.39999, 0.40001]]), None)
    assert told == "Layer 0, head 1: your edits change “a” → “y” most (−0.40)."


def test_positions_texts_and_errors(decoder):
    view = Explorer(decoder, TEXT, position=4)
    assert view.position == 4
    best = probabilities(decoder, 4).argmax()
    assert view.predictions[0].token == decoder.tokenizer.tokens([int(best)])[0]
    view.edits = [tl.ablate(1, 1), tl.knock_out(query=12, key=3)]
    view.text = "it was tired ."
    assert view.position == 3
    assert [e.code() for e in view.edits] == ["tl.ablate(layer=1, head=1)"]
    removed = "1 cut was removed: it was between tokens of the text before this one."
    assert view._outcome["note"] == removed
    for change, message in (
        (dict(text=""), "text is empty"),
        (dict(text="it " * 40), "text has 40 tokens but small decoder reads at most 32"),
        (dict(edits=[tl.ablate(2, 0)]), r"layer=2 is outside 0 … 1"),
        (dict(edits=[tl.knock_out(query=9, key=0)]), r"query=9 is outside the 4 tokens"),
        (dict(edits=["x"]), "is not an edit"),
        (dict(position=4), r"position=4 is outside the 4 tokens"),
        (dict(masked=[1]), "nothing can be masked"),
        (dict(target="x"), "takes no target"),
    ):
        [(name, value)] = change.items()
        with pytest.raises(ValueError, match=message):
            setattr(view, name, value)
        assert view.text == "it was tired ."
        assert [e.code() for e in view.edits] == ["tl.ablate(layer=1, head=1)"]
    with pytest.raises(ValueError, match="Explorer takes a TextModel"):
        Explorer(decoder.model, TEXT)


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("masked", 5, "masked=5 is not a list of positions"),
        ("masked", ["a"], r"masked='a' is outside the 4 tokens; give numbers 0 … 3"),
        ("position", "a", r"position='a' is outside the 4 tokens"),
        ("position", 1.5, r"position=1.5 is outside the 4 tokens"),
        ("edits", 5, r"edits=5 is not a list; use \[tl.ablate"),
        ("text", 3, "text must be a string, got int"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(name, value, message):
    view = Explorer(text_model("encoder"), "it was tired .", edits=[tl.ablate(1, 1)])
    with pytest.raises(ValueError, match=message):
        setattr(view, name, value)
    assert view.text == "it was tired ."
    assert view.edits[0].code() == "tl.ablate(layer=1, head=1)"


def test_masks_that_are_written_are_read():
    model = text_model("encoder")
    view = Explorer(model, TEXT.replace("street", "<mask>"))
    assert view.position == 6
    other = Explorer(model, TEXT)
    other.masked = [6]
    assert view.predictions == other.predictions
    assert model.predict(view.text)[0][1] == pytest.approx(other.predictions[0].before, abs=1e-6)
    decoder = text_model()
    assert decoder.tokenizer.mask_id not in decoder.encode("the <mask>")


def test_what_the_model_cannot_read_is_said():
    view = Explorer(text_model(), "the 🙂 gnu <mask>")
    assert view._about["unread"] == (
        "The model does not know 5 of the text’s 6 tokens: it reads “<unk>” there. “<mask>” is "
        "read as plain text: this model has no masks, it predicts the next token."
    )
    view.text = "it was tired ."
    assert view._about["unread"] == ""
    view = Explorer(text_model("encoder-decoder"), TEXT, "la gnu")
    assert view._about["unread"] == (
        "The model does not know 1 of the target’s 2 tokens: it reads “<unk>” there."
    )


def test_masked_models_predict_at_their_masks():
    model = text_model("encoder")
    view = Explorer(model, TEXT)
    assert view.position is None
    view.masked = [5]
    assert view.position == 5
    ids = model.encode(TEXT)[None]
    ids[0, 5] = model.tokenizer.mask_id
    with torch.no_grad():
        wanted = model.model(ids)[0, 5].double().softmax(-1)
    assert view.predictions[0].before == pytest.approx(float(wanted.max()), abs=1e-6)
    view.text = TEXT.replace("animal", "street")
    assert view.masked == []


def test_a_model_without_a_head_shows_how_far_states_move():
    model = text_model("encoder", head=False)
    view = Explorer(model, TEXT)
    assert view.predictions == []
    edit = tl.ablate(0, 2)
    view.edits = [edit]
    with torch.no_grad():
        tokens = model.encode(TEXT)[None]
        clean = model.model(tokens)[0]
    stream = {}
    for name in ("before", "after"):
        if name == "before":
            stream[name] = model.trace(TEXT, keep="all").residual()["resid_post"][-1]
        else:
            with tl.edit(model, edit):
                stream[name] = model.trace(TEXT, keep="all").residual()["resid_post"][-1]
    assert clean.shape == stream["before"].shape
    change = (stream["after"] - stream["before"]).norm(dim=-1) / stream["before"].norm(dim=-1)
    most = view.effect.states[0]
    assert (most.index, most.change) == (
        int(change.argmax()),
        pytest.approx(float(change.max()), rel=1e-4),
    )
    assert view.effect.mean_change == pytest.approx(float(change.mean()), rel=1e-4)
    assert "the final states move by" in view.sentence


def test_an_encoder_decoder_steps_through_what_it_writes():
    model = text_model("encoder-decoder")
    view = Explorer(model, TEXT, FRENCH)
    assert view.kind == "cross"
    assert view.position == 0
    view.edits = [tl.ablate(1, 1, kind="cross"), tl.ablate(0, 0, kind="encoder")]
    view.position = 3
    target = torch.tensor([[model.target_tokenizer.bos_id, *model.target_tokenizer.encode(FRENCH)]])
    with torch.no_grad(), tl.edit(model, *view.edits):
        wanted = model.model(model.encode(TEXT)[None], target)[0, 3].double().softmax(-1)
    labels = model.target_tokenizer.tokens(target[0].tolist())
    assert view._about["tokens"] == labels
    assert view._where() == f"written after “{labels[3]}”"
    token = model.target_tokenizer.tokens([int(wanted.argmax())])[0]
    row = next(r for r in view.predictions if r.token == token)
    assert row.after == pytest.approx(float(wanted.max()), abs=1e-6)


def test_a_sentence_names_the_side_and_the_tokens_of_an_edit():
    view = Explorer(text_model("encoder-decoder"), TEXT, FRENCH)
    for edit, told in (
        (tl.ablate(0, 1), "With decoder layer 0, head 1 switched off, “"),
        (tl.ablate(0, 1, kind="cross"), "With cross layer 0, head 1 switched off, “"),
        (
            tl.knock_out(0, 1, query=1, key=2, kind="cross"),
            "With “l” → “did” cut in cross layer 0, head 1, “",
        ),
        (
            tl.knock_out(key=1, kind="encoder"),
            "With every token → “animal” cut in every encoder layer, all heads, “",
        ),
    ):
        view.edits = [edit]
        assert view._outcome["sentence"].startswith(told)
    view = Explorer(text_model(), TEXT, edits=[tl.knock_out(query=3)])
    assert view._outcome["sentence"].startswith(
        "With “not” → everywhere cut in every layer, all heads, “"
    )


@pytest.mark.parametrize("kind", ["decoder", "encoder", "own answer", "target"])
def test_the_code_runs_and_gives_the_numbers_on_view(kind, capsys):
    both = kind in ("own answer", "target")
    model = text_model("encoder-decoder" if both else kind)
    view = Explorer(model, TEXT + ' "\\', FRENCH if kind == "target" else None)
    if kind == "encoder":
        view.masked = [5, 7]
        view.position = 7
    view.edits = [tl.ablate(1, 1), tl.ablate(0, 2), tl.knock_out(0, 1, key=0)]
    found = {"tl": tl, "model": model}
    exec(view.code, found)
    for trace, side in ((found["before"], "before"), (found["after"], "after")):
        given = dict(trace.predictions(view.position, k=3))
        shown = {row.token: getattr(row, side) for row in view.predictions}
        assert {t: shown[t] for t in given} == pytest.approx(given, abs=1e-6)
    told = capsys.readouterr().out.splitlines()
    assert told == [repr(found[side].predictions(view.position)) for side in ("before", "after")]


def test_edits_of_every_kind_and_their_code(decoder):
    view = Explorer(decoder, TEXT)
    source = decoder.trace(TEXT.replace("animal", "street"), keep="all")
    edits = [tl.ablate(0, 1), tl.scale(1, 2, by=0.5), tl.skip(1, "mlp"), tl.patch(source, 1, 3)]
    view.edits = edits
    assert [e.code() for e in view.edits] == [e.code() for e in edits]
    assert view._edits[3]["words"] == edits[3].describe()
    assert view.code.splitlines()[1:3] == [
        "    tl.ablate(layer=0, head=1),",
        "    tl.scale(layer=1, head=2, by=0.5),",
    ]
    assert view.sentence.count("With these 4 edits, “") == 1
    view.edits = [tl.ablate(0, 1)]
    assert "With layer 0, head 1 switched off, “" in view.sentence
    view.edits = []
    assert view.effect is None


def test_the_answers_to_a_browser(decoder):
    view = Explorer(decoder, TEXT)
    sent = []
    view.send = lambda message, buffers=None: sent.append((message, buffers))

    def ask(**question):
        view._on_question(view, {"request": len(sent), **question}, [])
        return sent[-1]

    cut = {"edit": "knock_out", "layer": 1, "head": 0, "query": 7, "key": 2}
    assert ask(type="run", edits=[cut])[0]["type"] == "done"
    assert view.edits[0].code() == "tl.knock_out(layer=1, head=0, query=7, key=2)"
    for bad in (
        {"edit": "exec"},
        {"edit": "kept", "number": 0},
        {"edit": "ablate", "code": "x"},
        7,
    ):
        answer = ask(type="run", edits=[bad])[0]
        assert answer["type"] == "error", answer
        assert view.edits[0].code() == "tl.knock_out(layer=1, head=0, query=7, key=2)"
    answer, buffers = ask(type="block", name="effect/decoder/0/1")
    assert answer["type"] == "block"
    assert buffers
    assert ask(type="sweep", kind="decoder", layer=1)[0]["type"] == "done"
    assert set(view._effects) >= {"decoder/0/1", *(f"decoder/1/{h}" for h in range(4))}
    assert ask(type="block", name="after/decoder/1/0")[0]["type"] == "block"
    assert ask(type="labels")[0]["type"] == "done"
    end = time.monotonic() + 60
    while not view._labels:  # another thread computes them
        assert time.monotonic() < end
        time.sleep(0.05)
    found = tl.heads.labels(decoder, ablation=False)
    told = [[label["tag"] for label in row] for row in view._labels["decoder"]]
    assert told == [[label.name or "" for label in row] for row in found]


def test_a_context_too_short_for_labels_is_said_in_plain_words(monkeypatch):
    def too_long(*_, **__):
        raise ValueError("lag=13 makes texts of 33 tokens; give a smaller lag or slack")

    monkeypatch.setattr("transformer_lab.heads.labels", too_long)
    view = Explorer(text_model("decoder"), "it was tired .")
    view._facts.name_heads()
    assert view._labels["decoder"][0][0] == {
        "tag": "",
        "short": "",
        "sentence": "No label: this model reads at most 32 tokens, too few for the random texts "
        "that heads are named by.",
        "score": None,
    }


def test_effects_are_those_of_a_sweep(decoder):
    view = Explorer(decoder, TEXT)
    view.to_html(model=False)  # computes all heads' effects
    swept = tl.sweep_heads(decoder, TEXT, measure="kl")
    for layer in range(2):
        for head in range(4):
            mine = view._effects[f"decoder/{layer}/{head}"]
            assert mine["kl"] == pytest.approx(float(swept.values[layer, head]), rel=1e-3, abs=1e-6)


def test_a_model_that_trains_or_learned_since(decoder):
    model = copy.deepcopy(decoder)
    view = Explorer(model, TEXT)
    first = view.predictions

    class Repeating:
        def batch(self, step):
            tokens = model.encode(TEXT)[None]
            return tl.datasets.Batch(tokens=tokens[:, :-1], targets=tokens[:, 1:])

    sent = []
    view.send = lambda message, buffers=None: sent.append(message)
    ask = {"type": "run", "edits": [{"edit": "ablate", "layer": 0, "head": 0}], "request": 1}
    for _ in tl.train(model.model, Repeating(), steps=2):
        thread = threading.Thread(target=view._on_question, args=(view, ask, []))
        thread.start()
        thread.join()
    assert [m["training"].startswith("training…") for m in sent] == [True, True]
    assert view.edits == []
    view._on_question(view, ask, [])
    assert [e.code() for e in view.edits] == ["tl.ablate(layer=0, head=0)"]
    assert view.predictions[0].before != first[0].before, "the text was read again"
    model.model.train()  # as in a training loop: the Explorer reads a copy, without dropout
    view.edits = [tl.ablate(0, 1)]
    assert model.model.training


def test_pictures_and_the_bundle(decoder):
    view = Explorer(decoder, TEXT)
    for edits, mode in (
        ([], "after"),
        ([tl.ablate(0, 0)], "after"),
        ([tl.ablate(0, 0)], "difference"),
    ):
        view.edits, view._options = edits, {"map": mode}
        data, metadata = view._repr_mimebundle_()
        image = matplotlib.image.imread(io.BytesIO(data["image/png"]))
        assert image.shape[0] > 400
        said = (
            f"Explorer, {'with 1 edit' if edits else 'without edits'}, as it was when the cell ran."
        )
        assert metadata["image/png"]["alt"].startswith(f"{view.sentence} {said}")
    view = Explorer(text_model("encoder", head=False), TEXT, edits=[tl.ablate(0, 0)])
    assert view.png()[:4] == b"\x89PNG"


def test_a_picture_has_the_turns_of_a_conversation():
    package("transformers")
    model = small(vocab_size=260, n_ctx=400, n_heads=2, d_model=16)
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Name a colour. " * 9},
    ]
    view = tl.explore(tl.TextModel(model, talking(), "bytes"), said)

    def words():
        return [text.get_text() for text in view.figure().findobj(Text) if text.get_visible()]

    turns = ["system", "user", "assistant"]
    assert [words().count(name) for name in turns] == [2, 2, 2]  # on both axes
    (listed,) = (text for text in words() if text.startswith("system: "))
    first, second, third = listed.splitlines()
    assert first == "system: “system↵Be brief.”" and third == "assistant: “assistant”"
    assert second.startswith("user: “user↵Name a colour.") and second.endswith("…")
    # A part of the map has only its own turns.
    view.mark(view.segments["user"], view.segments["system"])
    assert [words().count(name) for name in turns] == [1, 1, 0]
    view.text = "No conversation."
    assert [words().count(name) for name in turns] == [0, 0, 0]


def test_a_page_says_what_it_leaves_out(decoder, tmp_path):
    view = Explorer(decoder, TEXT)
    text = view.save_html(tmp_path / "x.html", model=False).read_text("utf-8")
    assert text.count('data-block="effect/decoder/') == 8
    text = view.save_html(tmp_path / "x.html", effects=False).read_text("utf-8")
    assert "effect/decoder/" not in text
    view.session.reading.seconds = 100.0
    text = view.to_html(model=False)
    assert "each of the 8 heads is left out: it takes about 13 minutes." in text  # for its readers
    assert "save_html(path, effects=True) computes it" in view.left_out
    assert "effect/decoder/" not in text


def test_long_times_are_told_as_people_tell_them():
    told = {180: "3 minutes", 50: "1 minute", 5300: "88 minutes", 60_000: "17 hours"}
    assert {seconds: long_time(seconds) for seconds in told} == told


@pytest.mark.badinput
def test_a_path_that_cannot_be_written_is_named(decoder, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    view = Explorer(decoder, "it was tired .")
    with pytest.raises(
        ValueError, match=r"x\\x00.html' cannot be written \(the path contains a null"
    ):
        view.save_html(f"{tmp_path}/x\0.html", effects=False)
    monkeypatch.setattr("builtins.open", refused)
    with pytest.raises(ValueError, match=r"x.html' cannot be written \(Permission denied\); name"):
        view.save_html(tmp_path / "x.html", effects=False)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_slow_first_pass_is_timed_again(decoder):
    view = Explorer(decoder, TEXT)
    view.session.reading.effects.clear()
    view.session.reading.seconds = 100.0  # as if the weights came from a slow disk
    assert view.to_html(model=False).count('data-block="effect/decoder/') == 8
    assert view.session.reading.seconds < 100


def test_edits_that_do_not_fit_a_model_are_told_in_one_sentence(decoder):
    view = Explorer(decoder, TEXT)
    with pytest.raises(EditError, match="comes after it"):
        view.edits = [tl.knock_out(0, 0, query=2, key=5)]
    assert view.edits == []


def test_heads_are_built_once(decoder, monkeypatch):
    """A new Explorer used to compute patterns and thumbnails twice: once as a head view."""
    made = []
    for name in ("__init__", "maps", "thumbnails", "kinds"):
        whole = getattr(HeadData, name)

        def counted(self, *args, name=name, whole=whole, **options):
            made.append(name)
            return whole(self, *args, **options)

        monkeypatch.setattr(HeadData, name, counted)
    view = Explorer(decoder, TEXT)
    assert sorted(made) == ["__init__", "kinds", "maps", "thumbnails"]
    made.clear()
    view.edits = [tl.ablate(0, 1)]
    assert sorted(made) == ["__init__", "maps", "thumbnails"]  # of the edited patterns


def test_a_text_that_is_cut_says_where_the_whole_is(decoder, monkeypatch):
    monkeypatch.setattr(data, "LONGEST_BY_MAPS", 4)
    view = Explorer(decoder, TEXT)
    assert view._kinds["decoder"]["queries"] == 4
    assert "tl.views.HeadView(view.trace)" in view._note
    whole = tl.views.HeadView(view.trace)
    n = len(view.trace.query_tokens())
    assert whole._kinds["decoder"]["queries"] == n > 4 and whole._note == ""
    view.text = "the cat"
    assert "HeadView" not in view._note
