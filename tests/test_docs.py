"""The code of README and of the site runs as it stands, and links lead somewhere."""

import re
from pathlib import Path

import pytest

pyplot = pytest.importorskip("matplotlib.pyplot")

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))
WITH_CODE = [page for page in PAGES if "```python\n" in page.read_text()]


# A block of code, and what the page says that it prints, where it does.
BLOCK = re.compile(
    r"```python\n(.*?)```(?:\s*```\{code-block\} none\n:class: output\n\n(.*?)```)?",
    re.DOTALL,
)


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_code_runs(page, monkeypatch, tmp_path, capsys, brief, short_proofs):
    monkeypatch.chdir(tmp_path)
    pyplot.switch_backend("agg")
    names = {}
    for code, shown in BLOCK.findall(page.read_text()):
        exec(compile(code, page.name, "exec"), names)
        printed = capsys.readouterr().out
        assert "nan" not in printed
        if shown:
            assert_same_but_for_rounding(printed, shown)
    pyplot.close("all")


def assert_same_but_for_rounding(printed, shown):
    number = re.compile(r"\d+(?:\.\d+)?")
    assert number.sub("#", printed.strip()) == number.sub("#", shown.strip())
    pairs = zip(number.findall(printed), number.findall(shown), strict=True)
    for ours, theirs in pairs:
        assert float(ours) == pytest.approx(float(theirs), rel=0.2, abs=0.02)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        made = link.startswith(("api/", "auto_examples/"))  # see test_site.py
        if "://" not in link and not made:
            assert (page.parent / link).exists(), link
