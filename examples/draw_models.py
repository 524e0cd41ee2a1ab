"""Draw the layouts of all models, from the side and from above, as Fig. 2(a) and (b) of the RG-Flow paper.

    python examples/draw_models.py

This takes a few seconds. It writes a PNG to the folder `models` for each model in one dimension from the side, named
after the model, and `rgflow_above.png`, RG-Flow in two dimensions from above. `--out` sets another folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mera
from mera.drawing import draw_layout
from mera.drawing.images import save_figure

SIZES = {"ternary": {"L": 27}, "tebd": {"L": 16, "depth": 2}, "rgflow": {"L": 32}}
"""The sizes of models for which an edge of 16 sites is not possible, or shows too little."""


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
