"""The Explorer's session, without its widget."""

import pytest

import transformer_lab as tl
from tests.views.explorer.test_view import FRENCH, TEXT, probabilities, text_model
from transformer_lab.views.explorer.session import Session, State


def test_a_change_is_computed_and_announced_and_an_older_state_undoes_it():
    model, seen = text_model(), []
    session = Session(model, TEXT)
    session.observers.append(lambda: seen.append(session.state))
    first, edit = session.state, tl.ablate(1, 2)
    assert first == State(TEXT) and session.after is None and session.position == 12
    session.change(edits=[edit])
    row = session.outcome.likeliest
    assert row.after == pytest.approx(float(probabilities(model, -1, edit)[row.id]), abs=1e-6)
    assert session.effect_sentence.startswith("With layer 1, head 2 switched off, “")
    edited = session.state
    session.change(text="it was tired .", position=1)
    session.restore(edited)
    assert (session.reading.text, session.place) == (TEXT, 12)
    assert [one.code() for one in session.edits] == [edit.code()]
    session.restore(first)
    assert session.after is None and session.outcome.likeliest.after is None
    assert [state.text for state in seen] == [TEXT, "it was tired .", TEXT, TEXT]
    assert seen[1:] == [State("it was tired .", edits=edited.edits, position=1), edited, first]


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (dict(text=""), "text is empty"),
        (dict(position=99), "position=99 is outside the 13 tokens"),
        (dict(edits=[tl.ablate(7)]), "layer=7 is outside"),
        (dict(ids=[-1]), "token=-1 is not a token"),
    ],
)
def test_what_cannot_be_computed_changes_and_announces_nothing(wanted, words):
    session, told = Session(text_model(), TEXT), []
    before = session.state, session.reading, session.outcome
    session.observers.append(lambda: told.append(1))
    with pytest.raises(ValueError, match=words):
        session.change(**wanted)
    assert (session.state, session.reading, session.outcome) == before and not told


def test_exact_tokens_stay_until_other_words_are_written():
    session = Session(text_model("encoder-decoder"), TEXT, FRENCH)
    session.append(session.reading.plain[-1])
    assert session.place == len(session.reading.plain) - 1
    session.change(target="la rue")
    assert session.target_text == "la rue" and session.state.ids is None
