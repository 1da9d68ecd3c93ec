"""The suites of clients that others wrote: what can be held without them and without a server."""

from __future__ import annotations

import ast
import re

import pytest

from check_clients import CANARY, Suite, about, anchor, counts_of, packages_of, page_of, suite_files
from conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "clients.md").read_text()
COUNTS = (REPOSITORY / "CONFORMANCE.md").read_text()


@pytest.mark.parametrize("file", suite_files(), ids=lambda file: file.stem)
def test_a_suite_pins_its_packages_and_is_told_of_in_that_version(file):
    packages = packages_of(file)
    assert all(re.fullmatch(r"@?[^=@]+==[^=@]+", package) for package in packages)
    assert len(packages) == 1 or file.suffix == ".mjs"
    assert about(file)
    names = checks_of(file)
    assert len(names) == len(set(names)) > 3
    assert f"| `{packages[0]}` | " in PAGE
    section = anchor(packages[0].split("==")[0])
    assert f"| [`{packages[0]}`](docs/clients.md#{section}) | " in COUNTS
    assert section in [anchor(heading) for heading in re.findall(r"^### (.+)$", PAGE, re.MULTILINE)]
    for check in names:
        assert f"* {check}" in PAGE


def checks_of(file):
    if file.suffix == ".mjs":
        return re.findall(r'^check\("(.+)", async', file.read_text(), re.MULTILINE)
    calls = (call for call in ast.walk(ast.parse(file.read_text())) if isinstance(call, ast.Call))
    return [call.args[0].value for call in calls if is_check(call)]


def is_check(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "check"


def test_the_scanner_is_told_of_in_its_version():
    assert CANARY.replace("@", "==") in PAGE and CANARY.replace("@", "==") in COUNTS


def test_counts_link_to_the_sections_and_give_reasons():
    suites = [
        Suite("client[api]==1.2", "A client.", {"chat": None, "stream": "a | b\nc"}),
        Suite("b==1", "", {"x": None}),
    ]
    assert counts_of(suites, "page.md").split("\n") == [
        "| client | checks that hold | what does not hold |",
        "| --- | --- | --- |",
        "| [`client[api]==1.2`](page.md#clientapi) | 1 of 2 | stream: a \\| b c |",
        "| [`b==1`](page.md#b) | 1 of 1 | – |",
    ]


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
