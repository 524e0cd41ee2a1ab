"""Break the package in one place at a time, at random, and count how often the tests of that room notice.

    .venv/bin/python .ci/mutants.py [ROOM ...] -n 25 --seed 0

A mutant is seen if a test or a doctest of its room fails, or if they take longer than five minutes. Mutants that are
not seen are printed: nothing tests that line, or the change makes no difference.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
BROWSER = {ROOT / f"mera/explore/{name}.py" for name in ("page", "tabs", "visit")}  # slow tests see what they draw
ROOMS = {
    folder.name: sorted(set(folder.rglob("*.py")) - BROWSER)
    for folder in sorted((ROOT / "mera").iterdir())
    if (folder / "__init__.py").is_file()
}
PAIRS = "Lt LtE, Gt GtE, Eq NotEq, Is IsNot, In NotIn, Add Sub, Mult Div, Mod FloorDiv, And Or, BitAnd BitOr"
PAIRS += ", min max, any all, amin amax, zeros ones, zeros_like ones_like, floor ceil, cos sin"
SWAPS = {a: b for pair in PAIRS.split(", ") for a, b in (pair.split(), pair.split()[::-1])}
NOT_MUTATED, UNCHANGED = {"annotation", "returns", "decorator_list", "bases"}, {"TYPE_CHECKING", "strict=True"}


def mutations(tree: ast.AST):
    """All pairs of a node below another one and the source of its replacement."""
    for field, value in ast.iter_fields(tree):
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST) and field not in NOT_MUTATED and ast.unparse(node) not in UNCHANGED:
                if field == "test" and isinstance(node, (ast.Name, ast.Attribute, ast.Call)):
                    yield node, f"(not {ast.unparse(node)})"
                yield from ((node, text) for text in replacements(node))
                if not isinstance(node, (ast.Raise, ast.JoinedStr)):  # messages
                    yield from mutations(node)


def replacements(node: ast.AST):
    """Sources that can stand in place of a node."""

    def changed(**fields) -> str:
        return f"({ast.unparse(type(node)(**(dict(ast.iter_fields(node)) | fields)))})"

    match node:
        case ast.Compare(ops=[operator]) if swapped := SWAPS.get(type(operator).__name__):
            yield changed(ops=[getattr(ast, swapped)()])
        case ast.BinOp(op=operator) | ast.BoolOp(op=operator) if swapped := SWAPS.get(type(operator).__name__):
            yield changed(op=getattr(ast, swapped)())
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield f"({ast.unparse(node.operand)})"
        case ast.Constant(value=bool() | int() | float() as value):
            yield str(not value if isinstance(value, bool) else value + 1)
        case ast.Name(id=name) if name in SWAPS:
            yield SWAPS[name]
        case ast.Attribute(attr=name) if name in SWAPS:
            yield changed(attr=SWAPS[name])
        case ast.Call(keywords=keywords):
            for dropped in keywords:
                if dropped.arg is not None and ast.unparse(dropped) not in UNCHANGED:
                    yield changed(keywords=[keyword for keyword in keywords if keyword is not dropped])
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break():
            yield "pass"


def mutant(room: str, file: Path, node: ast.AST, text: str) -> tuple[str, str, Path, bytes]:
    """A line that says what was changed, then room, file and source of the file with one node replaced."""
    source = file.read_bytes()
    ends = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
    lines = source.splitlines(keepends=True)
    start, stop = (sum(map(len, lines[: line - 1])) + column for line, column in ends)
    title = f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}  ->  {text}"
    return title, room, file, source[:start] + text.encode() + source[stop:]


def passes(room: str, file: Path = Path(__file__), source: bytes = b"") -> bool:
    """Whether the tests of a room pass within five minutes, in a copy of the checkout with another source of a file."""
    with TemporaryDirectory() as folder, suppress(subprocess.TimeoutExpired):
        copy = shutil.copytree(ROOT, Path(folder, "copy"), ignore=shutil.ignore_patterns(".[!c]*", "runs", "site"))
        (copy / file.relative_to(ROOT)).write_bytes(source)
        command = f"-m pytest -x -q -n 0 -p no:cacheprovider --hypothesis-seed=0 tests/{room} mera/{room}".split()
        options = {"cwd": copy, "env": os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}, "timeout": 300}
        return subprocess.run([sys.executable, *command], **options, stdout=subprocess.DEVNULL).returncode == 0
    return False


def main() -> None:
    """Try mutants that are drawn at random, as many at a time as there are cores, and print the score of each room."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", nargs="*", default=list(ROOMS), metavar="ROOM", help=", ".join(ROOMS))
    parser.add_argument("-n", type=int, default=25, help="mutants in each room")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    jobs = []
    for room in arguments.rooms:
        rng = random.Random(f"{arguments.seed} {room}")
        sites = [(file, *site) for file in ROOMS[room] for site in mutations(ast.parse(file.read_bytes()))]
        jobs += [mutant(room, *site) for site in rng.sample(sites, min(arguments.n, len(sites)))]
    seen: dict[str, list[bool]] = {room: [] for room in arguments.rooms}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        if failing := [room for room, passed in zip(seen, pool.map(passes, seen), strict=True) if not passed]:
            sys.exit(f"Tests fail before anything is changed: {', '.join(failing)}")
        for (title, room, *_), passed in zip(jobs, pool.map(lambda job: passes(*job[1:]), jobs), strict=True):
            seen[room].append(not passed)
            if passed:
                print(title, flush=True)
    for room, results in [*seen.items(), ("all", [one for row in seen.values() for one in row])]:
        print(f"{room:12} {sum(results):4} of {len(results):4} seen, {sum(results) / len(results):.0%}")


if __name__ == "__main__":
    main()
