"""How the site is built: `make docs`. Everything a page needs lies in the built folder, mathematics included."""

import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

project = "noetherflow"
author = "The noetherflow developers"
version = release = import_module("sde").__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "sphinx_design",
    "numpydoc",
    "docs.extensions.pages",
    "docs.extensions.equations",
    "docs.extensions.docstrings",
    "docs.extensions.self_contained",
]
exclude_patterns = ["extensions"]
nitpicky = True
highlight_language = "none"
smartquotes = False  # what stands in quotes is often code

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_dmath_double_inline = False
nb_execution_mode = "off"
nb_render_markdown_format = "myst"
myst_mathjax_classes = "tex2jax_process|mathjax_process|math|text_html"

autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = "noetherflow"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars: dict[str, list[str]] = {page: [] for page in ("index", "getting-started", "gallery", "theory", "faq")}
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 8,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_nav_level": 1,
    "navigation_with_keys": False,
}
