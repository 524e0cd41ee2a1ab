"""The command line, as a user types it."""

import inspect
import os
import re
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
import torch
from PIL import Image

import mera
from mera.cli import import_extensions
from mera.cli.app import COMMANDS
from mera.cli.inpaint import _fill
from mera.cli.options import options_for
from mera.data.dataset import _loaders
from mera.flow import Flow
from mera.train import RunFolder
from tests.helpers.command import SMALL, mera_command, plain, run, succeed
from tests.helpers.quick import quick_of


def test_a_run_is_evaluated_sampled_and_made_longer(tmp_path, monkeypatch):
    out = tmp_path / "[/bold]"  # no markup
    source = ["--data", "msds1", "--data-options", "train_size=40 test_size=20", "--out", out]
    options = [*SMALL, "--prior", "StudentT(df=6)", "--no-norm", "--share-levels"]
    result = succeed("train", "rgflow", *source, *options, "--steps", 2, "--eval-images", 10, "--batch-size", 8)
    assert "finished after 2 steps" in result.output
    config = RunFolder(out).facts()
    given = {"L": 8, "layers": 1, "hidden": [6], "norm": False, "share_levels": True, "channels": 3}
    assert given.items() <= config["options"].items()
    assert config["options"]["order"] == "paper"  # what was left at its default is remembered too
    assert config["options"]["prior"] == "StudentT(df=6.0, loc=0.0, scale=1.0)"
    assert mera.load(out / "flow.safetensors").recipe.model == "rgflow"
    twice = succeed("evaluate", out, out, "--images", 10).output
    assert "bits/dim" in twice
    assert twice.count("[/bold]") == 2
    succeed("sample", out, "--n", 4)
    assert (out / "samples_T0.8.png").stat().st_size > 100
    succeed("sample", out, "--n", 2, "--L", 16)
    assert (out / "samples_T0.8_L_16_16.png").is_file()
    refused = run("train", "--resume", out, "--lr", 1, "--data", "mnist")
    assert refused.exit_code == 2
    assert "No such option: --lr" in plain(refused)
    longer = succeed("train", "--resume", out, "--steps", 4)
    assert "going on from step 2 of 4" in longer.output
    assert "[/bold]" in longer.output
    assert RunFolder(out).facts()["limits"]["steps"] == 4
    with monkeypatch.context() as patch:
        patch.setitem(_loaders._functions, "msds1", lambda L, root, **options: 1 + "a")
        with pytest.raises(TypeError, match="unsupported operand"):  # the error of the function is not replaced
            raise run("train", "--resume", out).exception
    assert run("train", "--resume", out).exit_code == 0
    assert "Expected steps beyond the 4 that" in str(run("train", "--resume", out, "--steps", 3).exception)
    (out / "metrics.jsonl").write_text("{}\n")
    assert f"{out}/metrics.jsonl: Expected" in str(run("train", "--resume", out).exception)


def test_train_on_a_grey_folder_with_widths_of_each_step(tmp_path):
    for i in range(10):
        Image.new("L", (9, 9), 20 * i).save(tmp_path / f"{i}.png")
    succeed("train", "realnvp", "--data", tmp_path, "--data-options", "crop=centre", "--channels", 1,
            "--out", tmp_path / "run", "--steps", 1, "--L", 8,
            "--hidden", "4;6", "--layers", "1,1", "--residual-blocks", 1)  # fmt: skip
    assert mera.load(tmp_path / "run" / "flow.safetensors").recipe.options["hidden"] == ((4,), (6,))


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_inpaint_fills_what_is_masked_and_nothing_else(tmp_path):
    out = tmp_path / "run"
    succeed("train", "rgflow", "--data", "msds1", "--data-options", "train_size=40 test_size=10", "--out", out,
            "--steps", 2, "--L", 16, "--layers", 1, "--hidden", 6)  # fmt: skip
    short = ["--steps", 3, "--warmup", 3, "--iterations", 4, "--leapfrog", 2,
             "--particles", 8]  # fmt: skip

    def fill(pixels, hole, *where):
        """The output for an image in which the hole alone may change."""
        Image.fromarray(pixels).save(tmp_path / "image.png")
        done = succeed("inpaint", out, tmp_path / "image.png", *where, *short)
        changed = np.asarray(Image.open(tmp_path / "image_filled.png")) != pixels
        assert changed[hole].any()
        changed[hole] = False
        assert not changed.any()
        return done.output

    draw = np.random.default_rng(0).integers
    pixels, large = (draw(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((16, 16), (70, 40)))
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[3:5, 7:9] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert "4 of 256 pixels filled by varying" in fill(pixels, mask > 0, "--mask", tmp_path / "mask.png")
    fill(large, np.s_[60:63, 20:24], "--region", "60:63,20:24")
    assert "140 pixels filled in 5 pieces" in fill(large, np.s_[:, :2], "--region", "0:70,0:2")
    output = fill(large[:30], np.s_[:, :2], "--region", "0:30,0:2")  # 32 rows, 2 of them reflected
    assert "reflected at its lower and right border" in output
    assert re.search(r"64 of [0-9,]+ pixels filled", output)
    output = fill(pixels[:10, :9], np.s_[:2, :2], "--region", "0:2,0:2")  # two of the reflected pixels are masked, too
    assert "6 of 256 pixels filled" in output
    test = ["inpaint", out, "--test", 3, "--region", "0:2,4:6", *short]
    output = succeed(*test, "--samples", 2, "--keep", "mean").output
    assert "varying 12 of 768 variables" in output
    assert "draws, of which" in output
    assert (out / "test_3_filled_samples.png").is_file()
    assert "test_3_filled.png: will be replaced" in succeed(*test, "--seed", 1).output
    scaled = succeed("inpaint", out, tmp_path / "image.png", "--scale", 8, "--region", "0:2,0:2", *short).output
    assert " of 256 pixels filled" in scaled
    Image.fromarray(mask).resize((9, 9)).save(tmp_path / "small.png")
    for words, code, message in (
        ("--test 3", 2, "Pass either --mask FILE or --region"),
        (f"{tmp_path}/image.png --test 1 --region 0:2,0:2", 2, "Pass either pictures or --test N"),
        (f"--test 1 --mask {tmp_path}/small.png", 1, "a mask of the image's size, 16 x 16"),
        ("--test 99999 --region 0:2,0:2", 1, "Expected a test image from 0 to"),
        ("--test 1 --region 0:2,0:20", 1, "Expected dimension 1 within 0 to 16"),
        ("--test 1 --region 0:16,0:16", 1, "leaves some pixels unmasked"),
        ("none.png --region 0:2,0:2", 1, "none.png; got no such file"),
    ):
        failed = run("inpaint", out, *words.split())
        assert failed.exit_code == code
        assert message in f"{plain(failed)} {failed.exception}"


def test_pieces_that_are_filled_are_counted_after_ctrl_c(tmp_path, monkeypatch, capsys):
    flow, hidden = mera.build("rgflow", L=8, channels=1, layers=1, hidden=(4,)), torch.zeros(70, 16, dtype=torch.bool)
    hidden[:, :2] = True
    inpaint, calls = Flow.inpaint, []

    def stopped_in_the_second(*arguments, **options):
        calls.append(options)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return inpaint(*arguments, **options)

    monkeypatch.setattr(Flow, "inpaint", stopped_in_the_second)
    whole = torch.randint(256, (1, 70, 16), dtype=torch.uint8)
    pictures, options = (tmp_path / "a.png", tmp_path / "b.png"), {"samples": 0, "steps": 1, "draws": 4, "sweeps": 0}
    assert _fill(flow, tmp_path / "x.png", whole, hidden, pictures, False, options, None)
    text = capsys.readouterr().out
    assert "1 of 5 pieces filled; the others have the smooth surface" in text
    assert "pixels filled in" not in text
    assert pictures[0].is_file()


@pytest.mark.parametrize("model", mera.models.names())
def test_every_option_of_a_model_is_an_option_of_the_command(model):
    options = {option.name: option.annotation.__metadata__[0] for option in options_for(mera.models.builder(model))}
    assert list(options) == list(inspect.signature(mera.models.builder(model)).parameters)
    for option in options.values():
        assert not option.help.lstrip().startswith(("as for", "Default")), option.param_decls
        assert len(option.help) > 5, option.param_decls
    text = plain(run("train", model, "--help"))
    assert options["L"].help[:20] in text
    assert options["channels"].help[:20] in text


@pytest.mark.slow
def test_demo_ends_with_pictures_and_a_table(tmp_path):
    output = succeed("demo", "--out", tmp_path, "--seconds", 0.5, "--train-size", 70).output
    drawn = "curves data photograph photograph_map photograph_mixed photograph_refined realnvp_samples "
    drawn += "rgflow_progression rgflow_samples"
    assert sorted(path.stem for path in tmp_path.glob("*.png")) == drawn.split()
    for word in ("rgflow", "realnvp", "test bits/dim", "error of x -> z -> x"):
        assert word in output


MISTAKES = [
    ("explore", 2, "Missing command"),
    ("train", 2, "a layout, a trained flow, or --resume RUN; got none"),
    ("train --steps 3 rgflow --out x", 2, "Expected --steps after rgflow"),
    ("train --resume x rgflow --out x", 2, "got two of them"),
    ("info nowhere", 2, "or the path of a run or a file; got 'nowhere'"),
    ("info rgflo", 2, "did you mean 'rgflow'?"),
    ("mix a.png", 1, "Expected a picture in a.png; got no such file"),
    ("train photographs --out x", 2, "A layout or a trained flow needs --data, and takes no --action"),
    ("train photographs --out x --data msds1 --conditional", 2, "--conditional is for a new flow; photographs has its"),
    ("train photographs --out x --data msds1 --prior laplace", 2, "--prior is for a new flow; photographs has its own"),
    ("train rgflow --out x", 2, "Pass either --data or --action"),
    ("train rgflow --out x --data msds1 --action ising", 2, "Pass either --data or --action"),
    ("train rgflow --out x --action ising --conditional", 2, "--action takes no options of data; got --conditional"),
    ("train rgflow --out x --data msds1 --no-symmetrize", 2, "--symmetrize is for --action"),
    ("measure", 2, "Missing argument 'run'"),
    (
        "measure a --action free --sampler reweighting --warmup 7",
        2,
        "are for samplers with chains, not for reweighting",
    ),
]


@pytest.mark.parametrize(("words", "code", "message"), MISTAKES)
def test_mistakes_are_named(words, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*words.split())
    assert result.exit_code == code
    assert message in f"{plain(result)} {result.exception}"
    assert not any(tmp_path.iterdir())


def test_what_a_user_can_mend_is_one_line(tmp_path):
    result = mera_command(tmp_path, "train", "rgflow", "--data", "msds9", "--out", "x")
    assert result.returncode == 1
    assert result.stderr.startswith("error: Expected a file, a folder or a data set among")
    assert len(result.stderr.splitlines()) == 1


PROGRAM = """
import sys
from mera.cli import main
sys.argv[0] = "mera"
try:
    main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""


def in_process(*arguments, **environment):
    """The output of `mera` in a process of its own, and whether it imported torch."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], env=os.environ | environment,
                          capture_output=True, text=True)  # fmt: skip
    return done.stdout, done.stderr.strip() == "True"


def completed(shell, words):
    """What a shell is told when it asks how words go on; each shell reads some of the variables."""
    variables = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_TYPER_COMPLETE_ARGS": words}
    return in_process(_MERA_COMPLETE=f"complete_{shell}", _TYPER_COMPLETE_FISH_ACTION="get-args", **variables)


@pytest.mark.parametrize("way", ["--help", "bash", "fish"])
def test_help_and_completion_do_not_wait_for_torch(way):
    output, imports_torch = in_process(way) if way == "--help" else completed(way, "mera ev")
    assert ("inpaint" if way == "--help" else "evaluate") in output
    assert not imports_torch


def test_versions_and_the_device():
    output, _ = in_process("--version", CUDA_VISIBLE_DEVICES="")
    assert output == f"mera {version('mera-flow')}\ntorch {torch.__version__}\ndevice cpu\n"


COMPLETED = {"train rgf": "rgflow", "train rgflow --weight": "--weight-decay"}


@pytest.mark.parametrize("words", quick_of(COMPLETED, ["train rgflow --weight"]))
def test_completion_of_models_and_options(words):
    assert completed("bash", f"mera {words}")[0].split() == [COMPLETED[words]]


def test_help_is_in_the_order_of_use_and_in_groups(tmp_path):
    output = mera_command(tmp_path, "--help", columns=120).stdout
    places = [output.index(f"│ {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert "Exit status" in output
    output = mera_command(tmp_path, "train", "rgflow", "--help", columns=120).stdout
    places = [output.index(f" {title} ─") for title in ("Options", "Data", "Model", "Training")]
    assert places == sorted(places)
    ends = [*places[1:], None]
    for flag, place, end in zip(("--steps", "--root", "--bijector", "--optimizer"), places, ends, strict=True):
        assert flag in output[place:end]


def test_info_of_a_model_a_run_and_a_layout(tmp_path):
    flow = mera.build("rgflow", L=8, m=4, layers=1, hidden=(4,))
    mera.save(flow, tmp_path / "flow.safetensors")
    mera.save_layout(flow.layout, tmp_path / "layout.toml")
    model = ["rgflow", "--L", 8, "--m", 4, "--layers", "1,1", "--hidden", "4"]
    for source in (model, [tmp_path], [tmp_path / "flow.safetensors"], [tmp_path / "layout.toml"]):
        output = succeed("info", *source).output
        for text in ("decimator1", "b c (h kh) (w kw) -> (b h w) c kh kw", "192 variables"):
            assert text in output
        assert f"{flow.n_parameters:,} parameters" in output


def test_names_of_the_package_are_there_at_once():
    program = "import mera; mera.inpaint.SearchOptions, mera.cones.Cone, mera.analysis.mix, mera.train.fit"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


def test_a_file_that_another_module_hides_is_not_imported(tmp_path):
    (tmp_path / "random.py").write_text("x = 1")
    with pytest.raises(ValueError, match=r"not named as another module of Python: rename it my_random.py; got"):
        import_extensions(["--import", str(tmp_path / "random.py"), "info"])
