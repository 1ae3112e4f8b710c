"""The description of the package: README, its links leading somewhere from anywhere.

All else is in pyproject.toml. In a clone the links of README are paths, so that they
work there; who reads it elsewhere is sent to the addresses of ``[project.urls]``.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]


def address(link):
    """Return the address of a file of the repository, of the site if it has a page."""
    page = re.fullmatch(r"docs/(\w+)\.md(#.*)?", link)
    if page:
        return f"{URLS['Documentation']}/{page[1]}.html{page[2] or ''}"
    return f"{URLS['Source']}/{link}"


setup(
    long_description=re.sub(
        r"\]\((?!\w+://|#)([^)\s]+)\)",
        lambda link: f"]({address(link[1])})",
        (ROOT / "README.md").read_text(encoding="utf-8"),
    ),
    long_description_content_type="text/markdown",
)
