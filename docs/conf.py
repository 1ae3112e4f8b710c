"""How Sphinx builds the site: ``make docs``. Nothing is fetched, then or by readers."""

import inspect
import re
import shutil
import tomllib
from importlib.metadata import version as installed
from importlib.resources import files
from pathlib import Path

import matplotlib
from sklearn.base import BaseEstimator

import sklearn_convexrelu

matplotlib.use("agg")
DOCS = Path(__file__).parent
PROJECT = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]

project = PROJECT["name"]
author = PROJECT["authors"][0]["name"]
project_copyright = author
release = version = installed(project)

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "auto_examples/*.md5", "auto_examples/*.ipynb"]
templates_path = ["_templates"]
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath", "colon_fence"]

numpydoc_show_class_members = False  # the page of a class has its methods in full
autodoc_typehints = "none"  # docstrings tell the types

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "NumberOfCodeLinesSortKey",  # short ones first
    "backreferences_dir": "api/backreferences",
    "doc_module": ("sklearn_convexrelu",),
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,  # a page with scripts from elsewhere
    "abort_on_example_error": True,
    "plot_gallery": "True",
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
toc_object_entries_show_parents = "hide"
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "primary_sidebar_end": [],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "pygments_light_style": "a11y-high-contrast-light",
}
# Pages without others below them.
html_sidebars = {
    page: [] for page in ("install", "five_minutes", "coming_from_mlp", "method")
}
# One file with all of TeX in it, so that pages opened from a folder need no server.
mathjax_path = "mathjax/tex-svg-full.js"
mathjax_options = {"defer": "defer"}


def kind_of(name):
    """Return the heading under which a public name stands."""
    thing = getattr(sklearn_convexrelu, name)
    if inspect.isclass(thing):
        if issubclass(thing, BaseEstimator):
            return "Estimators"
        return "Pictures" if name.endswith("Display") else "Results"
    return "Functions"


def write_reference():
    """Write the first page of the reference: what is public is in ``__all__`` alone.

    Sphinx looks for its pages before it tells extensions that it has begun, so this
    runs as the file is read.
    """
    lines = ["API reference", "=============", ""]
    lines += ["What ``sklearn_convexrelu`` offers, a page each. Anything else may"]
    lines += ["change without notice.", "", ".. currentmodule:: sklearn_convexrelu", ""]
    public = sorted(sklearn_convexrelu.__all__, key=str.lower)
    for kind in ("Estimators", "Functions", "Results", "Pictures"):
        names = [name for name in public if kind_of(name) == kind]
        if names:
            lines += [
                kind,
                "-" * len(kind),
                "",
                ".. autosummary::",
                "   :toctree: .",
                "",
            ]
            lines += [f"   {name}" for name in names] + [""]
    (DOCS / "api").mkdir(exist_ok=True)
    (DOCS / "api" / "index.rst").write_text("\n".join(lines))


def copy_results():
    """Put the tables of the benchmarks beside the pages that link to them."""
    shutil.copytree(
        DOCS.parent / "benchmarks" / "results",
        DOCS / "results",
        ignore=shutil.ignore_patterns("*.json", "quick"),
        dirs_exist_ok=True,
    )


def relink(app, name, content):
    """Let a page's links to the tables lead to their copies."""
    content[0] = content[0].replace("](../benchmarks/results/", "](results/")


def mend(app, what, name, thing, options, lines):
    """Make docstrings what Sphinx expects, before numpydoc reads them.

    Raw ones, which formulas need, keep the backslash that joins two lines. Those that
    scikit-learn's classes lend have references that only its own site can resolve.
    """
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    if getattr(thing, "__module__", "").startswith("sklearn."):
        text = re.sub(r":ref:`([^<`]+?)\s*<[^>]+>`", r"\1", text)
    lines[:] = text.split("\n")


def copy_mathjax(app):
    """Put MathJax beside the pages, from the package that carries it."""
    source = files("mathjax") / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    for name in ("es5/tex-svg-full.js", "LICENSE"):
        shutil.copy(source / name, target)


def setup(app):
    """Register what this site adds to Sphinx."""
    app.connect("builder-inited", copy_mathjax)
    app.connect("source-read", relink)
    app.connect("autodoc-process-docstring", mend, priority=100)


write_reference()
copy_results()
