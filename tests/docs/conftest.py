"""The browser fixtures of tests/browser, for the book and the slides."""

from tests.browser.fixtures import open_page, screenshot  # noqa: F401
