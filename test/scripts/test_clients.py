"""The suites of clients that others wrote: what can be held without them and without a server."""

from __future__ import annotations

import ast

import pytest

from check_clients import CANARY, SUITES, Suite, inline_metadata, page_of
from conftest import REPOSITORY

FILES = sorted(file for file in SUITES.glob("*.py") if file.stem != "harness")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_suite_pins_one_package_and_is_told_of_in_that_version(file):
    (package,) = inline_metadata(file)["dependencies"]
    name, version = package.split("==")
    assert name and version
    tree = ast.parse(file.read_text())
    assert ast.get_docstring(tree)
    names = [call.args[0].value for call in ast.walk(tree) if isinstance(call, ast.Call) and is_check(call)]
    assert len(names) == len(set(names)) > 3
    page = (REPOSITORY / "docs" / "clients.md").read_text()
    assert f"| `{package}` | " in page
    for check in names:
        assert f"* {check}" in page


def is_check(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "check"


def test_the_scanner_is_told_of_in_its_version():
    assert CANARY.replace("@", "==") in (REPOSITORY / "docs" / "clients.md").read_text()


def test_a_page_counts_what_holds_and_gives_reasons():
    suite = Suite("client==1.2", "A client.", {"chat": None, "stream": "nothing came"})
    assert page_of([suite]).split("\n") == [
        "| client | checks that hold |",
        "| --- | --- |",
        "| `client==1.2` | 1 of 2 |",
        "",
        "### client",
        "",
        "A client.",
        "",
        "* chat",
        "* stream: **nothing came**",
    ]
