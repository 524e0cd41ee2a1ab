"""Every option of every command does something: another value of each, and what that changes."""

import itertools
import re
import shutil
from dataclasses import fields
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace as Namespace

import numpy as np
import pytest
import torch
import typer
from matplotlib.figure import Figure
from PIL import Image
from typer.main import get_command

import mera
import mera.explore
from mera.analysis.comparison import Comparison
from mera.cli.app import COMMANDS, _application
from mera.data import ArrayDataset, DataSplits
from mera.train import RunFolder, Settings
from tests.helpers.command import run
from tests.helpers.laws import randomize

SMALL = "rgflow --L 4 --m 2 --layers 1 --hidden 4"
TRAIN = (
    f"train {SMALL} --hidden 16,16 --data shades --data-options train_size=20 --out new "
    "--steps 4 --eval-every 4 --eval-images 10 --batch-size 8"
)
LEARN = (
    f"train {SMALL} --hidden 16,16 --action phi4(mass2=1,coupling=0.5) --out new --steps 2 --eval-images 20 --no-check"
)
FILL = "inpaint run --test 1 --region 1:2,1:2 --particles 8 --iterations 4 --warmup 1 --steps 1 --samples 2 --json"
CLIMB = "inpaint run --test 1 --region 1:2,1:2 --samples 0 --steps 1 --draws 4 --sweeps 0 --json"
TABLE = {
    "demo --train-size 70": {"file other/data.png": "--out other", "events": "--seconds 2; --train-size 9"},
    f"info {SMALL}": {"file a.png": "--picture a.png"},
    TRAIN: {
        "metrics new": "--steps 2; --minutes 1e-9; --eval-every 1; --eval-images 5; --keep best; --data-options "
         "train_size=20,test_size=11",
        "events": "--batch-size 4; --checkpoint; --compile; --workers 1",
        "weights new": "--precision bfloat16; --optimizer AdamW; --optimizer Muon --optimizer-options decay=0.5; "
         "--lr 1e-4; --weight-decay 0.5; --schedule constant; --warmup 1; --clip 1e-3; --ema 0.5; "
         "--seed 1; --data shades2; --root elsewhere; --download; --conditional; --data-options train_size=10",
        "files new": "--checkpoints 1",
        "files .": "--out other",
        "output": "--no-check",
        "refused": "--action phi4; --symmetrize; --schedule constant --warmup 1",
    },
    LEARN: {
        "weights new": "--no-symmetrize; --action phi4; --seed 1",
        "output": "--check",
        "refused": "--data shades; --root elsewhere; --download; --conditional; --data-options a=1; --keep best",
    },
    f"{LEARN} --seed 0": {
        "metrics new": "--steps 1; --minutes 1e-9; --eval-every 1; --eval-images 30",
        "events": "--batch-size 4; --checkpoint; --compile; --workers 1",
        "weights new": "--precision bfloat16; --optimizer Muon; --optimizer AdamW --optimizer-options "
         "betas=[0.5,0.9]; --lr 1e-4; --weight-decay 0.5; --schedule constant; --warmup 1; --clip 1e-3; --ema 0.5",
        "files new": "--checkpoints 1",
        "files .": "--out other",
    },
    f"train {SMALL} --data photos --out new --steps 1 --eval-images 2": {
        "weights new": "--data-options crop=centre; --data-options crop=centre --conditional",
        "refused": "--root elsewhere; --download; --conditional",
    },
    "train --steps 6": {"metrics run": "--resume run"},
    "train --resume run --steps 30": {"metrics run": "--rewarm"},
    "train layout.toml --data shades --out new --steps 1 --eval-images 2": {
        "weights new": "--prior laplace; --seed 1; --data shades2; --root elsewhere; --download",
        "refused": "--action phi4; --symmetrize; --conditional",
    },
    "train flow.mera --data shades --out new --steps 1 --eval-images 2": {
        "output": "--seed 1; --lr 1e-2; --data shades2", "refused": "--prior laplace; --conditional; --action phi4",
    },
    "evaluate run": {"output": "--images 5; --L 8; --root elsewhere", "json": "--json"},
    **{
        f"measure phi4 --samples 64 --sampler {sampler} --warmup 2 --chains 4 --seed 0 "
        "--symmetries flip": {
            f"history phi4/measure/{sampler}": "--samples 128; --action free; --L 8; --symmetries flip,rotations; "
             "--elements 1; --chains 8; --warmup 3; --single; --seed 1",
            f"fields phi4/measure/{sampler}": "--every 1",
            "files .": "--out other",
            "json": "--json",
            "refused": "--at mass2=2",
        }
        for sampler in ("metropolis", "hmc")
    },
    "measure phi4 --samples 64 --seed 0 --symmetries flip": {
        "history phi4/measure/reweighting": "--samples 128; --action free; --L 8; --elements 1; "
         "--symmetries flip,rotations; --single; --seed 1",
        "fields phi4/measure/reweighting": "--every 1",
        "files .": "--out other; --sampler hmc",
        "json": "--json",
        "refused": "--chains 4; --warmup 2; --at mass2=2",
    },
    "measure phi4 --samples 64 --seed 0": {"refused": "--elements 2"},
    **{
        f"measure phi4 --samples 64 --sampler {sampler}": {"refused": "--symmetries flip"}
        for sampler in ("tempering", "cluster", "annealing")
    },
    **{
        f"measure phi4 --samples 128 --sampler {sampler} --out {kept}": {f"history {kept}": "--resume"}
        for sampler, kept in (("metropolis --chains 4 --warmup 2", "kept"), ("hmc --chains 4 --warmup 2", "kept_hmc"),
                              ("reweighting", "kept_weights"))
    },
    "measure range --sampler hmc --samples 64 --warmup 2 --at mass2=1 --seed 0 --out new": {
        "history new": "--at mass2=2",
    },
    "check run": {"json": "--json"},
    "compare rgflow --L 4 --data shades --steps 1 --out new": {
        "weights new/rgflow/seed0": "--data shades2; --parameters 9000; --L 8; --root elsewhere; --download; "
        "--conditional",
        "files .": "--out other",
        "files new": "--seeds 2; --tune",
        "score": "--images 5",
        "metrics new/rgflow/seed0": "--data-options test_size=11",
    },
    "sample run --n 4 --L 8 --out a.npy": {
        "file a.npy": "--n 5; --L 4; --temperature 0.5; --seed 1",
        "files .": "--out b.npy",
    },
    "sample classes --n 4 --out a.npy": {"file a.npy": "--classes dark"},
    "sample flow.mera --n 4 --out a.npy": {
        "file a.npy": "--n 5; --L 16; --temperature 0.5; --seed 1", "refused": "--classes dark",
    },
    "compare rgflow(hidden=(8,)) --L 4 --data shades --steps 1 --out new": {"refused": "--parameters 9000"},
    FILL: {
        "output": "--test 2; --region 1:3,1:2; --L 8; --root elsewhere; --seed 1; --keep mean; --steps 0; "
         "--samples 3; --particles 9; --warmup 2; --iterations 5; --leapfrog 2",
        "files .": "--out other",
        "refused": "--mask mask.png; --scale 8; --class dark; --draws 300; --sweeps 2; --latents 5",
    },
    CLIMB: {
        "output": "--draws 300; --sweeps 2; --latents 5",
        "refused": "--particles 9; --warmup 2; --iterations 5; --leapfrog 2; --keep mean",
    },
    "inpaint run a.png --mask mask.png --samples 0 --steps 0 --out new.png": {
        "file new.png": "--mask mask2.png", "output": "--scale 20",
    },
    "inpaint run a.png --region 3:5,3:5 --particles 8 --iterations 4 --warmup 1 --steps 1 --samples 2 --json": {
        "output": "--region 3:5,3:6; --L 32; --seed 1; --keep mean; --steps 0; --samples 3; --particles 9; "
         "--warmup 2; --iterations 5; --leapfrog 2; --scale 20",
        "files .": "--out other.png",
        "refused": "--mask mask.png; --class dark; --root elsewhere; --draws 300; --sweeps 2; --latents 900; --test 1",
    },
    "inpaint classes --test 1 --region 1:2,1:2 --samples 0 --steps 1": {"output": "--class dark", "json": "--json"},
    "map flow.mera a.png --tile 16": {
        "files .": "--out other",
        "events": "--tile 8",
        "output": "--seed 1; --scale 8",
        "json": "--json",
    },
    "find flow.mera spots.png --json": {
        "output": "--score 120; --most 1; --scale 24; --seed 1", "files .": "--out c.png",
    },
    "find flow.mera spots.png": {"json": "--json"},
    "mix flow.mera a.png b.png": {
        "file a_b_mix_2.png": "--scale 8; --seed 1", "files .": "--out c.png; --level 0", "json": "--json",
    },
    "refine flow.mera a.png": {
        "file a_refined.png": "--times 4; --temperature 0.9; --scale 8; --seed 1", "files .": "--out c.png",
        "json": "--json",
    },
    "explore run --no-browser": {
        "events": "--image a.png; --port 4321; --browser",
        "files .": "--html a.html",
    },
}  # fmt: skip
"""By a command, what changes with further words: its output, a file, or what passes through the flow (events)."""
PARTS = (
    "--action phi4(mass2",
    "hmc --warmup 2 --chains",
    "samples 64 --seed 0 --symmetries",
    "--particles 8",
    "compare rgflow --L",
)
AGAIN = [words for words in TABLE if any(part in words for part in PARTS)]
"""Commands whose options are tried in another context too: of data, of another sampler, of a test image."""
WITH_DEVICES = [TRAIN, "evaluate run", "sample run", FILL, "map flow.mera a.png",
                "find flow.mera a.png", "mix flow.mera a.png b.png", "refine flow.mera a.png", "measure phi4", "demo",
                "compare rgflow --data shades"]  # fmt: skip


def shades(L, root, download, train_size=30, test_size=70, name="shades"):
    """Dark and bright images, which depend on all options."""
    generator = torch.Generator().manual_seed(len(name + Path(root).name) + 50 * download)
    parts = []
    for n in (train_size, test_size):
        labels = torch.arange(n) % 2
        noise = torch.randint(0, 60, (n, 3, *(L if isinstance(L, tuple) else (L, L))), generator=generator)
        parts.append(ArrayDataset((noise + 120 * labels.view(-1, 1, 1, 1)).byte(), {"class": labels}))
    return DataSplits(name, 3, *parts, classes=("dark", "bright"))


def shades2(L, root, download, train_size=30, test_size=70):
    return shades(L, root, download, train_size, test_size, "shades of grey")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder of runs, flows and pictures, which commands begin with."""
    for function in (shades, shades2):
        mera.data.register(function.__name__)(function)
    folder = tmp_path_factory.mktemp("prepared")
    draw = np.random.default_rng(0).integers
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(Figure, "savefig", save_numbers)
        for words in (TRAIN.replace("--out new", "--out run --share-levels"), LEARN.replace("new", "phi4"),
                      LEARN.replace("new", "range").replace("mass2=1", "mass2=(1,2)"),
                      TRAIN.replace("--out new", "--out classes --conditional"),
                      "measure phi4 --samples 64 --sampler metropolis --chains 4 --warmup 2 --out kept",
                      "measure phi4 --samples 64 --sampler hmc --chains 4 --warmup 2 --out kept_hmc",
                      "measure phi4 --samples 64 --out kept_weights"):  # fmt: skip
            result = run(*words.split())
            assert result.exit_code == 0, result.output
        for name in ("a", "b"):
            Image.fromarray(draw(0, 256, (16, 24, 3), dtype=np.uint8)).save(f"{name}.png")
        spots = draw(100, 110, (32, 48, 3), dtype=np.uint8)
        spots[5, 5], spots[20:22, 30] = 255, 160
        Image.fromarray(spots).save("spots.png")
        for number in range(6):
            Path("photos", "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
            pixels = draw(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path("photos", "ab"[number % 2], f"{'xyz'[number // 2]}.png"))
        for name, columns in (("mask", 2), ("mask2", 3)):
            mask = np.zeros((16, 24), np.uint8)
            mask[3:5, 3 : 3 + columns] = 255
            Image.fromarray(mask).save(f"{name}.png")
        flow = randomize(mera.build("rgflow", L=8, m=2, layers=1, hidden=(4,)), 0.1).float()
        mera.save(flow, "flow.mera")
        mera.save_layout(flow.layout, "layout.toml")
    return folder


OBSERVED = {
    "exit": lambda result, events, path: result.exit_code,
    "json": lambda result, events, path: result.output.strip().endswith(("]", "}")),
    "score": lambda result, events, path: result.output.split("±")[-2].split()[-1],
    "output": lambda result, events, path: (re.sub(r"\[[^]]*, [^]]* left]", "", result.output), repr(result.exception)),
    "events": lambda result, events, path: list(events),
    "files": lambda result, events, path: sorted(
        str(file) for file in path.rglob("*") if "events.out" not in file.name
    ),
    "file": lambda result, events, path: path.read_bytes() if path.exists() else None,
    "weights": lambda result, events, path: {n: v.tolist() for n, v in mera.load(path).state_dict().items()},
    "metrics": lambda result, events, path: [
        line | {"seconds": 0, "outside_seconds": 0} for line in RunFolder(path).metrics()
    ],
    "history": lambda result, events, path: {n: v.tolist() for n, v in mera.physics.load_chain(path).history.items()},
    "fields": lambda result, events, path: mera.physics.load_chain(path).fields.shape,
}


def save_numbers(figure, target, **options):
    """Write what a figure shows, in place of a picture, which would take most of the time."""
    shown = [(a.get_title(), [np.sum(i.get_array()) for i in a.images], len(a.patches)) for a in figure.axes]
    content = repr(shown).encode()
    target.write(content) if hasattr(target, "write") else Path(target).write_bytes(content)


@pytest.fixture
def observe(prepared, tmp_path, monkeypatch):
    """A function that runs words in a copy of the prepared folder, and returns what can be observed, by name."""
    events = []

    def recorded(target, name, replacement=None):
        original = replacement or getattr(target, name)

        def call(*args, **options):
            values = [v for a in args for v in (a if isinstance(a, list) else [a]) if isinstance(v, torch.Tensor)]
            events.append((name, [v.shape for v in values], options.get("num_workers")))
            return original(*args, **options)

        monkeypatch.setattr(target, name, call)

    monkeypatch.setattr(Figure, "savefig", save_numbers)
    monkeypatch.setattr("mera.cones.recording.RECORDED_AT_CALL", 10**9)  # a recording pays in longer runs only
    monkeypatch.setattr("mera.inpaint.gaussian.SAMPLES", 64)
    recorded(mera.bijectors.Coupling, "on_sites")
    recorded(torch.utils.data.DataLoader, "__init__")
    recorded(torch.optim.Adam, "__init__")
    recorded(torch, "compile", lambda function, **options: function)

    def opened(flow, arguments, show):
        events.append((flow.plan.input, str(arguments), show))

    monkeypatch.setattr(
        mera.explore, "Explorer", lambda flow, *args: Namespace(address="", run=partial(opened, flow, args))
    )
    monkeypatch.setattr(import_module("mera.cli.flows"), "os", Namespace(_exit=lambda status: None))
    demo = import_module("mera.cli.demo")

    def train(flow, images, settings, run):
        events.append((len(images.train), settings.minutes))
        raise typer.Exit

    monkeypatch.setattr(demo, "train", train)
    monkeypatch.setattr(demo, "_photograph", lambda out: None)  # seconds of pictures, whatever the options
    copies = itertools.count()

    def function(words, names):
        monkeypatch.chdir(shutil.copytree(prepared, tmp_path / str(next(copies))))
        events.clear()
        result = run(*words.split())
        kinds = {name: name.partition(" ") for name in names}
        return {name: OBSERVED[kind](result, events, Path(path)) for name, (kind, _, path) in kinds.items()}

    return function


def rows_of(words):
    """Each option of a command, with the name of what it changes."""
    return [(option, name) for name, options in TABLE[words].items() for option in options.split("; ")]


@pytest.mark.usefixtures("quick")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("words", [pytest.param(w, marks=[pytest.mark.slow] * (w in AGAIN)) for w in TABLE],
                         ids=range(len(TABLE)))  # fmt: skip
def test_options_change_what_they_say(observe, words):
    changing = [name for name in TABLE[words] if name != "refused"]
    before = observe(words, changing) if changing else {}
    assert not changing or observe(words, changing) == before, "what a command changes by itself shows no option"
    for option, name in rows_of(words):
        if name == "refused":
            after = observe(f"{words} {option}", ["exit", "output"])
            assert after["exit"], option
            named, text = option.split()[0].strip("-"), str(after["output"]).replace("_", "-")
            assert named in text or (named == "conditional" and "class" in text), after
            continue
        after = observe(f"{words} {option}", [name, "exit"])
        assert after[name] != before[name], option
        assert after["exit"] == 0, option


@pytest.mark.parametrize("words", WITH_DEVICES, ids=range(len(WITH_DEVICES)))
def test_devices_are_chosen(observe, words):
    _, error = observe(f"{words} --device nowhere", ["output"])["output"]
    assert "Expected a device that torch has here; got 'nowhere'" in error


def flags(*texts):
    return {word for text in texts for word in text.split() if word.startswith("--")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_the_table(name):
    named = flags(*(option for words in TABLE if words.split()[0] == name for option, _ in rows_of(words)))
    named |= {"--device"} if any(words.split()[0] == name for words in WITH_DEVICES) else set()
    if name == "compare":  # test_settings_of_a_comparison
        named |= {f"--{field.name.replace('_', '-')}" for field in fields(Settings)}
    assert [p.opts[0] for p in _options_of(name) if not named & {*p.opts, *p.secondary_opts}] == []


def _options_of(name):
    """The options of a command; those of a path, in place of a model, are among them."""
    commands = [get_command(_application(name))]
    if hasattr(group := commands[0], "resolve_command"):
        commands.append(group.resolve_command(group.context_class(group, info_name=name), ["."])[1])
    return [p for command in commands for p in command.params if p.param_type_name == "option"]


CONTEXTS = [
    ("train", "--data shades"), ("train", "--action"),
    ("measure", "--sampler metropolis"), ("measure", "--sampler hmc"), ("measure", "measure phi4 --samples 64 --seed"),
    ("inpaint", "--test 1 --region"), ("inpaint", "run a.png"),
]  # fmt: skip
"""The contexts, by a part of their words, in which all options of a command are tried."""


@pytest.mark.parametrize(("name", "context"), CONTEXTS)
def test_every_option_is_tried_in_every_context(name, context):
    rows = [words for words in TABLE if words.split()[0] == name and context in words]
    named = flags(*rows, *(option for words in rows for option, _ in rows_of(words))) | {
        "--device",
        "--resume",
        "--rewarm",
    }
    missing = [p.opts[0] for p in _options_of(name) if not named & {*p.opts, *p.secondary_opts}]
    assert set(missing) <= {"--prior"}  # of a layout, which has a row of its own


def test_settings_of_a_comparison(monkeypatch, prepared):
    """`mera compare` passes on all settings, whose effects the table shows for `mera train`."""
    seen = []
    module = import_module("mera.cli.compare")
    empty = Comparison([], "shades")
    monkeypatch.setattr(module, "compare", lambda *args, **options: seen.append(args[2]) or empty)
    names = {field.name: f"--{field.name.replace('_', '-')}" for field in fields(Settings)}
    rows = [row for row in rows_of(TRAIN) if row[1] != "refused" and row[0] != "--warmup 1"]  # not with a constant rate
    options = [option for option, _ in rows if flags(option) <= set(names.values())]
    run("compare", "rgflow", "--L", 4, "--data", "shades", *" ".join(options).split())
    assert [name for name in names if getattr(seen[0], name) == getattr(Settings(), name)] == ["warmup"]
