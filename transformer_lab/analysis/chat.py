"""Conversations with chat models: the tokens of each turn, the model's answer, what it attends to
in earlier sentences, and what it answers without them.
"""

from __future__ import annotations

import operator
import sys
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..arguments import said_by, shown
from ..edits.constructors import knock_out
from ..edits.interventions import edit
from ..edits.kinds import Edit
from ..files.tables import Table
from ..heads.sentences import sentences

if TYPE_CHECKING:
    from ..tracing.trace import Trace

Span = tuple[int, int]
SECONDS = 10  # of this thread that a template may take for one conversation
LONGEST = 10_000_000  # characters that it may write
RENDERED = 100  # turns whose ends are where the template's text of them alone ends
_PROBE = [
    {"role": role, "content": f"({i})"} for i, role in enumerate(("user", "assistant", "user"))
]


class ChatError(ValueError):
    """A conversation that a model cannot read, or a part that a conversation does not have."""


@dataclass(frozen=True)
class Passage:
    """A text as exactly these tokens, with named parts.

    Attributes:
        text: its words; the model might split them into other tokens.
        ids: its tokens.
        segments: name -> (start, end) of its parts.
        edits: the edits under which it was read.
    """

    text: str
    ids: list[int]
    segments: dict[str, Span]
    edits: tuple[Edit, ...] = ()


def passage(model: Any, text: Any) -> Passage | None:
    """Return the tokens of messages, as the model's chat template writes them, or of a `Chat`; None
    for anything else. Messages that end with the assistant's are not continued.

    Raises:
        ChatError: as `TextModel.chat`; for a `Chat` of another model.
    """
    if isinstance(text, Chat):
        if text.model is not model:
            raise ChatError(
                f"this conversation was with {text.model.name}, and {model.name} may split it into other "
                "tokens; give its messages instead: chat.messages"
            )
        return Passage(
            text.text, text.ids.tolist(), text.segments, tuple(_knock_outs(text, text.cut))
        )
    if isinstance(text, str) or not isinstance(text, Sequence):
        return None
    messages = checked_messages(text, answered=True)
    return Passage(*conversation(model, messages))


@dataclass(frozen=True)
class Reads(Table):
    """How much the sentences of an answer attend to the sentences before them.

    Attributes:
        answer, before: the sentences, as text; `before` ends with those of the answer itself.
        spans: the tokens of each sentence of `before`.
        shares: [sentence of the answer, sentence before]: the mean, over the tokens of the first,
            of the total weight on the tokens of the second; NaN where the second comes later.
        where: the heads, in words.
    """

    answer: list[str]
    before: list[str]
    spans: list[Span]
    shares: Tensor
    where: str

    def cells(self):
        columns = ("sentence of the answer", "attends to", "fraction of its weight")
        rows = (
            (said, read, share)
            for said, row in zip(self.answer, self.shares.tolist(), strict=True)
            for read, share in zip(self.before, row, strict=True)
            if share == share
        )
        return columns, rows


@dataclass
class Chat:
    """A conversation and the model's last answer; `TextModel.chat` makes it.

    Attributes:
        model: the `TextModel` that answered.
        messages: every turn, with "role" and "content", including the answer.
        ids: int64 [position], all tokens.
        segments: name ("system", "user 1", …) -> (start, end) of its tokens; they cover every
            token.
        answer: what the model wrote.
        start: the position of the answer's first token.
        cut: names or spans that no token could attend to while it wrote.
    """

    model: Any = field(repr=False)
    messages: list[dict[str, str]]
    ids: Tensor = field(repr=False)
    segments: dict[str, Span]
    answer: str
    start: int
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    cut: tuple[Any, ...] = ()

    @cached_property
    def trace(self) -> Trace:
        """A trace of the whole conversation, under the same cuts; views name its segments."""
        with _cutting(self.model, self, self.cut):
            found = self.model.trace_ids(self.ids)
        found.segments = self.segments
        return found

    def reply(self, message: str, **options: Any) -> Chat:
        """Add a message and let the model answer, with nothing cut; the options are those of
        `TextModel.chat`.
        """
        said = [*self.messages, *checked_messages([message])]  # the last answer may be empty
        return _answered(self.model, said, {**self.options, **options})

    def without(self, *parts: str | Span) -> Chat:
        """Let the model answer again, with no token able to attend to these parts of the
        conversation.

        Args:
            parts: names of segments ("system"), or spans (start, end) of tokens before the answer,
                such as those in `reads().spans`. Many heads rest on the very first token, so
                cutting a part that holds it removes more than its words; give (1, end) to keep it.

        Raises:
            ChatError: for a part that does not exist, or that belongs to the answer itself.
        """
        return _answered(self.model, self.messages[:-1], self.options, (*self.cut, *parts), of=self)

    def span(self, part: str | Span) -> Span:
        """Return (start, end) of a part before the answer.

        Raises:
            ChatError: if it does not exist.
        """
        if isinstance(part, str):
            if part not in self.segments:
                names = ", ".join(self.segments)
                raise ChatError(f"there is no segment {part!r}; the segments are {names}")
            part = self.segments[part]
        try:
            start, end = (operator.index(at) for at in part)
        except (TypeError, ValueError):
            raise ChatError(
                f"a part must be the name of a segment, or (start, end) in tokens, got {part!r}"
            ) from None
        if not 0 <= start < end <= self.start:
            raise ChatError(
                f"the part {start, end} is not within the {self.start} tokens before the answer; give "
                "(start, end), as in a slice"
            )
        return start, end

    def reads(self, layer: int | None = None, head: int | None = None) -> Reads:
        """How much each sentence of the answer attends to each sentence before it, and to itself.

        Args:
            layer, head: counted from 0; None: the mean over all layers that have heads, or all heads.

        Raises:
            TraceError: for a layer or head that does not exist.
        """
        trace = self.trace
        kind, labels = trace.kind(), trace.query_tokens()
        spans = [
            (start + a, start + b)
            for start, end in _parted(self.segments.values(), self.start)
            for a, b in sentences(labels[start:end])
        ]
        written = [span for span in spans if span[0] >= self.start]
        layers = trace.attending(kind) if layer is None else [layer]
        found = [] if written else [torch.zeros(0, len(spans))]
        for number in layers if written else ():
            heads = range(trace.heads_of(number, kind)) if head is None else [head]
            found += [trace.pyramid(number, h, kind=kind).sums(written, spans) for h in heads]
        lengths = torch.tensor([end - start for start, end in written]).reshape(-1, 1)
        shares = torch.stack(found).mean(0).cpu() / lengths
        later = torch.tensor([[b[0] > a[0] for b in spans] for a in written], dtype=torch.bool)
        later = later.reshape(shares.shape)  # for an empty answer it has one axis
        inner = self.model.tokenizer.inner  # keeps the markers of turns
        words = [inner.decode(self.ids[slice(*span)].tolist()).strip() for span in spans]
        which = "all heads" if head is None else f"head {head}"
        where = f"{which} of {'all layers' if layer is None else f'layer {layer}'}"
        return Reads(
            words[len(spans) - len(written) :],
            words,
            spans,
            shares.masked_fill(later, torch.nan),
            where,
        )

    @property
    def text(self) -> str:
        """The whole conversation as text, with the template's markers."""
        return self.model.tokenizer.inner.decode(self.ids.tolist())

    def __str__(self) -> str:
        return "\n".join(f"{one['role']}: {one['content']}" for one in self.messages)


def chat(model: Any, messages: Any, options: Mapping[str, Any]) -> Chat:
    """See `TextModel.chat`."""
    return _answered(model, checked_messages(messages), dict(options))


def _answered(
    model: Any,
    messages: list[dict[str, str]],
    options: dict[str, Any],
    cut: tuple[Any, ...] = (),
    of: Chat | None = None,
) -> Chat:
    _, ids, segments = conversation(model, messages, room=1)
    room = None if model.n_ctx is None else model.n_ctx - len(ids)
    given = torch.tensor(ids)
    rest = dict(options)
    most = rest.pop("max_new_tokens")
    if type(most) is not int or most < 1:
        raise ChatError(f"max_new_tokens must be a whole number of at least 1, got {shown(most)}")
    with _cutting(model, of, cut):
        written = model.write(given, most if room is None else min(most, room), **rest)
    name, (start, _) = segments.popitem()
    answer = model.decode(written).strip()
    return Chat(
        model,
        [*messages, {"role": "assistant", "content": answer}],
        torch.cat((given, given.new_tensor(written))),
        {**segments, name: (start, len(ids) + len(written))},
        answer,
        len(ids),
        options,
        cut,
    )


def _cutting(model: Any, of: Chat | None, parts: Sequence[Any]) -> Any:
    if of is None or not parts:
        return nullcontext()
    return edit(model, *_knock_outs(of, parts))


def _knock_outs(of: Chat, parts: Sequence[Any]) -> list[Edit]:
    keys = sorted({key for part in parts for key in range(*of.span(part))})
    return [knock_out(key=key) for key in keys]


def checked_messages(messages: Any, *, answered: bool = False) -> list[dict[str, str]]:
    """Check messages and return them as a chat template takes them, each with a role and a content.

    Args:
        answered: whether the last may be the assistant's.

    Raises:
        ChatError: for anything else, and for a conversation that ends with the assistant.
    """
    if isinstance(messages, str):
        messages = [messages]
    if not isinstance(messages, Sequence) or not messages:
        raise ChatError(
            'messages must be a list of {"role": …, "content": …}, or one text of the user, got '
            f"{messages!r}"
        )
    found = []
    for i, one in enumerate(messages):
        one = {"role": "user", "content": one} if isinstance(one, str) else one
        given = (one.get("role"), one.get("content")) if isinstance(one, Mapping) else (None, None)
        if not all(isinstance(x, str) and x.strip() for x in given):
            raise ChatError(
                f'message {i} must have a "role" and a "content", both texts that are not empty, got {one!r}'
            )
        found.append({"role": given[0], "content": given[1]})
    if found[-1]["role"] == "assistant" and not answered:
        raise ChatError("the last message is the assistant's; end with one that asks for an answer")
    return found


def conversation(
    model: Any, messages: list[dict[str, str]], room: int = 0
) -> tuple[str, list[int], dict[str, Span]]:
    """Return a conversation as its template writes it, its tokens up to where the answer begins,
    and its segments.

    The segments are name -> (start, end) of each turn, in order; the last is the beginning of the
    answer, unless the assistant has spoken last. A token that belongs to two turns is in the later
    one.

    Args:
        room: the number of tokens for which the model must have room after them.

    Raises:
        ChatError: for a model that is not a decoder or has no chat template, messages that the
            template rejects, a template that writes nothing or without end, and more tokens than
            the model reads.
    """
    inner: Any = getattr(model.tokenizer, "inner", None)
    name = model.name
    if model.kind != "decoder":
        raise ChatError(
            f"a conversation needs a decoder, and {name} is an {model.kind}; give it plain text"
        )
    if not getattr(inner, "chat_template", None):
        raise ChatError(
            f"{name} has no chat template, so it does not say how a conversation is written; give it plain "
            "text"
        )
    asks = messages[-1]["role"] != "assistant"
    template = _Template(inner, name)
    text = template(messages, asks=asks)
    tokens = _Tokens(inner, text)
    ids, special = tokens.ids, set(inner.all_special_ids)
    if not ids:
        raise ChatError(
            f"the chat template of {name} writes nothing for these messages; give it plain text"
        )
    if model.n_ctx is not None and len(ids) + room > model.n_ctx:
        why = ", so there is no room for an answer" if room else ""
        raise ChatError(
            f"the conversation has {len(ids)} tokens and {name} reads {model.n_ctx}{why}; leave out "
            "earlier messages"
        )
    cuts = [tokens.until(end) for end in _ends(template, messages, text)]
    cuts = [*cuts[: len(cuts) if asks else -1], len(ids)]
    roles = [message["role"] for message in messages] + ["assistant"] * asks
    own = tokens.until(_before_first(template, messages, text))
    if any(i not in special for i in ids[:own]):  # the template begins with a prompt of its own
        cuts, roles = [own, *cuts], ["system", *roles]
    several, met = Counter(roles), Counter()
    segments: dict[str, Span] = {}
    start = 0
    for role, end in zip(roles, cuts, strict=True):
        met[role] += 1
        if end > start or role == "assistant":  # a template may omit a message
            segments[f"{role} {met[role]}" if several[role] > 1 else role] = (
                start,
                max(start, end),
            )
            start = max(start, end)
    return text, ids, segments


class _TooLong(ChatError):
    """A template that takes too long, or writes too much."""


class _Template:
    """The chat template of a model, with the time that is left to it. (A template is a stranger's
    program. It runs in this thread, where its steps can be counted on every system.)"""

    def __init__(self, inner: Any, name: str):
        self._inner, self._name = inner, name
        self._end, self._steps = time.thread_time() + SECONDS, 0

    def __call__(self, messages: Sequence[Any], *, asks: bool) -> str:
        before = sys.gettrace()
        try:
            if _is_huge(self._inner.get_chat_template()):
                raise ValueError(f"it computes with powers, or numbers above {LONGEST:,}")
            sys.settrace(self._step)
            text = self._inner.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=asks
            )
        except _TooLong:
            raise
        except Exception as error:  # a template is a program: it may fail in any way
            raise ChatError(
                f"the chat template of {self._name} refuses these messages: {said_by(error)}"
            ) from error
        finally:
            sys.settrace(before)
        if len(text) > LONGEST:
            raise _TooLong(
                f"the chat template of {self._name} writes {len(text):,} characters, and at most "
                f"{LONGEST:,} are read; give it plain text"
            )
        return text

    def _step(self, frame: Any, event: str, given: Any) -> Any:
        self._steps += 1
        if not self._steps % 256 and time.thread_time() > self._end:
            raise _TooLong(
                f"the chat template of {self._name} has not ended after {SECONDS} s; leave out earlier "
                "messages, or give it plain text"
            )
        return self._step


@lru_cache(maxsize=64)
def _is_huge(template: str) -> bool:
    """Whether one step of a template may fill the memory, which no count of steps would stop."""
    from jinja2 import Environment

    return any(
        value == "**" or (kind == "integer" and int(value.replace("_", ""), 0) > LONGEST)
        for _, kind, value in Environment().lex(template)
    )


class _Tokens:
    """The tokens of a text, and how many of them belong to its beginning."""

    def __init__(self, inner: Any, text: str):
        self._inner, self._text = inner, text
        fast = getattr(inner, "is_fast", False)
        given = inner(text, add_special_tokens=False, return_offsets_mapping=fast)
        self.ids: list[int] = given["input_ids"]
        special = set(inner.all_special_ids)  # may take the blanks behind them
        spans = zip(self.ids, given.get("offset_mapping", ()), strict=False)
        self._ends = [a + 1 if i in special else b for i, (a, b) in spans]

    def until(self, end: int) -> int:
        """How many tokens end before this character."""
        if self._ends:
            return bisect_right(self._ends, end)
        part = self._inner(self._text[:end], add_special_tokens=False)["input_ids"]
        pairs = zip(part, self.ids, strict=False)
        return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(part), len(self.ids)))


def _ends(template: _Template, messages: Sequence[Any], text: str) -> list[int]:
    """Where each message ends in the text: where the template's text up to it alone ends, if the
    text begins with that, else where its words end. After many messages it is where the words end
    and what has always followed those of that role, since each text is longer than the one before."""
    ends, marks = [0], defaultdict[str, set[str]](set)
    for i, message in enumerate(messages, 1):
        role, content = message["role"], message["content"].strip()
        at = text.find(content, ends[-1])
        at = ends[-1] if at < 0 else at + len(content)
        if i > RENDERED and at > ends[-1] and len(marks[role]) == 1:
            (mark,) = marks[role]
            if text.startswith(mark, at):
                ends.append(at + len(mark))
                continue
        try:
            alone = template(messages[:i], asks=False)
        except _TooLong:
            raise
        except ChatError:  # the template may reject the first part of a conversation
            alone = ""
        if len(alone) > ends[-1] and text.startswith(alone):
            marks[role].add(alone[at:])
            at = len(alone)
        ends.append(at)
    return ends[1:]


def _before_first(template: _Template, messages: Sequence[Any], text: str) -> int:
    """Return where the user's first message begins, including its turn marker, if it is the first
    of all; else 0. The marker is the text before a later message of the user.
    """
    first = messages[0]
    try:
        if first["role"] != "user":
            return 0
        whole = template(_PROBE, asks=False)
        before = template(_PROBE[:2], asks=False)
    except ChatError:
        return 0
    at, last = text.find(first["content"].strip()), _PROBE[-1]["content"]
    if not whole.startswith(before) or at < 0:
        return 0
    mark = whole[len(before) : whole.find(last, len(before))]
    return at - len(mark) if mark and text[:at].endswith(mark) else 0


def _parted(spans: Any, at: int) -> list[Span]:
    """Split the span that holds the position `at`: before it and from it."""
    return [
        part
        for start, end in spans
        for part in ((start, min(end, at)), (max(start, at), end))
        if part[1] > part[0]
    ]
