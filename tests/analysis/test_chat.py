"""Conversations: turns partition the tokens; answers, fractions and cuts are the model's own."""

import re
import sys
import threading

import pytest
import torch

import transformer_lab as tl
from tests.factories import CHATML, small, talker
from tests.missing import package
from transformer_lab.analysis import chat as chats
from transformer_lab.analysis.chat import ChatError, checked_messages, conversation

package("transformers")
SAID = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Name a colour. Or two?"},
    {"role": "assistant", "content": "Red, blue."},
    {"role": "user", "content": "And a fruit"},
]
PLAIN = SAID[1:]
EACH = "{% for m in messages %}"
ASKS = "{% endfor %}{% if add_generation_prompt %}"
# Ten families' chat templates; unsupported parts are refused, left out or added, as in the
# originals.
TEMPLATES = {
    "chatml": CHATML,
    "own system": "{% if messages[0].role != 'system' %}<s>system\nYou help.</s>\n{% endif %}"
    + EACH
    + "<s>{{ m.role }}\n{{ m.content }}</s>\n"
    + ASKS
    + "<s>assistant\n{% endif %}",
    "instructions": "<s>" + EACH + "{% if m.role == 'assistant' %} {{ m.content }} </s>"
    "{% else %}[INST] {{ m.content }} [/INST]{% endif %}" + ASKS + "{% endif %}",
    "system in the user's turn": "<s>"
    + EACH
    + "{% if m.role == 'system' %}[INST] <<SYS>>{{ m.content }}<</SYS>> "
    "{% elif m.role == 'user' %}{% if loop.index0 != 1 %}[INST] {% endif %}{{ m.content }} [/INST]"
    "{% else %} {{ m.content }} </s>{% endif %}" + ASKS + "{% endif %}",
    "headers": "<s>"
    + EACH
    + "<h>{{ m.role }}<h>\n\n{{ m.content | trim }}</s>"
    + ASKS
    + "<h>assistant<h>\n\n{% endif %}",
    "another name": EACH
    + "<t>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<t>\n"
    + ASKS
    + "<t>model\n{% endif %}",
    "names with colons": EACH
    + "{{ m.role | upper }}: {{ m.content }} "
    + ASKS
    + "ASSISTANT:{% endif %}",
    "headings": EACH
    + "### {{ m.role }}\n{{ m.content }}\n\n"
    + ASKS
    + "### assistant\n{% endif %}",
    "no system": EACH
    + "{% if m.role != 'system' %}<t>{{ m.role }} {{ m.content }}{% endif %}"
    + ASKS
    + "<t>assistant {% endif %}",
    "only the last mark": EACH
    + "{{ m.content }}{% if not loop.last %}\n{% endif %}"
    + ASKS
    + "</s>{% endif %}",
}


@pytest.fixture(scope="module")
def model():
    return talker()


def parts(model, messages, template):
    model.tokenizer.inner.chat_template = template
    _, ids, segments = conversation(model, messages)
    rendered = model.tokenizer.inner.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=False
    )
    assert ids == rendered  # as its own library tokenizes it
    edges = [0, *(end for _, end in segments.values())]
    assert [start for start, _ in segments.values()] == edges[:-1]
    assert edges == sorted(edges)
    assert edges[-1] == len(ids)
    decode = model.tokenizer.inner.decode
    return {name: decode(ids[a:b]) for name, (a, b) in segments.items()}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("messages", [SAID, PLAIN, PLAIN[:1]], ids=["system", "turns", "one"])
def test_segments_partition_the_tokens(model, name, messages):
    found = parts(model, messages, TEMPLATES[name])
    *said, begins = found.values()
    shown = [m for m in messages if name != "no system" or m["role"] != "system"]
    added = name == "own system" and messages[0]["role"] != "system"
    assert len(said) == len(shown) + added
    for text, message in zip(said[added:], shown, strict=True):
        assert message["content"] in text
        assert sum(other["content"] in text for other in shown) == 1
    assert "You help." in said[0] or not added
    assert not any(message["content"] in begins for message in messages)


def test_segments_are_named_by_role_and_turn(model):
    found = parts(model, SAID, TEMPLATES["chatml"])
    assert [*found] == ["system", "user 1", "assistant 1", "user 2", "assistant 2"]
    assert found["user 1"] == "<s>user\nName a colour. Or two?</s>\n"
    assert found["assistant 2"] == "<s>assistant\n"


@pytest.fixture
def chat(model):
    model.tokenizer.inner.chat_template = TEMPLATES["chatml"]
    return model.chat(SAID, max_new_tokens=12)


def test_an_answer_is_what_the_model_writes(model, chat):
    prompt = chat.ids[: chat.start]
    assert chat.ids[chat.start :].tolist() == model.write(prompt, 12)
    assert chat.messages == [*SAID, {"role": "assistant", "content": chat.answer}]
    assert chat.segments["assistant 2"][1] == len(chat.ids) == chat.trace.tokens.shape[1]
    assert tl.heads.segments(chat.trace) == [*chat.segments.values()]
    assert str(chat).startswith("system: Be brief.\nuser: Name a colour.")


def test_a_conversation_goes_on(model, chat):
    more = chat.reply("Why?")
    assert more.messages[:-2] == chat.messages
    assert more.messages[-2] == {"role": "user", "content": "Why?"}
    assert len(more.ids) - more.start <= 12  # with the same options
    assert len(chat.reply("Why?", max_new_tokens=3).ids) <= more.start + 3


def test_shares_are_those_of_the_maps(chat):
    """Compare with sums over the whole pattern, token by token."""
    found = chat.reads(layer=1, head=2)
    pattern = chat.trace.pattern(1, 2)
    rows = [span for span in found.spans if span[0] >= chat.start]
    assert len(rows) == len(found.answer)
    assert rows[0][0] == chat.start
    for i, (a, b) in enumerate(rows):
        for j, (c, d) in enumerate(found.spans):
            if c > a:
                assert found.shares[i, j].isnan()
            else:
                share = pattern[a:b, c:d].sum() / (b - a)
                torch.testing.assert_close(found.shares[i, j], share, atol=2e-5, rtol=0)
    seen = found.shares.nansum(1)
    torch.testing.assert_close(seen, torch.ones(len(rows)), atol=1e-4, rtol=0)
    whole = torch.stack([chat.reads(layer, h).shares for layer in (0, 1) for h in range(4)])
    torch.testing.assert_close(chat.reads().shares, whole.mean(0), equal_nan=True)
    columns, cells = chat.reads().cells()
    assert len(columns) == 3
    assert len([*cells]) == int((~found.shares.isnan()).sum())


def test_sentences_are_those_of_the_turns(chat):
    before = chat.reads().before
    assert "Name a colour." in " | ".join(before)
    assert any(text.startswith("Or two?") for text in before)


def test_nothing_attends_to_what_was_cut(model, chat):
    a, b = chat.segments["user 1"]
    other = chat.without("user 1")
    assert other.trace.patterns()[..., a:b].abs().max() == 0
    assert chat.trace.patterns()[..., a:b].max() > 0.01
    with tl.edit(model, *(tl.knock_out(key=key) for key in range(a, b))):
        assert other.ids[other.start :].tolist() == model.write(chat.ids[: chat.start], 12)
    both = other.without((1, 4))
    assert both.cut == ("user 1", (1, 4))
    assert both.trace.patterns()[..., [1, 2, 3, *range(a, b)]].abs().max() == 0


def test_an_answer_may_be_empty(model, monkeypatch):
    model.tokenizer.inner.chat_template = TEMPLATES["chatml"]
    with monkeypatch.context() as silence:
        silence.setattr(tl.TextModel, "write", lambda *args, **options: [])
        silent = model.chat("Hi")
    assert (silent.answer, silent.start) == ("", len(silent.ids))
    assert silent.reads().answer == []
    assert [*silent.reads().cells()[1]] == []
    more = silent.reply("Why?", max_new_tokens=3)
    assert more.messages[1] == {"role": "assistant", "content": ""}
    assert "assistant 1" in more.segments


@pytest.mark.parametrize("name", TEMPLATES)
def test_messages_are_traced_and_explored_as_the_template_writes_them(model, name):
    model.tokenizer.inner.chat_template = TEMPLATES[name]
    for messages in (SAID, SAID[:3]):
        asks = messages is SAID
        wanted = model.tokenizer.inner.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=asks, return_dict=False
        )
        trace = model.trace(messages)
        assert trace.tokens[0].tolist() == wanted
        assert asks == (len(trace.segments) > len(messages) - (name == "no system"))
        assert [*trace.segments.values()][-1][1] == len(wanted)
        if name in ("chatml", "instructions"):  # an Explorer costs more
            view = tl.explore(model, messages)
            assert (view.ids, view.segments) == (wanted, trace.segments)
            torch.testing.assert_close(view.trace.patterns(), trace.patterns())


def test_an_explored_conversation_keeps_its_turns_while_one_of_them_changes(model, chat):
    view = tl.explore(chat)
    assert (view.ids, view.segments) == (chat.ids.tolist(), chat.segments)
    assert (view._about["folded"], view.position) == (["system"], len(chat.ids) - 1)
    view.text = SAID
    first = view.segments
    a, b = first["user 1"]
    for text, more in (("Name a fine colour", 5), ("Name a colour", 0)):
        view.text = re.sub("Name a.* colour", text, view.text)
        moved = {name: (i + more * (i > a), j + more * (j >= b)) for name, (i, j) in first.items()}
        assert view.segments == moved
        assert view.kinds["decoder"]["segment_names"] == [*moved]
        assert view.kinds["decoder"]["segments"] == [list(span) for span in moved.values()]
    view.write(7)
    last, before = view.segments["assistant 2"], first["assistant 2"]
    assert last == (before[0], before[1] + 7)
    assert view.trace.segments == view.segments
    view.edits = [tl.ablate(0, 1)]
    assert view.session.after.trace.segments == view.segments
    view.text = "Something else"
    assert view.segments == {}
    assert view.session.note == "The names of its parts were removed with the old text."
    view.segments = {"all of it": (0, 9), "the rest": (9, 14)}
    view.append(view.ids[0])
    assert view.segments == {"all of it": (0, 9), "the rest": (9, 15)}


def test_an_answer_under_cuts_is_explored_under_them(model, chat):
    cut = chat.without((1, 4))
    view = tl.explore(model, cut)
    after = view.session.after.trace
    torch.testing.assert_close(after.patterns(), cut.trace.patterns())
    assert [edit.key for edit in view.edits] == [1, 2, 3]
    with pytest.raises(ValueError, match=r"a part cut; its trace is chat\.trace"):
        model.trace(cut)


def test_views_name_the_turns(chat):
    kinds = tl.views.HeadView(chat.trace)._kinds
    assert kinds["decoder"]["segment_names"] == [*chat.segments]
    assert kinds["decoder"]["segments"] == [list(span) for span in chat.segments.values()]


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "messages must be a list of"),
        (3, "messages must be a list of"),
        ([{"role": "user"}], 'message 0 must have a "role" and a "content"'),
        (["Hi", {"role": "assistant", "content": "  "}], "message 1 must have"),
        (["Hi", 7], "message 1 must have"),
        ([*SAID[:3]], "the last message is the assistant's"),
    ],
)
def test_messages_that_are_none(messages, said):
    with pytest.raises(ChatError, match=said):
        checked_messages(messages)


@pytest.mark.badinput
def test_what_cannot_be_explored_is_refused_as_by_chat(model, chat):
    encoder = tl.TextModel(small("encoder", vocab_size=300), model.tokenizer.inner, "ours")
    for read in (tl.explore, tl.TextModel.trace):
        with pytest.raises(ChatError, match="shipped has no chat template, so it does not say"):
            read(tl.shipped("manual"), SAID)
        with pytest.raises(ChatError, match="message 0 must have a"):
            read(model, [{"role": "user"}])
        with pytest.raises(ChatError, match="needs a decoder, and ours is an encoder"):
            read(encoder, SAID)
        with pytest.raises(
            ChatError, match=r"has \d+ tokens and a tiny Llama reads 400; leave out"
        ):
            read(model, ["word " * 90])
        with pytest.raises(ChatError, match="with a tiny Llama, and another may split it"):
            read(tl.TextModel(model.model, model.tokenizer.inner, "another"), chat)
    view = tl.explore(model, SAID)
    state = view.session.state
    for parts in ({"a": (0, 500)}, {"a": (0, 5), "b": (4, 9)}, {"a": 3}, {1: (0, 3)}, 3):
        with pytest.raises(ValueError, match="segments must be name: "):
            view.segments = parts
    model.tokenizer.inner.chat_template = "{{ raise_exception('Roles must alternate') }}"
    with pytest.raises(ChatError, match="refuses these messages: Roles must alternate"):
        view.text = SAID
    assert view.session.state is state


@pytest.mark.badinput
def test_what_cannot_be_answered_says_why(model, chat):
    with pytest.raises(ChatError, match="no chat template, so it does not say"):
        tl.shipped("manual").chat("Hi")
    with pytest.raises(
        ChatError, match="there is no segment 'robot'; the segments are system, user 1"
    ):
        chat.without("robot")
    with pytest.raises(ChatError, match="is not within the"):
        chat.without((0, len(chat.ids)))
    with pytest.raises(ChatError, match=r"a part must be the name of a segment, or \(start, end\)"):
        chat.without(5)
    with pytest.raises(
        ChatError, match=r"the conversation has \d+ tokens and a tiny Llama reads 400"
    ):
        model.chat("word " * 90)
    model.tokenizer.inner.chat_template = "{{ raise_exception('Roles must alternate') }}"
    with pytest.raises(ChatError, match="refuses these messages: Roles must alternate"):
        model.chat("Hi")


LOOP = "{% for a in range(99999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("template", "said"),
    [
        (LOOP, "has not ended after 0.3 s; leave out earlier messages, or give it plain text"),
        (LOOP.replace("{% endfor %}", "x{% endfor %}", 1), "has not ended after 0.3 s"),
        ("{{ lipsum(n=100000) }}", "has not ended after 0.3 s"),
        (
            "{% set x = namespace(v='a' * 99999) %}{% for i in range(110) %}{{ x.v }}{% endfor %}",
            "writes 10,999,890 characters, and at most 10,000,000 are read",
        ),
        ("{{ 'a' * 10**10 }}", "refuses these messages: it computes with powers, or numbers above"),
        ("{{ 'a' * 10000000000 }}", "refuses these messages: it computes with powers, or numbers"),
        ("{{ raise_exception('') }}", "refuses these messages: TemplateError"),
        ("{% if", "refuses these messages: "),
        ("{% if messages[1] %}x{% endif %}", "writes nothing for these messages"),
    ],
)
@pytest.mark.parametrize("aside", [False, True])
def test_a_template_without_an_end_or_words_is_refused(model, monkeypatch, template, said, aside):
    monkeypatch.setattr(chats, "SECONDS", 0.3)
    monkeypatch.setattr(model.tokenizer.inner, "chat_template", template)
    errors, before = [], sys.gettrace()

    def ask():
        for read in (model.chat, lambda text: model.trace([text])):
            try:
                read("Hi")
            except ChatError as error:
                errors.append(str(error))
        assert sys.gettrace() is (None if aside else before)

    if aside:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    else:
        ask()
    assert len(errors) == 2 and all(said in error for error in errors)


def turns(n):
    return [{"role": ("user", "assistant")[i % 2], "content": f"hi {i}"} for i in range(n)]


@pytest.mark.badinput
def test_a_conversation_of_ten_thousand_turns_is_refused_after_one_rendering(model, monkeypatch):
    inner, calls = model.tokenizer.inner, []
    monkeypatch.setattr(inner, "chat_template", TEMPLATES["chatml"])
    once = inner.apply_chat_template
    count = lambda *args, **more: calls.append(1) or once(*args, **more)  # noqa: E731
    monkeypatch.setattr(inner, "apply_chat_template", count)
    for read in (model.chat, model.trace):
        with pytest.raises(ChatError, match=r"has \d{6} tokens and a tiny Llama reads 400"):
            read(turns(10_001))
    assert len(calls) == 2


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_ends_of_many_turns_are_those_of_each_by_itself(model, monkeypatch, name, fast):
    inner = model.tokenizer.inner
    monkeypatch.setattr(inner, "chat_template", TEMPLATES[name])
    monkeypatch.setattr(type(model), "n_ctx", None)
    if not fast:
        monkeypatch.setattr(type(inner), "is_fast", False)
    found = {}
    for n in (1000, 3):
        monkeypatch.setattr(chats, "RENDERED", n)
        found[n] = chats.conversation(model, turns(21))
    assert found[3] == found[1000] and len(found[3][2]) >= 21
