"""The site that ``make docs`` builds: every public name, every link, nothing from afar.

SITE names its folder; without it, as in a plain run of the tests, there is none.
"""

import inspect
import os
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import sklearn_convexrelu

SITE = Path(os.environ.get("SITE", "no site")).resolve()
pytestmark = pytest.mark.skipif("SITE" not in os.environ, reason="make docs runs this")
EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
# What a browser fetches by itself, by tag and attribute.
FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src"}


class Page(HTMLParser):
    """Anchors of a page, where its links lead, and what it fetches."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.fetched = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs.get("id"), attrs.get("name")}
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        if attrs.get(FETCHED.get(tag, "")) and attrs.get("rel") != "canonical":
            self.fetched.append(attrs[FETCHED[tag]])


@cache
def read(path):
    return Page(path)


def pages():
    static = SITE / "_static"  # the theme's own templates, no pages
    return [page for page in sorted(SITE.rglob("*.html")) if static not in page.parents]


def broken(page, link):
    """Tell whether a link inside the site leads nowhere."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_file():
        return True
    named = parts.fragment and target.suffix == ".html"
    return bool(named) and unquote(parts.fragment) not in read(target).anchors


def test_links_lead_somewhere():
    assert len(pages()) > 30
    lost = [
        f"{page.relative_to(SITE)}: {link}"
        for page in pages()
        for link in read(page).links + read(page).fetched
        if broken(page, link)
    ]
    assert lost == []


def test_nothing_is_fetched_from_elsewhere():
    far = {link for page in pages() for link in read(page).fetched if "//" in link}
    assert far == set()
    for sheet in SITE.rglob("*.css"):
        asked = re.findall(r"(?:@import|url\()\s*[^;)]*", sheet.read_text("utf-8"))
        assert not [far for far in asked if "//" in far and "data:" not in far]


def test_mathematics_is_there_with_its_licence():
    assert {path.name for path in (SITE / "_static" / "mathjax").iterdir()} == {
        "LICENSE",
        "tex-svg-full.js",
    }


def test_every_public_name_is_in_the_inventory():
    InventoryFile = pytest.importorskip("sphinx.util.inventory").InventoryFile  # noqa: N806
    with (SITE / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, path: path)
    found = {name for kind in inventory for name in inventory[kind] if "py:" in kind}
    for name in sklearn_convexrelu.__all__:
        full = f"sklearn_convexrelu.{name}"
        assert (SITE / "api" / f"{full}.html").is_file()
        thing = getattr(sklearn_convexrelu, name)
        members = [
            member
            for member, value in vars(thing).items()
            if inspect.isfunction(value) and not member.startswith("_")
        ]
        assert {full} | {f"{full}.{member}" for member in members} <= found


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_has_its_page(example):
    page = (SITE / "auto_examples" / f"{example.stem}.html").read_text()
    assert "sphx-glr-script-out" in page
    assert ("sphx-glr-single-img" in page) == ("pyplot.show()" in example.read_text())
