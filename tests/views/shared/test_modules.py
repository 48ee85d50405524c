import re
from itertools import accumulate

import pytest
import quickjs

from transformer_lab.views.shared.base import css
from transformer_lab.views.shared.modules import VIEWS, join_modules, module_expression


def write(folder, **sources):
    for name, source in sources.items():
        (folder / f"{name}.js").write_text(source)
    return folder / "main.js"


def test_each_module_comes_once_and_before_its_users(tmp_path):
    entry = write(
        tmp_path,
        a="export const one = 1;\n",
        b='import { one } from "./a.js";\nexport function two() { return 2 * one; }\n',
        main='import { one } from "./a.js";\nimport {\n  two,\n} from "./b.js";\nexport default one + two();\n',
    )
    joined = join_modules(entry)
    assert joined.count("const one = 1;") == 1
    assert joined.index("const one") < joined.index("function two") < joined.index("export default")
    assert "import" not in joined


def test_each_module_has_its_own_scope(tmp_path):
    entry = write(
        tmp_path,
        a="const hidden = 1;\nexport const one = () => hidden;\n",
        b='import { one as two } from "./a.js";\nconst hidden = 2, one = 3;\n'
        "export const three = two() + hidden + one;\n",
        main='import { three } from "./b.js";\nexport const six = three;\n',
    )
    assert quickjs.Context().eval(f"{module_expression(entry)}.six") == 6
    assert join_modules(entry).endswith("export const six = three;\n")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('import x from "./a.js";\n', "only `import"),
        ('import { x } from "npm-package";\n', "only `import"),
        ('export * from "./a.js";\n', "a helper may only export"),
    ],
)
def test_what_cannot_be_joined_is_refused(tmp_path, source, message):
    entry = write(
        tmp_path,
        a="export const one = 1;\nexport const d = 1;\n",
        b=source,
        main='import { x } from "./b.js";\n',
    )
    with pytest.raises(ValueError, match=message):
        join_modules(entry)


def test_modules_of_other_folders_are_found_and_told_apart_by_them(tmp_path):
    for name in ("shared", "heads"):
        (tmp_path / name).mkdir()
    write(tmp_path / "shared", words="export const one = 1;\n")
    write(
        tmp_path / "heads",
        words='import { one } from "../shared/words.js";\nexport const two = 2 * one;\n',
        main='import { two } from "./words.js";\nimport { one } from "../shared/words.js";\nexport default one + two;\n',
    )
    joined = join_modules(tmp_path / "heads" / "main.js")
    assert joined.count("const one = 1;") == 1
    assert re.findall("// --- (.*)", joined) == [
        "shared/words.js",
        "heads/words.js",
        "heads/main.js",
    ]


def test_default_exports_of_helpers_and_cycles_are_refused(tmp_path):
    entry = write(tmp_path, a="export default 1;\n", main='import { d } from "./a.js";\n')
    with pytest.raises(ValueError, match=r"a\.js: a helper may only"):
        join_modules(entry)
    entry = write(
        tmp_path,
        a='import { m } from "./main.js";\nexport const x = 1;\n',
        main='import { x } from "./a.js";\nexport const m = 1;\n',
    )
    with pytest.raises(ValueError, match="imports itself"):
        join_modules(entry)


def test_the_views_modules_join_and_use_no_markup():
    views = [*VIEWS.glob("*/view.js")]
    assert len(views) >= 9
    for path in views:
        joined = join_modules(path)
        ends = r"^export default (mounted\(\w+, \"\w+\"|scened\([^;]*)\);$"
        assert len(re.findall(ends, joined, re.M)) == 1
    for path in VIEWS.rglob("*.js"):
        source = path.read_text("utf-8")
        for word in (
            "innerHTML",
            "outerHTML =",
            "insertAdjacentHTML",
            "document.write",
            "http:",
            "eval(",
        ):
            assert word not in source.replace("http://www.w3.org/2000/svg", ""), (str(path), word)


def test_a_views_own_rules_hold_in_it_alone():
    """Several views may share a window, each with its style sheets. Names clashed by accident: the
    Explorer's menu of positions squeezed the panels of a PositionView."""
    sheets = [path for path in VIEWS.glob("*/*.css") if path.parent.name != "shared"]
    assert len(sheets) >= 7
    for path in sheets:
        text = path.read_text("utf-8")
        assert f".tl-view.tl-view-{path.parent.name} {{\n{text}}}" in css(path.parent.name)
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        depths = [*accumulate({"{": 1, "}": -1}.get(letter, 0) for letter in text)]
        assert min(depths) == depths[-1] == 0, path  # nothing is after the end of its block
        text = re.sub(r"@(container|media)[^{]*\{", "", text)
        text = re.sub(r"\([^()]*\)", "", text)  # commas within :is(…) separate no selectors
        for selectors in re.findall(r"([^{}]+)\{[^{}]*\}", text):
            for selector in selectors.split(","):
                assert re.fullmatch(r"(&|[.>:\[])[^&]*", selector.strip()), selector


def test_what_all_views_share_names_no_one_view():
    """A rule for a part of one view, `.tl-why`, once coloured the whole view of that name."""
    shared = (VIEWS / "shared" / "view.css").read_text("utf-8")
    for view in VIEWS.glob("*/view.js"):
        assert not re.search(rf"\.tl-{view.parent.name}(?![\w-])", shared), view.parent.name
