"""How Sphinx makes the site from these pages: `pip install -e '.[docs]'`, then `sphinx-build -W docs site`."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from docutils.nodes import SkipNode, literal_block, math_block
from latex2mathml.converter import convert as mathml

import mera

sys.path.insert(0, str(Path(__file__).parent))
from source_links import ROOT, source_lines

project = "mera"
author = copyright = "the mera developers"
release = version = mera.__version__
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"].get("Repository")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx.ext.linkcode" if REPOSITORY else "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
default_role = "py:obj"
html_theme = "furo"
html_title = "mera"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["mera.css"]

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_output_stderr = "remove"

autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

INVENTORIES = {
    "python": "https://docs.python.org/3",
    "torch": "https://docs.pytorch.org/docs/stable",
    "networkx": "https://networkx.org/documentation/stable",
    "numpy": "https://numpy.org/doc/stable",
}


def is_reachable(address: str) -> bool:
    """Whether an inventory can be fetched; without a network, the site is made without links to other sites."""
    try:
        with urlopen(f"{address}/objects.inv", timeout=5):
            return True
    except OSError:
        return False


intersphinx_mapping = {name: (address, None) for name, address in INVENTORIES.items() if is_reachable(address)}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """The address of an object's lines in the repository, at the tag of a release; without a repository, the site
    has pages of source of its own."""
    lines = source_lines(info["module"], info["fullname"]) if domain == "py" and info["module"] else None
    tag = "main" if "dev" in release else f"v{release}"
    return f"{REPOSITORY}/blob/{tag}/{lines}" if lines else None


def escape_shapes(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape the asterisks of shapes such as (B, *event_shape), which would otherwise begin emphasis."""
    lines[:] = [re.sub(r"(?<=[ (,])\*(?=\w)(?!\w+\*)", r"\\*", line) for line in lines]


def plain_types(app: Any, domain: str, kind: str, content: Any) -> None:
    """Show the types of options without the help in their annotations, before Sphinx lists the types of parameters."""
    for types in app.env.current_document.autodoc_annotations.values():
        types.update({name: re.sub(r"Annotated\[(.*), \S*Option\(.*\)\]", r"\1", text) for name, text in types.items()})


def skip_entries(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Skip the entries of named tuples, which the docstring of the class describes."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def keep_errors_with_values(app: Any, name: str, source: list[str]) -> None:
    """Keep a value and its error in one line."""
    source[0] = source[0].replace(" ± ", "\u00a0±\u00a0")


def without_progress(app: Any, doctree: Any) -> None:
    """Leave progress bars out of the output of cells."""
    for block in [block for block in doctree.findall(literal_block) if "100%|" in block.astext()]:
        block.parent.remove(block)


def write_math(writer: Any, node: Any) -> None:
    """Write a formula as MathML, which browsers draw without a network."""
    is_block = isinstance(node, math_block)
    body = mathml(node.astext(), display="block" if is_block else "inline")
    body = re.sub(
        r"(<m[io]>(?:ln|log|sin|cos|cosh|tanh)</m[io]>)(?=<(?:mi|mfrac|msub|msup|msqrt)\b|<mo>\w)",
        r'\1<mspace width="0.17em"/>',
        body,
    )
    writer.body.append(f'<div class="math">{body}</div>' if is_block else body)
    raise SkipNode


def setup(app: Any) -> None:
    """What Sphinx calls before it reads the pages: makes the page of cones, and registers formulas and docstrings."""
    page = mera.drawing.cone_page(mera.build("rgflow", L=32, m=4).plan, "RG-Flow on 32 x 32 pixels")
    (Path(app.srcdir) / "_static" / "cones.html").write_text(page, encoding="utf-8")
    app.add_html_math_renderer("mathml", (write_math, None), (write_math, None))
    app.connect("autodoc-process-docstring", escape_shapes)
    app.connect("object-description-transform", plain_types, priority=100)
    app.connect("autodoc-skip-member", skip_entries)
    app.connect("source-read", keep_errors_with_values)
    app.connect("doctree-read", without_progress)
