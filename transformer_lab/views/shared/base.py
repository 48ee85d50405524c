"""The base class of views: a widget, a page, an image and a sentence."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anywidget
import traitlets as t

from ...arguments import unknown
from ...files.paths import as_path
from ...files.random_weights import caution
from ...text_model import SHIPPED
from ..pages import export
from . import exports
from .codecs import shown_text
from .colours import colour_variables
from .embedded_model import Answer, EmbeddedModel, joined
from .figures import png_of
from .javascript import NoJavaScript, call
from .messages import messages
from .modules import VIEWS, join_modules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..marks.scene import Scene
    from ..pages.carried import Carried
    from .plots import Plot

# Internal traits of ipywidgets, which a page does not need.
_NOT_FOR_PAGES = {"layout", "tabbable", "tooltip", "comm", "keys"}
_NOT_CHOSEN = {"link"}  # which views follow each other
RESTORING = VIEWS / "shared" / "restoring.js"
_ROUTE = "_reply_subshell_for"  # a method of ipykernel's comms; there is no public API


def esm(name: str) -> str:
    """The joined source of a view's ES module, named relative to views/: "heads/view.js"."""
    return join_modules(VIEWS / name)


def css(*folders: str) -> str:
    """The shared style sheet and those of a view's folder, each nested in the class for which it
    holds: a view's own rules apply to that view alone and override the shared ones, whatever other
    views a page shows. Further folders: of views nested in it."""
    own = [(f".tl-view-{of}", one) for of in folders for one in sorted((VIEWS / of).glob("*.css"))]
    sheets = [("", VIEWS / "shared" / "view.css"), *own]
    return colour_variables() + "".join(
        f".tl-view{of} {{\n{path.read_text('utf-8')}}}\n" for of, path in sheets
    )


def answered_beside_cells(comm: Any) -> None:
    """Route a page's messages over this comm to the subshell that the page addressed, which answers
    while a cell runs.

    ipykernel ≥ 7.4 routes them to the last sender on the comm instead. If that was a cell, a click
    during the next cell would wait for its end.
    """
    if hasattr(comm, _ROUTE):
        setattr(comm, _ROUTE, _as_sent)


def _as_sent(_said: Any, subshell: str | None) -> str | None:
    return subshell


class View(anywidget.AnyWidget):
    """A view of one object. Subclasses set `_esm` and `_css`, and define `figure` and `sentence`.

    A synchronised trait is a reader's choice, and can be set from both sides. Results of Python are
    read-only in the page: `_publish` sends related ones in one message with their bytes. The names
    of results begin with an underscore.
    """

    absent: ClassVar[str] = "this page does not hold it"
    _own_layout = False  # whether the layout was made for this view
    left_out: str = ""
    """What the last page of this view leaves out, with the reason and the way out; "" for nothing."""

    carried: Carried | None = None
    """The model that the last page of this view took along."""
    stays: str = ""
    """Why the last page did not, in a sentence."""

    first_results: ClassVar[dict[str, Any]] = {
        "_kinds": {},
        "_note": "",
        "_batch": 0,
        "_live": True,
    }
    _embedded: EmbeddedModel | None = None  # of a view whose page can embed its model

    def __init__(self, title: str = "", of: Sequence[Any] = (), **values: Any):
        """`of`: the traces or models on view; their caution comes first in the title. values:
        traits, and initial results."""
        traits = {name: values.pop(name) for name in list(values) if self.has_trait(name)}
        self._results: dict[str, Any] = {**self.first_results, **values}
        super().__init__(**traits)
        self._own_layout = "layout" not in traits
        answered_beside_cells(self.comm)
        self._call(title, of)
        self.on_msg(self._on_question)

    def _call(self, title: str, of: Sequence[Any]) -> None:
        """Set the first line of the view, of its page and of its image."""
        self._subjects_given = tuple(of)
        if title.split(" · ")[0] == SHIPPED:
            title = title.replace(SHIPPED, messages("shared").templates["shipped"], 1)
        self._caution = caution(*of)
        self._title = shown_text(" · ".join(filter(None, (self._caution, title))))
        self._publish(
            _title=self._title,
            _how=self._computed(),
            _chosen=self._may_choose(),
            _defaults=self._defaults(),
        )

    @property
    def _alt(self) -> str:
        """The sentence, after the caution if there is one."""
        return ". ".join(filter(None, (self._caution, self.sentence)))

    def _publish(self, **results: Any) -> None:
        """Send those of these results, JSON and bytes, that have changed, in one message; within
        `hold_sync`, together with all other changes."""
        known = self._results
        changed = [name for name, value in results.items() if known.get(name, t.Undefined) != value]
        known |= results
        if self._holding_sync:
            self._states_to_send.update(changed)
        elif changed:
            self.send_state(changed)

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Traits and results, all or those named; see `ipywidgets.Widget.get_state`."""
        names = (
            [*self.keys, *self._results] if key is None else [key] if isinstance(key, str) else key
        )
        results = {name: self._results[name] for name in names if name in self._results}
        traits = [name for name in names if name not in results]
        return super().get_state(traits, drop_defaults) | results

    if not TYPE_CHECKING:  # ipywidgets' embedding reads every name of a state

        def __getattr__(self, name: str) -> Any:
            try:
                return vars(self)["_results"][name]
            except KeyError:
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}") from None

    def close(self) -> None:
        """Remove the view, and the layout created for it: ipywidgets keeps both until then."""
        layout = self.layout if self._own_layout and self.comm is not None else None
        super().close()
        if layout is not None:
            layout.close()

    # -- for people ----------------------------------------------------------------------------

    @property
    def sentence(self) -> str:
        """A description of what the view shows, in words and numbers; also the alt text of its
        image."""
        raise NotImplementedError

    def figure(self) -> Figure:
        """The view as a still matplotlib Figure, for print and where JavaScript does not run."""
        from ..marks.draw_matplotlib import figure_of

        return figure_of(self._scene())

    def to_plotly(self, *, theme: str = "light") -> Plot:
        """The same numbers as a plotly figure, to restyle, facet or combine with others.

        Args:
            theme: "light" or "dark", for the templates `transformer_lab` and
                `transformer_lab_dark`, which this call registers with plotly.

        Raises:
            ValueError: for any other theme.
        """
        from ..marks.draw_plotly import plotly_of

        return plotly_of(self._scene(), theme)

    def _scene(self) -> Scene:
        """The content of the view, as panels of marks, and as numbers for files."""
        raise NotImplementedError

    def png(self) -> bytes:
        """The figure as PNG."""
        return png_of(self.figure())

    def to_dict(self) -> dict[str, Any]:
        """The content of the view as plain JSON values: `arrays` by name, each with its `axes`, its
        `values` (None for NaN and infinities) and what it `means`; `axes`: the labels of each;
        `chosen`: the reader's choices; `computed`: the models, their revisions if known, the
        tokens, the edits, and the versions of packages."""
        return exports.to_dict(self._about_file(), self._numbers())

    def save(self, path: str | os.PathLike) -> Path:
        """Write the content of the view to a file, whole or not at all; the suffix selects the
        format.

        .csv: a long table (of a pattern: query, key, weight). .json: `to_dict`. .npz: the arrays by
        name, and the rest as JSON in `about`. A cell of a CSV file that a spreadsheet would run as
        a formula begins with an apostrophe. .svg, .png: the figure. .html: the page of `save_html`.
        Each file records the reader's choices and how the numbers were computed.

        Raises:
            ValueError: for another suffix, and for a path that cannot hold a file.
        """
        suffix = exports.suffix_of(path := as_path(path))
        return exports.write(path, lambda: self._file(suffix))

    def _numbers(self) -> exports.Numbers:
        """The content of the view, as named arrays."""
        return self._scene().numbers

    def _file(self, suffix: str) -> Iterable[bytes]:
        """The content of a file in one of the formats of `save`, in pieces."""
        if suffix == ".html":
            return (piece.encode("utf-8") for piece in self._page())
        if suffix in (".svg", ".png"):
            return [exports.of_picture(suffix, self._about_file(), self.figure())]
        return exports.of_numbers(suffix, self._about_file(), self._numbers())

    def _may_choose(self) -> list[str]:
        """The names of the traits that a reader can choose."""
        without = _NOT_FOR_PAGES | _NOT_CHOSEN
        return [name for name in self.traits(sync=True) if name[0] != "_" and name not in without]

    @property
    def as_python(self) -> str:
        """One line of Python that brings the view, called `view` in it, to its present state; see
        `restore`. Edits that cannot be written as Python are in its comment."""
        edits = getattr(self, "_edits", [])
        words = {name: getattr(self, name) for name in self._may_set() if name != "edits"}
        chosen = {name: getattr(self, name) for name in self._may_choose()}
        if self.has_trait("_options"):
            chosen["options"] = self.trait_values()["_options"]
        return call(RESTORING, "restoringLine", words | chosen, self._defaults(), edits)

    def restore(self, **choices: Any) -> View:
        """Bring the view to a state: to these choices, as its traits and properties are named, and
        `options`, what a reader has set besides. A choice that is not named returns to its default;
        the text and the kind of attention stay.

        Returns:
            The view.

        Raises:
            TypeError: for a name that is not a choice of this view.
            TraitError, ValueError: for a value that a choice cannot have.
        """
        words, defaults = self._may_set(), self._defaults()
        for name in choices:
            if name not in (known := sorted({*words, *defaults})):
                raise TypeError(
                    f"{type(self).__name__}.restore has no choice {unknown(name, known)}"
                )
        with self.hold_sync():
            for name in words:
                if name in choices or name != "text":
                    setattr(self, name, choices.get(name, defaults[name]))
            with self.hold_trait_notifications():
                for name in [name for name in defaults if name not in words]:
                    if name == "kind" and name not in choices:
                        continue
                    trait = "_options" if name == "options" else name
                    value = choices.get(name, defaults[name])
                    pair = isinstance(value, list) and isinstance(self.traits()[trait], t.Tuple)
                    self.set_trait(trait, tuple(value) if pair else value)
        return self

    def _may_set(self) -> list[str]:
        """The names of the properties that a reader can change, in the order in which to set them."""
        names = ("text", "target", "masked", "edits", "position")
        given = {name: getattr(type(self), name, None) for name in names}
        return [name for name, one in given.items() if isinstance(one, property) and one.fset]

    def _defaults(self) -> dict[str, Any]:
        """What `restore` takes for a choice that is not named."""
        empty = {"masked": [], "edits": []}
        words = {name: empty.get(name) for name in self._may_set()}
        traits = {name: self.traits()[name].default(self) for name in self._may_choose()}
        return words | traits | ({"options": {}} if self.has_trait("_options") else {})

    def _about_file(self) -> dict[str, Any]:
        """The metadata of every file: view, title, sentence, choices and provenance."""
        chosen = {name: getattr(self, name) for name in self._may_choose()}
        if self.has_trait("_options"):
            chosen |= self.trait_values()["_options"]
        return {
            "view": type(self).__name__,
            "title": self._title,
            "sentence": self.sentence,
            "chosen": chosen,
            "computed": self._computed(),
        }

    def _computed(self) -> dict[str, Any]:
        """How the content of the view was computed; `view` is used in file names."""
        edits = [repr(edit) for edit in getattr(self, "edits", ())]
        of = exports.computed(self._subjects())
        return {"view": type(self).__name__, **of, "edits": edits}

    def _subjects(self) -> Sequence[Any]:
        """The traces or models that are on view."""
        return self._subjects_given

    def to_html(self, **options: Any) -> str:
        """The page that `save_html` writes, as text."""
        return "".join(self._page(**self._checked("to_html", options)))

    def save_html(self, path: str | os.PathLike, **options: Any) -> Path:
        """Write one self-contained page: offline, interactive, with the present selection.

        Raises:
            ValueError: if the path cannot hold a file.
            TypeError: for an option that this view does not have.
        """
        return export.write_page(path, self._page(**self._checked("save_html", options)))

    def _checked(self, call: str, options: dict[str, Any]) -> dict[str, Any]:
        """Check the options of a page: each must be a parameter of a step that makes it."""
        steps = (
            vars(owner)[step]
            for owner in type(self).__mro__
            for step in ("_page", "_page_state", "_blocks")
            if step in vars(owner)
        )
        known = {
            name
            for step in steps
            for name, one in inspect.signature(step).parameters.items()
            if name != "self" and one.kind is not one.VAR_KEYWORD
        }
        if self._embedded:
            known |= {"model", "precision"}
        for name in options:
            if name not in known:
                of = unknown(name, sorted(known))
                raise TypeError(f"{type(self).__name__}.{call} has no option {of}")
        return options

    def __repr__(self) -> str:
        try:
            return f"<{type(self).__name__}: {self._alt}>"
        except NoJavaScript as error:
            return f"<{type(self).__name__}: {error}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict]:
        from ..marks.draw_matplotlib import figure_of

        data, metadata = self._without_picture(**kwargs)
        try:
            scene = self._scene()
        except NoJavaScript:  # the text says so
            return data, metadata
        # For GitHub, for print, and for a notebook that is reopened or not trusted (labextension/).
        edits = getattr(self, "edits", None)
        count = None if edits is None else len(edits)
        note = messages("shared")("as_it_was", view=type(self).__name__, edits=count)
        data["image/png"] = png_of(figure_of(scene, note))
        return data, {**metadata, "image/png": {"alt": joined(self._alt, note)}}

    def _without_picture(self, **kwargs: Any) -> tuple[dict, dict]:
        """The mimebundle for a notebook, without the still image, which takes the longest."""
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {**data, "text/plain": repr(self)}, {**metadata, export.MARK: type(self).__name__}

    # -- for pages ------------------------------------------------------------------------------

    def _blocks(self, **options: Any) -> Iterable[export.Block]:
        """Yield the parts of a page that it does not need for the first screen."""
        return ()

    def _page_state(self, **options: Any) -> dict[str, Any]:
        state = self.get_state()
        state = {k: v for k, v in state.items() if k not in _NOT_FOR_PAGES and k[:6] != "_model"}
        if self._embedded:
            state |= self._embedded.page_state(self.carried, self.stays, state.get("_note"))
        return state

    def _page(self, *, theme: str | None = None, **options: Any) -> Iterable[str]:
        if self._embedded:
            wanted = options.pop("model", None), options.pop("precision", "auto")
            self.carried, self.stays = self._embedded.take(*wanted)
        state = self._page_state(**options)
        buffers = {k: bytes(v) for k, v in state.items() if isinstance(v, (bytes, memoryview))}
        return export.page(
            {**state, "_sentence": self.sentence, "_how": self._computed()},
            buffers,
            title=self._title or type(self).__name__,
            sentence=self.sentence,
            blocks=chain(self.carried.blocks if self.carried else (), self._blocks(**options)),
            absent=self.absent,
            theme=theme,
        )

    # -- for the browser ------------------------------------------------------------------------

    def _requests(self) -> dict[str, Callable[[Any], Answer]]:
        """Handlers of a page's requests: type of a message -> handler of the message; for parts
        requested by name, its first word up to / or | -> handler of the name."""
        requests = {
            "there": lambda _: ({"type": "done"}, []),  # whether a kernel answers
            "page": lambda _: ({"type": "page"}, [self.to_html().encode()]),
            "save": self._answer_save,
            "block": self._answer_block,
        }
        if self._embedded:
            standby = self._embedded.standby
            requests["standby"] = lambda message: standby(message, self.send)
        return requests

    def _answer_save(self, message: dict[str, Any]) -> Answer:
        suffix = exports.suffix_of(f"view.{message.get('as')}")
        return {"type": "save"}, [b"".join(self._file(suffix))]

    def _answer_block(self, message: dict[str, Any]) -> Answer:
        name = str(message.get("name", ""))
        word = re.match(r"[^/|]*[/|]?", name)[0]  # type: ignore[index]
        part = self._requests().get(word) if word[-1:] in ("/", "|") else None
        info, buffers = (part or self._part_named)(name)
        return {"type": "block", "info": info}, buffers

    def _part_named(self, name: str) -> Answer:
        """Info and buffers of a part that a page requests by name."""
        raise ValueError(f"{type(self).__name__} knows no {name[:40]!r}")

    def _answer(self, message: dict[str, Any]) -> Answer:
        """Message and buffers for a request; the caller reports any exception to the page."""
        answer = self._requests().get(message.get("type", ""))
        if answer is None:
            raise ValueError(f"{type(self).__name__} knows no {message.get('type')!r}")
        return answer(message)

    def _on_question(self, _widget: Any, message: Any, _buffers: Any) -> None:
        if not isinstance(message, dict) or "request" not in message:
            return
        try:
            answer, buffers = self._answer(message)
        # An exception in a message handler would never reach the reader, who is waiting for an
        # answer.
        except Exception as error:
            answer, buffers = {"type": "error", "message": one_line(error)}, []
        self.send({**answer, "request": message["request"]}, buffers)


def one_line(error: BaseException) -> str:
    return shown_text(" ".join(str(error).split()) or type(error).__name__)
