"""Put the flow of a run into the package, with its card.

    python benchmarks/pack_pretrained.py runs/msds1 msds1 --machine "one core, 20 minutes" \
        --licence "MIT; the images are generated"

The flow is evaluated on all test images of its data set; `--root` says where the data is now.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import photo_data  # noqa: F401, registers data sets
import torch

from mera import data
from mera._utils.files import write_atomically
from mera.graph.summary import count_parameters
from mera.models.archive import write_archive
from mera.models.saving import FOLDER, Card, describe_flow, load
from mera.train import RunFolder, example_losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--root", type=Path, help="the folder of the data, if it is not where it was")
    parser.add_argument("--before", default="", help="options before the command, such as --import FILE")
    parser.add_argument("--machine", required=True)
    parser.add_argument("--licence", required=True)
    parser.add_argument("--options", default="", help="other options of the command that trained the flow")
    arguments = parser.parse_args()
    run = RunFolder(arguments.run)
    facts, flow, metrics = run.facts(), load(run.path), run.metrics()
    packed = {name: x.half() if x.ndim > 1 and x.numel() >= 256 else x for name, x in flow.state_dict().items()}
    flow.load_state_dict(packed)  # the card has the score of the rounded weights
    source, settings = facts["source"], facts["settings"] | facts["limits"]
    test = data.load(**source | ({} if arguments.root is None else {"root": arguments.root})).test
    source = {name: value for name, value in source.items() if name != "root"}
    limits = [f"--{name} {settings[name]}" for name in ("minutes", "steps", "seed") if settings[name]]
    options = " ".join([arguments.options, *limits]).strip()
    command = f"mera {arguments.before} train {facts['model']} --data {source['name']} {options}"
    card = Card(
        name=arguments.name,
        model=facts["model"],
        parameters=count_parameters(flow),
        data=source,
        command=f"{' '.join(command.split())} --out runs/{arguments.name}",
        bits_per_dim=round(example_losses(flow, test).mean().item(), 4),
        test_images=len(test),
        steps=metrics[-1]["step"],
        minutes=round(metrics[-1]["seconds"] / 60, 1),
        machine=f"{arguments.machine}, torch {torch.__version__}",
        seed=settings["seed"],
        licence=arguments.licence,
    )
    FOLDER.mkdir(exist_ok=True)
    write_archive(card.weights, describe_flow(flow) | {"dtype": "float32"}, packed)
    write_atomically(FOLDER / f"{card.name}.json", (json.dumps(asdict(card), indent=2) + "\n").encode())
    print(card, f"{card.weights.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
