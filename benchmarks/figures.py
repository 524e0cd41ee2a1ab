"""The command that makes each figure and picture of README and the pages, its date, and how long it takes.

    python benchmarks/figures.py                  # the whole table, which is figures.csv
    python benchmarks/figures.py physics ising    # rows whose page, figure or command contains all of these texts
    python benchmarks/figures.py physics --run    # run their commands, one after the other

Minutes are of two cores. Commands run in the folder of the repository; DATA is the folder of unpacked Debian packages
of `photo_data.py`, ROOT a folder with MNIST, and CAT the cat of `mera.data.photograph()` as a file.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
from pathlib import Path

from mera._utils.table import Table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", help="texts in the page, the figure or the command")
    parser.add_argument("--run", action="store_true", help="run the commands")
    options = parser.parse_args()
    with Path(__file__).with_suffix(".csv").open() as file:
        header, *rows = csv.reader(file)
    rows = [row for row in rows if all(text in " ".join(row) for text in options.texts)]
    print(Table(header, rows))
    for row in rows if options.run else []:
        print(f"\n{row[2]}", flush=True)
        subprocess.run(row[2], shell=True, check=True)


if __name__ == "__main__":
    main()
