import re

import pytest

from transformer_lab.views.modules import STATIC, join_modules


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


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('import x from "./a.js";\n', "only `import"),
        ('import { x } from "npm-package";\n', "only `import"),
        (
            'import { d } from "./a.js";\nconst one = 2;\n',
            "one is defined in both a.js and main.js",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused(tmp_path, source, message):
    entry = write(tmp_path, a="export const one = 1;\nexport const d = 1;\n", main=source)
    with pytest.raises(ValueError, match=message):
        join_modules(entry)


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
    views = sorted(STATIC.glob("*_view.js"))
    assert len(views) >= 5
    for path in views:
        joined = join_modules(path)
        assert "export default { render };" in joined
    for path in STATIC.glob("*.js"):
        source = path.read_text("utf-8")
        for word in (
            "innerHTML",
            "outerHTML =",
            "insertAdjacentHTML",
            "document.write",
            "http:",
            "eval(",
        ):
            assert word not in source.replace("http://www.w3.org/2000/svg", ""), (path.name, word)


def test_a_views_columns_hold_beside_other_views():
    """Every view brings view.css again, and the last one on a page would win a tie."""
    seen = 0
    for path in STATIC.glob("*.js"):
        for own in re.findall(r'"tl-panels (tl-[a-z-]+)"', path.read_text("utf-8")):
            for css in STATIC.glob("*.css"):
                for rule in re.findall(
                    r"[^{}]*\{[^{}]*grid-template-columns", css.read_text("utf-8")
                ):
                    selector = rule.rpartition("{")[0].strip()
                    if selector.endswith(f".{own}"):
                        seen += 1
                        assert selector.endswith(f".tl-panels.{own}"), (css.name, selector)
    assert seen >= 4
