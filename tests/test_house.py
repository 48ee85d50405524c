"""The package's structure: what belongs where, which module may import which, no import cycles.

One list holds the exceptions. It may only get shorter: what no longer needs one must leave it.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "transformer_lab"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 75  # lines of a function's body, as the formatter breaks them
NOT_YET = {"adapters/vector_probe.py: _running"}  # longer functions
DEEP = {"PatchView", "RunView", "SpectrogramView", "TrainingView"}  # more than three classes
MOST = 18  # modules at the top level

# Only adapters/ may check whether a model is ours or Hugging Face's, and what wraps it.
QUESTIONS = ("is_hugging_face", "PreTrainedModel", "is_encoder_decoder", "_orig_mod")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def short(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


# A module may import those of its own line and of lines above it. The longest name that contains a
# module gives its line. Imports within functions are not counted: a result imports the views only
# when its figure is requested.
LAYERS = [
    "arguments softmax config positions graphs.analyses adapters.interrupts adapters.hooks",
    "files datasets tokenizers cache",
    "attention blocks model recurrent optim readers writing adapters pretrained files.models",
    "tracing text_model pictures",
    "edits heads training analysis.circuits",
    "graphs analysis analysis.patching",
    "analysis.studies analysis.reports views exploring",
    "lessons doctor cli __main__",
]
LAYER = {name: at for at, line in enumerate(LAYERS) for name in line.split()}
DRAWING = ("matplotlib", "plotly")
SHARED_DRAWING = (
    "colours",
    "exports",
    "figures",
    "plots",
)  # a colour map, metadata, files and templates


def layer_of(module: str) -> int | None:
    """The number of a module's line in LAYERS; None for the package itself."""
    parts = module.split(".")[1:]
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((LAYER[name] for name in names if name in LAYER), None)


def at_once(tree: ast.Module) -> ast.Module:
    """The imports at a module's top level, without those in functions or for type checkers."""
    body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return ast.Module(body, [])


def imported(path: Path, tree: ast.Module | None = None) -> Iterator[str]:
    """The package's modules that a module imports anywhere (for type checkers too), or in `tree`
    alone."""
    here = name_of(path).split(".")
    for node in ast.walk(tree or tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in NAMES)
        elif isinstance(node, ast.ImportFrom):
            up = node.level - (path.name == "__init__.py")
            base = here[: len(here) - up] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                target = f"{base}.{alias.name}"
                yield from (one for one in (target if target in NAMES else base,) if one in NAMES)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A cycle of modules that import each other, or []."""
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        found = next(filter(None, (walk(n, (*way, name)) for n in sorted(graph[name]))), [])
        done.add(name)
        return found

    return next(filter(None, (walk(name, ()) for name in sorted(graph))), [])


def defined(tree: ast.AST) -> set[str]:
    """Every name that a file defines: of a function, a class, a variable, a field, an attribute."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


@cache
def defined_in(path: Path) -> set[str]:
    return defined(tree_of(path))


@cache
def defined_by_us() -> set[str]:
    return set().union(*map(defined_in, MODULES))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def read_from_others(path: Path, tree: ast.AST, own: set[str]) -> Iterator[str]:
    """Underscore names of other files that a file reads. Those of other packages, such as torch's
    `_modules`, do not count; an object may read what it inherits from itself."""
    ours = defined_by_us()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{short(path)}: {a.name}" for a in node.names if is_private(a.name))
        elif isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr in ours - own:
            of = ast.unparse(node.value)
            if of not in ("self", "cls", "super()"):
                yield f"{short(path)}: {of}.{node.attr}"


def test_csv_is_written_in_one_place():
    """There, no cell becomes a formula; see files/tables.py and views/shared/csv.js."""
    writers = {short(path) for path in MODULES if "csv.writer(" in path.read_text("utf-8")}
    assert writers == {"files/tables.py"}
    quoting = {short(p) for p in PACKAGE.rglob("*.js") if "'\"\"'" in p.read_text("utf-8")}
    assert quoting == {"views/shared/csv.js"}


def test_imports_make_no_circle():
    graph = {name: set(imported(path)) - {name} for name, path in NAMES.items()}
    assert len(graph["transformer_lab.cli"]) > 5  # the imports were found
    assert circle(graph) == []


def test_imports_point_down():
    known = {name: layer_of(name) for name in NAMES if name != "transformer_lab"}
    assert [name for name, layer in known.items() if layer is None] == []
    up = [
        f"{name} imports {target}"
        for name, layer in known.items()
        for target in imported(NAMES[name], at_once(tree_of(NAMES[name])))
        if (known.get(target) or 0) > layer
    ]
    assert up == []


def run_imports(tree: ast.AST) -> Iterator[str]:
    """What a file imports at run time, in functions too, without imports for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""
        yield from run_imports(node)


def test_drawing_libraries_are_imported_where_marks_are_drawn():
    """And in the lessons, which draw figures of their own."""
    allowed = ("views/marks/", "lessons/", *(f"views/shared/{name}.py" for name in SHARED_DRAWING))
    drawing = {
        short(path)
        for path in MODULES
        if any(name.split(".")[0] in DRAWING for name in run_imports(tree_of(path)))
    }
    assert any(name.startswith("views/marks/") for name in drawing)
    assert {name for name in drawing if not name.startswith(allowed)} == set()


def test_every_view_has_the_same_files():
    folders = {path.parent for path in PACKAGE.glob("views/*/view.py")} - {
        PACKAGE / "views" / "learning"
    }
    assert len(folders) > 12
    anatomy = ("__init__.py", "messages.json", "view.css", "view.js", "view.py")
    lacking = {f"{f.name}/{name}" for f in folders for name in anatomy if not (f / name).exists()}
    assert lacking == set()
    for folder in folders:  # what is shown is written once
        assert (folder / "scene.js").exists() != (folder / "scene.py").exists(), folder.name


SCRIPT = re.compile(  # a comment, a regular expression, a string, a template's start, braces
    r"//[^\n]*|/\*.*?\*/|(?:(?<=[(,=:?!&|])|(?<=return)) ?/(?![/*])(?:\[(?:[^]\\\n]|\\.)*\]|[^/\\\n]|\\.)+/"
    r"|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|[`{}]",
    re.DOTALL,
)
CHUNK = re.compile(r"((?:[^`\\$]|\\.|\$(?!\{))*)(`|\$\{)", re.DOTALL)  # of a template
WORDS = re.compile(r"[A-Za-z]{2,}[^A-Za-z]* (\{\} ?)?[A-Za-z]+|^\W?[A-Z][a-z]{2,}$")
NO_WORDS = re.compile(  # styles, selectors, keys, Python, and names in files of numbers
    r"system-ui|monospace|color-mix|gradient|translate|prefers-|^\W?[.:\[]|aria-checked|input:not|hover: none|pointerup|use strict"
    r"|DOCTYPE|__tl|^tl-|^(middle|top|bottom) |^(Escape|Enter|Arrow|Home|End|Delete|Map|True|False)$"
    r"|\b(tl|view|trace|model|grids|before)\.|^(layer|_outcome) |import |, (sites|d_model)=|# "
    r"|^(held out|Tap| to lock|step of \{\}|loss, nats a token|share of z|\{\}, layer \{\}, head \{\}|vector \{\}.*)$"
)
BEFORE_THE_PROGRAM = {
    "messages.js",
    "page.js",
    "whole.js",
}  # for pages whose script may be truncated


def strings(source: str) -> Iterator[tuple[int, str]]:
    """Offset and text of each string in a script, with {} for a template's values."""
    at, templates = 0, []  # per open template: its start, its text, open braces in its value
    while found := SCRIPT.search(source, at):
        at, token = found.end(), found[0]
        if token == "`":
            templates.append([found.start(), "", 0])
        elif token[0] in "'\"":
            yield found.start(), token[1:-1]
        elif token in "{}" and templates:
            templates[-1][2] += 1 if token == "{" else -1
        if token == "`" or (templates and templates[-1][2] < 0):
            chunk = CHUNK.match(source, at)
            assert chunk, source[at : at + 40]
            at = chunk.end()
            templates[-1][1:] = templates[-1][1] + chunk[1], 0
            if chunk[2] == "`":
                yield templates[-1][0], templates.pop()[1]
            else:
                templates[-1][1] += "{}"


def said(source: str) -> Iterator[str]:
    """Strings of a script that a reader sees, except error messages."""
    for start, text in strings(source):
        error = re.search(r"Error\(\s*$", source[max(0, start - 40) : start])
        if WORDS.search(text) and not NO_WORDS.search(text) and not error:
            yield text


def test_what_a_view_says_is_in_its_catalogue():
    scripts = [p for p in PACKAGE.glob("views/*/*.js") if p.name not in BEFORE_THE_PROGRAM]
    scripts = [p for p in scripts if p.parent.name != "engine"]  # its errors match Python's
    assert len(scripts) > 100
    outside = {f"{short(p)}: {text}" for p in scripts for text in said(p.read_text("utf-8"))}
    assert outside == set()


def test_words_outside_a_catalogue_are_found():
    source = """
    say(`Fetching layer ${layer} …`); // "a comment of words"
    button("Remove all", "reset", press); throw new RangeError("errors may say this");
    context.font = "italic 12px system-ui"; /"[a b]"/.test(x); element("p.tl-hint", sayFlow("key"));
    """
    assert list(said(source)) == ["Fetching layer {} …", "Remove all"]


def test_views_are_composed():
    """A view has its parts as objects; at most three classes come before AnyWidget in its MRO. Only
    what a reader can choose is a synchronised trait."""
    import anywidget

    from transformer_lab import views
    from transformer_lab.views.shared.scripted import ScriptedView

    every = {name: getattr(views, name) for name in views.__all__}
    every = {name: view.mro() for name, view in every.items() if isinstance(view, type)}
    every = {name: [c for c in mro if c is not ScriptedView] for name, mro in every.items()}
    depth = {name: classes.index(anywidget.AnyWidget) for name, classes in every.items()}
    assert len(depth) > 12
    known = anywidget.AnyWidget.class_traits(sync=True)
    for view, *_ in every.values():
        chosen = [name for name in view.class_traits(sync=True) if name not in known]
        assert {name for name in chosen if name[0] == "_"} <= {"_options", "_edits", "_camera"}
    assert {name for name, classes in depth.items() if classes > 3} == DEEP


def test_a_click_passes_through_few_files():
    """Those that docs/architecture.md names: each imports another one, or is imported by it."""
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text("utf-8")
    click = text.partition("### What happens on a click")[2].partition("What else an Explorer")[0]
    links = re.findall(r"\]\(\.\./(\S+\.(?:py|js))\)", click)
    files = [PACKAGE.parent / link for link in links]
    assert len(files) == len(set(files)) == 12
    pairs = set()
    for file in files:
        source = file.read_text("utf-8")
        names = re.findall(r'^import [^;]* from "(.*)";', source, re.M)
        uses = {(file.parent / name).resolve() for name in names}
        if file.suffix == ".py":
            uses = {NAMES[name] for name in imported(file)}
        pairs |= {
            (file, other) for other in files if other.resolve() in {u.resolve() for u in uses}
        }
    assert {file for pair in pairs for file in pair} == set(files)


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_no_line_is_formatted_by_hand():
    mark = "# fmt" + ":"
    everywhere = [
        *(
            f
            for top in ("transformer_lab", "tests", "docs", "benchmarks")
            for f in (PACKAGE.parent / top).rglob("*.py")
        ),
        *(PACKAGE.parent / "notebooks").rglob("*.ipynb"),
    ]
    assert len(everywhere) > 800
    assert not [path for path in everywhere if mark in path.read_text("utf-8")]


def test_few_modules_stand_at_the_top():
    assert len(list(PACKAGE.glob("*.py"))) <= MOST


def body_of(function: ast.AST) -> int:
    """The number of lines of a function without its signature and docstring."""
    first, *rest = function.body
    told = ast.get_docstring(function, clean=False) is not None
    start = rest[0].lineno if told and rest else first.lineno
    return function.end_lineno - start + 1


def test_no_function_is_long():
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [
        (p, node) for p in MODULES for node in ast.walk(tree_of(p)) if isinstance(node, kinds)
    ]
    assert len(functions) > 3000  # they were found
    assert {f"{short(p)}: {f.name}" for p, f in functions if body_of(f) > LONGEST} == NOT_YET


def test_a_long_function_is_found():
    lines = "\n".join(["def f():", '    """It."""', *["    f()"] * 76])
    (function,) = ast.parse(lines).body
    assert body_of(function) == 76


def test_underscore_names_are_read_in_their_own_file_only():
    found = [r for path in MODULES for r in read_from_others(path, tree_of(path), defined_in(path))]
    assert found == []


@pytest.mark.parametrize(
    "line", ["from .attention import _mask", "x._split(1)", "self.model._run()"]
)
def test_a_borrowed_underscore_is_found(line):
    assert len(list(read_from_others(PACKAGE / "a.py", ast.parse(line), set()))) == 1


@pytest.mark.parametrize("line", ["self._split(1)", "_own = x._own", "model._modules", "x.split()"])
def test_an_own_underscore_may_be_read(line):
    tree = ast.parse(line)
    assert list(read_from_others(PACKAGE / "a.py", tree, defined(tree))) == []


def test_no_public_function_has_the_name_of_a_module():
    """Importing a module binds it in its package, over a function of the same name."""
    import transformer_lab as tl

    public = {name for name in tl.__all__ if name not in tl._MODULES}
    assert public and not public & {path.stem for path in PACKAGE.iterdir()}


def words(tree: ast.AST) -> Iterator[str]:
    """The names and strings of a file's code, without docstrings."""
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value
        for field in ("id", "attr", "name", "arg"):
            if isinstance(name := getattr(node, field, None), str):
                yield name


def test_what_a_model_is_is_asked_in_adapters_alone():
    asks = {
        short(path)
        for path in MODULES
        if PACKAGE / "adapters" not in path.parents
        and any(question in word for word in words(tree_of(path)) for question in QUESTIONS)
    }
    assert asks == set()


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("register_forward_hook", "hooks.py"),
        ("register_forward_pre_hook", "hooks.py"),
        ("torch.no_grad", "interrupts.py"),
        ("torch.overrides", "interrupts.py"),
    ],
)
def test_what_ctrl_c_could_leave_behind_is_used_in_one_place(name, where):
    """Torch's own hooks are copied with a model, and its `no_grad` may be interrupted on exit."""
    allowed = {
        PACKAGE / "adapters" / where,
        PACKAGE / "optim.py",
    }  # an interrupt never splits a training step
    others = [p for p in MODULES if p not in allowed and PACKAGE / "lessons" not in p.parents]
    assert any(name in path.read_text("utf-8") for path in allowed)
    assert {short(p) for p in others if re.search(rf"{name}\b", p.read_text("utf-8"))} == set()
