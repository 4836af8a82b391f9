"""The documentation site: ``sphinx-build -W -n docs FOLDER``, warnings are errors, nothing is fetched."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # for repository_links
warnings.filterwarnings("ignore", category=DeprecationWarning)  # of what MONAI and Ignite import

from monai_ima import __version__

project = "monai_ima"
author = "monai_ima contributors"
version = release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "repository_links",
]

html_theme = "furo"
html_title = f"monai_ima {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_custom_sections = ["Source"]
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_use_rtype = False

# Not documented here: other packages, which would have to be fetched, and what a page has no room for.
nitpick_ignore_regex = [
    ("py:.*", r"(torch|ignite|monai|matplotlib|numpy|collections|pathlib|typing|abc)\..*"),
    ("py:class", r"Tensor|Path|Module|IntensityRange|dict\[str"),
    ("py:exc", r"RejectedError"),
    ("py:class", r"monai_ima\.robustness\.search\.Task"),
    ("py:class", r"monai_ima\.distributed\._T"),
    ("py:class", r"monai_ima\.handlers\.(run_record\.RunDescription|slot\.Attachable)"),
]


def _without_field_aliases(*event: Any) -> bool | None:
    """Leave out the fields of a named tuple, which its docstring has with their shapes."""
    member = event[3]
    return True if str(getattr(member, "__doc__", "")).startswith("Alias for field") else None


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-skip-member", _without_field_aliases)
