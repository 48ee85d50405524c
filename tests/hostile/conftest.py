"""The browser fixtures of tests/browser, for hostile text."""

import importlib.util
from pathlib import Path

_path = Path(__file__).parents[1] / "browser" / "fixtures.py"
_spec = importlib.util.spec_from_file_location("fixtures", _path)
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
browser, open_page, map_of = _fixtures.browser, _fixtures.open_page, _fixtures.map_of
