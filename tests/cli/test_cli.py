"""The command line, as a user types it."""

import inspect
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import mera
from mera.cli.app import COMMANDS
from mera.cli.declared_options import options_for
from mera.data.dataset import _loaders
from tests.helpers.command import SMALL, mera_command, plain, run


def test_train_evaluate_sample_resume(tmp_path):
    out = tmp_path / "run"
    source = ["--data", "msds1", "--train-size", 40, "--data-options", "test_size=20", "--out", out]
    settings = ["--steps", 4, "--eval-images", 10, "--eval-every", 2]
    options = [*SMALL, "--prior", "StudentT(df=6)", "--no-norm", "--share-levels"]
    result = run("train", "rgflow", *source, *settings, *options)
    assert result.exit_code == 0, result.output
    assert "finished after 4 steps" in result.output
    config = json.loads((out / "config.json").read_text())
    given = {"L": 8, "layers": 1, "hidden": [6], "norm": False, "share_levels": True, "channels": 3}
    assert given.items() <= config["options"].items()
    assert config["options"]["order"] == "paper"  # what was left at its default is remembered too
    assert config["options"]["prior"] == {"distribution": "StudentT", "df": 6.0, "loc": 0.0, "scale": 1.0}
    assert mera.load(out / "flow.safetensors").recipe.model == "rgflow"
    result = run("evaluate", out, "--images", 10)
    assert result.exit_code == 0, result.output
    assert "bits/dim" in result.output
    result = run("sample", out, "--n", 4)
    assert result.exit_code == 0, result.output
    assert (out / "samples_T1.0.png").stat().st_size > 100
    assert run("sample", out / "flow.safetensors", "--n", 2, "--out", tmp_path / "x.png").exit_code == 0
    assert run("sample", out, "--n", 2, "--L", 16, "--levels", 3).exit_code == 0
    assert (out / "samples_T1.0_L_16_16_levels_3.png").is_file()
    result = run("train", "--resume", out)
    assert result.exit_code == 0, result.output


def test_train_on_a_grey_folder_with_widths_of_each_step(tmp_path):
    from PIL import Image

    for i in range(10):
        Image.new("L", (9, 9), 20 * i).save(tmp_path / f"{i}.png")
    result = run("train", "realnvp", "--data", "folder", "--root", tmp_path, "--channels", 1, "--out", tmp_path / "run",
                 "--steps", 1, "--L", 8, "--hidden", "4;6", "--layers", "1,1", "--residual-blocks", 1)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert mera.load(tmp_path / "run" / "flow.safetensors").recipe.options["hidden"] == ((4,), (6,))


def test_cone_prints_levels_and_draws(tmp_path):
    result = run(
        "cone", "rgflow", "--L", 32, "--m", 4, "--hidden", 2, "--region", "8:16,8:16", "--out", tmp_path / "c.png"
    )
    assert result.exit_code == 0, result.output
    assert "1,092 of 3,072 latent variables, a fraction of 0.355" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.png", "c_levels.png"]
    line = run("cone", "rgflow", "--L", 16, "--dim", 1, "--hidden", 2, "--region", "8:9", "--out", tmp_path / "d.png")
    assert line.exit_code == 0, line.output
    assert not (tmp_path / "d_levels.png").exists()


def test_cone_of_a_latent(tmp_path):
    result = run("cone", "rgflow", "--L", 32, "--latent", "2:1,3", "--out", tmp_path / "c.png")
    assert result.exit_code == 0, result.output
    count = 3 * mera.build("rgflow", L=32).generation_cone(2, (1, 3)).pixels.sum()
    assert f"latents 2:1,3: {count:,} of 3,072 variables of the data" in result.output
    assert run("cone", "rgflow", "--L", 32).exit_code == 2
    assert run("cone", "rgflow", "--L", 32, "--latent", "2:1,3", "--region", "0:1,0:1").exit_code == 2
    for site, message in (("2", "LEVEL:I,J"), ("2:1", "Expected a site of"), ("9:1,1", "Expected a level from 0 to 3")):
        assert message in str(run("cone", "rgflow", "--L", 32, "--latent", site).exception)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_inpaint_fills_what_is_masked_and_nothing_else(tmp_path):
    from PIL import Image

    out = tmp_path / "run"
    trained = run("train", "rgflow", "--data", "msds1", "--data-options", "train_size=40 test_size=10", "--out", out,
                  "--steps", 2, "--L", 16, "--layers", 1, "--hidden", 6)  # fmt: skip
    assert trained.exit_code == 0, trained.output
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[3:5, 7:9] = 255
    Image.fromarray(pixels).save(tmp_path / "image.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    short = ["--draws", 5, "--steps", 3, "--starts", 2, "--warmup", 3, "--iterations", 4, "--leapfrog", 2,
             "--particles", 8, "--moves", 1]  # fmt: skip
    result = run("inpaint", out, "--image", tmp_path / "image.png", "--mask", tmp_path / "mask.png", *short,
                 "--out", tmp_path / "filled")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "4 of 256 pixels filled by varying" in result.output
    filled = np.asarray(Image.open(tmp_path / "filled" / "filled.png"))
    assert (filled == pixels)[mask == 0].all()
    assert (filled != pixels)[mask > 0].any()
    chains = ["--samples", 2, "--latents", 50]
    result = run("inpaint", out, "--test", 3, "--region", "0:2,4:6", *short, *chains)
    assert result.exit_code == 0, result.output
    assert "varying 50 of 768 variables" in result.output
    assert "acceptance" in result.output
    pictures = out / "inpaint" / "test_3_0-2_4-6"
    assert {path.name for path in pictures.iterdir()} == {"filled.png", "inpaint.png"}
    assert run("inpaint", out, "--test", 3, "--region", "0:2,4:6", "--seed", 1, *short).exit_code == 0
    assert {path.name for path in (out / "inpaint").iterdir()} == {pictures.name, f"{pictures.name}_seed_1"}
    large = np.random.default_rng(1).integers(0, 256, (70, 40, 3), dtype=np.uint8)
    Image.fromarray(large).save(tmp_path / "large.png")
    large_image = ("--image", tmp_path / "large.png", "--out", tmp_path / "filled_large")
    assert run("inpaint", out, *large_image, "--region", "60:63,20:24", *short).exit_code == 0
    filled = np.asarray(Image.open(tmp_path / "filled_large" / "filled.png"))
    hole = np.zeros((70, 40), dtype=bool)
    hole[60:63, 20:24] = True
    assert (filled[~hole] == large[~hole]).all()
    assert (filled[hole] != large[hole]).any()
    result = run("inpaint", out, *large_image, "--region", "0:70,0:2", *short)  # 80 rows, 10 of them reflected
    assert "reflected at its lower and right border" in result.output
    assert "160 of 2,560 pixels filled" in result.output
    assert (np.asarray(Image.open(tmp_path / "filled_large" / "filled.png"))[:, 2:] == large[:, 2:]).all()
    for arguments in (["--test", 3], ["--region", "0:2,0:2"], ["--test", 1, "--image", "x.png", "--region", "0:2,0:2"]):
        assert run("inpaint", out, *arguments).exit_code == 2
    Image.fromarray(pixels[:10, :9]).save(tmp_path / "tiny.png")
    tiny = ("--image", tmp_path / "tiny.png", "--out", tmp_path / "filled_tiny")
    result = run("inpaint", out, *tiny, "--region", "0:2,0:2", *short)  # two of the reflected pixels are masked, too
    assert "6 of 256 pixels filled" in result.output
    assert np.asarray(Image.open(tmp_path / "filled_tiny" / "filled.png")).shape == (10, 9, 3)
    Image.fromarray(mask).resize((9, 9)).save(tmp_path / "small.png")
    for arguments, message in (
        (["--image", tmp_path / "image.png", "--mask", tmp_path / "small.png"], "a mask of the image's size, 16 x 16"),
        (["--test", 99999, "--region", "0:2,0:2"], "Expected a test image from 0 to"),
        (["--test", 1, "--region", "0:2,0:20"], "Expected dimension 1 within 0 to 16"),
        (["--test", 1, "--region", "0:16,0:16"], "leaves some pixels unmasked"),
        (["--image", tmp_path / "none.png", "--region", "0:2,0:2"], "none.png; got no such file"),
        (["--test", 1, "--region", "0:2,0:2", "--latents", "cones"], "Expected latents to vary among"),
    ):
        failed = run("inpaint", out, *arguments)
        assert failed.exit_code == 1
        assert message in str(failed.exception)


def test_a_run_is_made_longer_and_nothing_else(tmp_path, monkeypatch):
    out = tmp_path / "[/bold]"  # no markup
    source = ["--data", "msds1", "--train-size", 40, "--data-options", "test_size=20", "--out", out]
    source += ["--eval-images", 10, "--batch-size", 8]
    assert run("train", "rgflow", *SMALL, *source, "--steps", 2).exit_code == 0
    refused = run("train", "--resume", out, "--lr", 1, "--data", "mnist")
    assert refused.exit_code == 2
    assert "--resume takes only --steps, --minutes, --root and --device; got --data, --lr" in plain(refused)
    longer = run("train", "--resume", out, "--steps", 4)
    assert longer.exit_code == 0, longer.output
    assert "going on from step 2 of 4" in longer.output
    assert "[/bold]" in longer.output
    assert json.loads((out / "config.json").read_text())["settings"]["steps"] == 4
    config = json.loads((out / "config.json").read_text())
    for damaged in ({"model": None}, {"options": []}, {"data": {}}, {"settings": {"step": 3}}):
        (out / "config.json").write_text(json.dumps(config | damaged))
        failed = run("train", "--resume", out)
        assert isinstance(failed.exception, ValueError), failed.exception
        assert "Expected" in str(failed.exception)

    def mine(L, root):
        return 1 + "a"

    monkeypatch.setitem(_loaders._functions, "mine", mine)
    (out / "config.json").write_text(json.dumps(config | {"data": {"name": "mine", "L": [8, 8], "root": "data"}}))
    with pytest.raises(TypeError, match="unsupported operand"):  # the error of the user's function is not replaced
        raise run("train", "--resume", out).exception
    (out / "config.json").write_text(json.dumps(config))
    (out / "metrics.jsonl").write_text("{}\n")
    assert "Expected a JSON object with a step in each line" in str(run("train", "--resume", out).exception)


def test_version():
    assert run("--version").output == f"mera {mera.__version__}\n"


def test_info_shows_plan_and_parameters():
    result = run("info", "rgflow", "--L", 16, "--m", 4, "--layers", "2,1,1", "--hidden", "8,8")
    assert result.exit_code == 0, result.output
    assert "b c (h kh) (w kw) -> (b h w) c kh kw" in result.output
    assert "decimator2" in result.output
    assert "768 variables" in result.output


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
    result = run("demo", "--out", tmp_path, "--seconds", 0.5, "--train-size", 70)
    assert result.exit_code == 0, result.output
    pictures = {
        "data",
        "curves",
        "rgflow_samples",
        "rgflow_progression",
        "realnvp_samples",
        "mixing",
        "photograph",
        "photograph_map",
    }
    assert {p.stem for p in tmp_path.glob("*.png")} == pictures
    for word in ("rgflow", "realnvp", "test bits/dim", "error of x -> z -> x"):
        assert word in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "rgflow", "--data", "msds9", "--out", "x"], "error: Expected a data set among"),
        (["evaluate", "nowhere"], "error: Expected a file that mera.save wrote, the folder of a run"),
    ],
)
def test_what_a_user_can_mend_is_one_line(arguments, message, tmp_path):
    command = [sys.executable, "-m", "mera", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(message)
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


SHELLS = {
    "bash": lambda words: {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))},
    "zsh": lambda words: {"_TYPER_COMPLETE_ARGS": words},
    "fish": lambda words: {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


def completed(shell, words):
    return in_process(_MERA_COMPLETE=f"complete_{shell}", **SHELLS[shell](words))


@pytest.mark.parametrize("shell", SHELLS)
def test_help_and_completion_do_not_wait_for_torch(shell):
    output, imports_torch = completed(shell, "mera ev")
    assert "evaluate" in output
    assert not imports_torch
    for arguments, text in ((["--help"], "inpaint"), (["--version"], "mera 0")):
        output, imports_torch = in_process(*arguments)
        assert text in output
        assert not imports_torch


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("mera train rgf", "rgflow"),
        ("mera train rgflow --weight", "--weight-decay"),
        ("mera cone --lay", "--layout"),
    ],
)
def test_completion_of_models_and_options(words, expected):
    assert completed("bash", words)[0].split() == [expected]


def test_help_is_in_groups(tmp_path):
    output = mera_command(tmp_path, "train", "rgflow", "--help", columns=120).stdout
    places = [output.index(f" {title} ─") for title in ("Options", "Data", "Model", "Training")]
    assert places == sorted(places)
    for flag, first, after in (("--steps", 0, 1), ("--root", 1, 2), ("--bijector", 2, 3), ("--optimizer", 3, None)):
        assert flag in output[places[first] : None if after is None else places[after]]


def test_commands_in_the_order_of_use(tmp_path):
    output = mera_command(tmp_path, "--help", columns=120).stdout
    places = [output.index(f"│ {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert "Exit status" in output


def test_info_and_cone_of_a_run_and_of_a_layout(tmp_path):
    flow = mera.build("rgflow", L=8, m=4, layers=1, hidden=(4,))
    mera.save(flow, tmp_path / "flow.safetensors")
    (tmp_path / "config.json").write_text("{}")
    mera.save_layout(flow.layout, tmp_path / "layout.toml")
    for source in ([tmp_path], [tmp_path / "flow.safetensors"], ["--layout", tmp_path / "layout.toml"]):
        result = run("info", *source)
        assert result.exit_code == 0, result.output
        assert "decimator1" in result.output
        numbers = json.loads(run("info", *source, "--json").output)
        assert (numbers["variables"], numbers["levels"][0]) == (192, {"level": 0, "channels": 9, "shape": [4, 4]})
        assert numbers["parameters"] == flow.n_parameters
        cone = json.loads(run("cone", *source, "--region", "2:3,2:3", "--out", tmp_path / "c.png", "--json").output)
        assert cone["latents"] == flow.inference_cone((2, 2)).count == sum(level["latents"] for level in cone["levels"])
    missing = run("info", tmp_path / "nowhere")
    assert missing.exit_code == 2
    assert "or the path of a run or a file; got" in plain(missing)
    assert "did you mean 'rgflow'?" in plain(run("info", "rgflo"))


def test_names_of_the_package_are_there_at_once():
    program = "import mera; mera.inpaint.SearchOptions, mera.cones.Cone, mera.analysis.mix, mera.train.fit"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0
