"""What an Explorer says of edits, of what was written and of what was not read, in Python: it runs the
page's own prose.js."""

import itertools

import pytest

import transformer_lab as tl
from tests.factories import small
from transformer_lab.tokenizers import WordTokenizer
from transformer_lab.views import Explorer
from transformer_lab.views.explorer.runs import Outcome, Prediction, StateChange
from transformer_lab.views.explorer.written import Written

WORDS = "a b c d e f g"


def explorer(kind="decoder", *text):
    tokenizer = WordTokenizer.train(WORDS)
    model = small(kind, vocab_size=tokenizer.vocab_size, n_ctx=16)
    return Explorer(tl.TextModel(model, tokenizer, "m"), *(text or ("a b c",)))


@pytest.mark.parametrize(
    ("rows", "kl", "says"),
    [
        (
            [("a", 0.8, 0.15), ("b", 0.1, 0.7)],
            1.0,
            "“a” becomes less likely: 80% → 15%; “b” is now the most likely (70%). Overall change: very large (KL 1.00).",
        ),
        ([("a", 0.3, 0.3001)], 1e-4, "“a” stays at 30%. Overall change: very small (KL <0.001)."),
        (
            [("a", 0.1, 0.625), ("c", 0.2, 0.1)],
            0.0125,
            "“a” becomes more likely: 10% → 63%. Overall change: small (KL 0.013).",
        ),
        ([("a", 1e-31, 0.0)], 0.0, "“a” stays at 0%. Overall change: very small (KL 0.000)."),
    ],
)
def test_what_edits_do(rows, kl, says):
    found = Outcome(0, kl, tuple(Prediction(*row) for row in rows))
    assert found.sentence("Without it") == f"Without it, {says}"


def test_what_edits_do_to_a_model_that_predicts_nothing():
    states = (StateChange(2, "ñ", 0.12345), StateChange(0, "x", 0.1))
    says = "Without it, the final states move by 4.0% on average, that of “ñ” most (12.3%)."
    assert Outcome(0, None, (), states, 0.04).sentence("Without it") == says
    assert Outcome(0, None).sentence("Without it") == ""


UNKNOWN = "The model does not know {} of the {}’s {} tokens: it reads “<unk>” there."
UNMASKED = "“{}” is read as plain text: this model has no masks, it predicts the next token."


@pytest.mark.parametrize("kind", ["decoder", "encoder", "encoder-decoder"])
def test_what_was_not_read(kind):
    runs = explorer(kind).session.runs

    def unread(text, target=None):
        return runs.unread(runs.read(text, target))

    assert unread("a b") == ""
    assert unread("a x y") == UNKNOWN.format(2, "text", 3)
    for mask in ("<mask>", "[MASK]"):
        said = [] if (kind, mask) == ("encoder", "<mask>") else [UNKNOWN.format(3, "text", 5)]
        said += [] if kind == "encoder" else [UNMASKED.format(mask)]
        assert unread(f"a {mask} b") == " ".join(said)
    if kind == "encoder-decoder":
        assert unread("a b", "a q") == UNKNOWN.format(1, "target", 2)
        both = [UNKNOWN.format(1, "text", 1), UNKNOWN.format(1, "target", 2)]
        assert unread("zz", "a q") == " ".join(both)


@pytest.mark.parametrize(
    ("plain", "edited", "parts", "says"),
    [
        ([5, 6, 7, 8], None, None, "Generated 2 tokens, always the most likely one."),
        (
            [5, 6, 7],
            None,
            None,
            "Generated 1 token, always the most likely one, and stopped there.",
        ),
        ([5, 6, 7], [5, 6, 7], None, "{}, the model writes the same 1 token."),
        (
            [5, 6, 7, 8],
            [5, 6, 8],
            2,
            "{}, the two texts diverge at token 2: “{}” / “{}”. With edits it continues “{}”.",
        ),
        (
            [5, 6, 7, 8],
            [5, 6],
            2,
            "{}, the two texts diverge at token 2: “{}” / the end. With edits the text ends there.",
        ),
        (
            [5, 6, 7],
            [5, 6, 7, 8],
            3,
            "{}, the two texts diverge at token 3: the end / “{}”. With edits it continues “{}”.",
        ),
    ],
)
def test_what_was_written(plain, edited, parts, says):
    view = explorer()
    view.edits = [tl.ablate(0, 1)]
    both = Written((), 2, tuple(plain), edited and tuple(edited), "")
    assert both.parts == parts
    given = [view.session.subject] if edited else []
    if parts is not None:
        ends = [ids[parts : parts + 1] for ids in (plain, edited)]
        given += [view.text_model.decode(one) for one in ends if one]
        given += [view.text_model.decode(edited[parts:])]
    said = view._writing.sentence(both, 2, dict(temperature=0, seed=3))
    assert said == says.format(*given)
    drawn = view._writing.sentence(both, 2, dict(temperature=1, seed=3))
    assert edited or drawn == said.replace("always the most likely one", "drawn with seed 3")


@pytest.mark.parametrize("kind", ["decoder", "encoder", "encoder-decoder"])
def test_the_code_says_what_is_run(kind):
    texts = ["a b", 'say "no"\n\t\\ \x01\x7f\u2028é😀']
    for text, own, exact in itertools.product(texts, (True, False), (True, False)):
        if kind != "encoder-decoder" and not own:
            continue
        view = explorer(kind, text, *([] if own else ["c d"]))
        if exact:
            view.session.change(ids=view.ids[:-1] + [1])
        view.edits = [tl.ablate(0, 1)]
        names = {"tl": tl, "model": view.text_model}
        exec(view.code, names)
        before, after = names["before"], names["after"]
        side = "target" if kind == "encoder-decoder" else "tokens"
        assert getattr(before, side)[0].tolist() == view.ids
        assert before.tokens.equal(after.tokens)
        assert not before.logits.allclose(after.logits)


def test_the_beginning_of_a_sentence_travels_with_each_edit():
    view = explorer("encoder-decoder", "a b c", "d e")
    for edit in (
        tl.ablate(0, 1),
        tl.ablate(0, 1, value="mean"),
        tl.knock_out(0, query=1, key=2, kind="cross"),
        tl.scale(1, 0, by=0.5),
        tl.skip(0),
    ):
        view.edits = [edit]
        assert view._edits[0]["subject"] == view.session.subject
        assert view._outcome["sentence"].startswith(view._edits[0]["subject"])
