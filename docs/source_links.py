"""Links from the reference to lines of source, for `sphinx.ext.linkcode`."""

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def source_lines(module: str, name: str) -> str | None:
    """The file and the lines of an object of mera, "mera/flow/flow.py#L20-L80"; None for one without source."""
    try:
        target: Any = import_module(module)
        for part in name.split("."):
            target = inspect.getattr_static(target, part) if inspect.isclass(target) else getattr(target, part)
        target = getattr(target, "fget", None) or getattr(target, "__func__", target)
        target = inspect.unwrap(target)
        lines, first = inspect.getsourcelines(target)
        path = Path(inspect.getsourcefile(target) or "").resolve()
    except (AttributeError, ImportError, OSError, TypeError):
        return None
    if not path.is_relative_to(ROOT / "mera"):
        return None
    return f"{path.relative_to(ROOT)}#L{first}-L{first + len(lines) - 1}"
