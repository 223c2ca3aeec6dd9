"""Sphinx's settings. build.py runs it, on the pages and those that it makes."""

from cowbook import __version__

project = "cowbook"
author = "cowbook contributors"
copyright = "2026, cowbook contributors"  # noqa: A001 - Sphinx's name
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"cowbook {__version__}"
html_show_sphinx = False
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
exclude_patterns = ["README.md"]

# Docstrings are plain text, with names between single backticks.
default_role = "literal"
smartquotes = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "inherited-members": "Struct,BaseException", "show-inheritance": False}
add_module_names = False
