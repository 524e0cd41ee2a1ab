"""Runs the code cells of a page with the installed package: python smoke.py PAGE FOLDER_OF_THE_PACKAGE."""

import re
import sys
from pathlib import Path

import torch

import mera

page, folder = map(Path, sys.argv[1:])
if folder.resolve() not in Path(mera.__file__).resolve().parents:
    raise SystemExit(f"Expected the package in {folder}; got {mera.__file__}")
print(f"mera {mera.__version__}, Python {sys.version.split()[0]}, torch {torch.__version__}")
cells = re.findall(r"^```\{code-cell\}\n(.*?)^```", page.read_text(), re.M | re.S)
names = {"__name__": "page"}
for cell in cells:
    exec(compile(cell, page.name, "exec"), names)
print(f"{len(cells)} cells of {page.name} ran")
