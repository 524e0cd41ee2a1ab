"""Draw the layouts of all models in one dimension from the side, and RG-Flow's in two from above.

python examples/draw_models.py --out docs/images/models
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mera
from mera.drawing import draw_layout
from mera.drawing.images import save_figure

SIZES = {"ternary": {"L": 27}, "tebd": {"L": 16, "depth": 2}, "rgflow": {"L": 32}}
"""What is not 16 wide."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("models"), help="folder for the pictures")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name in mera.models.names():
        layout = mera.build(name, dim=1, hidden=(2,), **SIZES.get(name, {"L": 16})).layout
        save_figure(draw_layout(layout, title=name), out / f"{name}.png")
    above = draw_layout(mera.build("rgflow", L=16, m=4, hidden=(2,)).layout, "above", title="rgflow from above")
    save_figure(above, out / "rgflow_above.png")
    print(f"pictures: {', '.join(map(str, sorted(out.glob('*.png'))))}")


if __name__ == "__main__":
    main()
