"""The documentation site: `make docs` builds it in build/docs from the Markdown beside."""

import os
import sys
from pathlib import Path

from openunmix._version import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "Open-Unmix 2"
author = "The Open-Unmix 2 developers"
copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "_site.mathml",
    "_site.navigation",
    "_site.sources",
    "_site.cards",
    "_site.extras",
]
exclude_patterns = ["_site", "onnx"]
suppress_warnings = ["config.cache"]

# Markdown: formulas between dollars, and headings as targets of links, as on GitHub.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

# Reference: what a front door exports, in the order of `__all__`.
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc has them, with shapes and units
default_role = "py:obj"
numpydoc_show_class_members = False

# The gallery: every script of examples/gallery is run, and must not fail.
sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "plot_gallery": os.environ.get("GALLERY", "1") != "0",
    "ignore_repr_types": r"matplotlib",
    "image_scrapers": ("matplotlib",),
    "within_subsection_order": "FileNameSortKey",
    "nested_sections": False,
}

# Links to the documentation of torch and numpy need a network, so they are off unless asked for.
if os.environ.get("INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "numpy": ("https://numpy.org/doc/stable", None),
    }

html_theme = "furo"
html_title = f"Open-Unmix {__version__}"
html_favicon = html_logo = "../openunmix/web/static/icon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
