"""The layers of docs/architecture.md hold: a part imports only what stands below it."""

import ast
from pathlib import Path

import pytest

import mera

ROOT = Path(mera.__file__).parent
HELPERS = {"checks", "registry", "table", "files", "random", "progress", "pictures", "archive", "allocator"}
MAY_IMPORT = {
    **{helper: {"checks", "files"} for helper in HELPERS},
    "graph": {"bijectors", "checks", "table", "drawing"},
    "bijectors": {"checks", "registry"},
    "priors": set(),
    "summary": {"graph", "table"},
    "local": {"graph", "bijectors", "priors", "checks"},
    "inpaint": {"local", "checks", "progress"},
    "cone_methods": {"conditions", "local", "inpaint", "graph", "bijectors", "priors", "checks"},
    "conditions": {"graph", "checks"},
    "distribution": {"flow"},
    "image_methods": {"graph", "bijectors", "checks"},
    "memory": {"bijectors"},
    "modules": {"graph", "bijectors"},
    "flow": {
        "allocator",
        "cone_methods",
        "conditions",
        "distribution",
        "image_methods",
        "memory",
        "modules",
        "graph",
        "bijectors",
        "priors",
        "summary",
        "checks",
    },
    "models": {"flow", "graph", "bijectors", "priors", "registry", "checks"},
    "drawing": {"graph"},
    "symmetry": {"flow"},
    "layout_file": {"graph", "bijectors", "checks", "files", "registry"},
    "io": {"models", "flow", "graph", "image_methods", "layout_file", "priors", "archive", "files"},
    "data": {"registry", "checks"},
    "train": {"io", "flow", "memory", "graph", "bijectors", "data"} | HELPERS,
}


def imports(path: Path) -> set[str]:
    """The parts of mera that a file imports."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "mera":
            parts |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mera."):
            parts.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            parts |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("mera.")}
    return parts


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_what_stands_below(part):
    files = [ROOT / f"{part}.py"] if (ROOT / f"{part}.py").exists() else sorted((ROOT / part).glob("*.py"))
    assert files
    for file in files:
        assert imports(file) - {part} <= MAY_IMPORT[part], file


def test_every_part_has_its_place():
    parts = {p.stem for p in ROOT.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert parts - {"__init__", "__main__", "cli"} == set(MAY_IMPORT)
