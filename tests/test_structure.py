"""No circle of imports between folders or files, but for late imports of functions, such as a result's picture."""

import ast
import re
from pathlib import Path

import networkx as nx

import mera

ROOT = Path(mera.__file__).parent
LONGEST = 250
"""Lines of a file, at most."""


def is_type_checking(node: ast.AST) -> bool:
    """Whether a statement is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def statements(node: ast.AST):
    """All import statements below a node, but for those inside functions and those that only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif not is_type_checking(child) and not isinstance(child, ast.FunctionDef):
            yield from statements(child)


def module_file(root: Path, name: str) -> Path | None:
    """The file of a module of the package, such as "mera.graph.plan"; None if the name is no module."""
    path = root.joinpath(*name.split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def imported_files(root: Path, file: Path):
    """The files of the package that a file imports."""
    tree = ast.parse(file.read_text())
    for statement in statements(tree):
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names if alias.name.split(".")[0] == "mera"]
        else:
            module = statement.module or ""
            if module.split(".")[0] != "mera":
                continue
            names = [f"{module}.{alias.name}" for alias in statement.names]
            names = [name if module_file(root, name) else module for name in names]
        yield from filter(None, (module_file(root, name) for name in names))


def import_graph(root: Path) -> nx.DiGraph:
    """An edge from each file of the package to every file that it imports."""
    graph = nx.DiGraph()
    for file in root.rglob("*.py"):
        graph.add_node(str(file.relative_to(root)))
        for imported in imported_files(root, file):
            graph.add_edge(str(file.relative_to(root)), str(imported.relative_to(root)))
    return graph


def folders(graph: nx.DiGraph) -> nx.DiGraph:
    """The same graph between the top-level folders, where a file at the top level counts as a folder of its own."""
    merged = nx.DiGraph()
    for source, target in graph.edges:
        a, b = (Path(name).parts[0] for name in (source, target))
        if a != b and "__init__.py" not in (a, b):
            merged.add_edge(a, b)
    return merged


def circles(graph: nx.DiGraph) -> list[list[str]]:
    """The groups of nodes that reach each other."""
    return [sorted(group) for group in nx.strongly_connected_components(graph) if len(group) > 1]


def test_no_circle_between_files():
    graph = import_graph(ROOT)
    assert graph.number_of_edges() > 100
    assert circles(graph) == []


def test_folders_import_those_above_them_in_the_architecture():
    page = (ROOT.parent / "docs" / "architecture.md").read_text()
    tree = page.partition("mera/\n")[2].partition("```")[0]
    order = [line.split()[0].strip("/") for line in tree.splitlines() if re.match(r"  \w", line)]
    merged = folders(import_graph(ROOT))
    assert {"bijectors", "graph", "cones", "flow", "train", "cli"} <= set(merged) - {"__main__.py"} <= set(order)
    below = [(a, b) for a, b in merged.edges if a in order and order.index(b) > order.index(a)]
    assert below == []


def test_tests_mirror_the_package():
    """A folder of tests is named after the folder that it tests; helpers, tables and golden files serve all of them."""
    tests = {folder.name for folder in Path(__file__).parent.iterdir() if (folder / "__init__.py").is_file()}
    rooms = {folder.name for folder in ROOT.iterdir() if (folder / "__init__.py").is_file()}
    assert tests - {"helpers", "tables"} <= rooms
    assert len(tests) > 10
    assert len(rooms) <= 16


def test_nothing_imports_the_package_itself_but_the_command_line():
    """A module that is imported while the package loads would see only a part of the package."""
    sources = {source for source, _ in import_graph(ROOT).in_edges("__init__.py")}
    assert all(source.startswith("cli") or source == "__main__.py" for source in sources)


def test_type_checkers_see_the_names_that_are_imported_on_first_use():
    block = next(filter(is_type_checking, ast.parse((ROOT / "__init__.py").read_text()).body))
    assert sorted(alias.asname for statement in block.body for alias in statement.names) == mera.__all__
    assert all(hasattr(mera, name) for name in mera.__all__)


def lines_of_code(file: Path) -> int:
    """The number of lines of a file without docstrings and blank lines."""
    tree = ast.parse(file.read_text())
    docs = [
        node.body[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None
    ]
    in_docs = {line for doc in docs for line in range(doc.lineno, doc.end_lineno + 1)}
    lines = enumerate(file.read_text().splitlines(), start=1)
    return sum(1 for number, line in lines if line.strip() and number not in in_docs)


def test_no_file_is_long():
    lengths = {str(file.relative_to(ROOT)): lines_of_code(file) for file in ROOT.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
    assert lengths["flow/flow.py"] > 50
