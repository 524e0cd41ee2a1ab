"""Layouts in files: what a user writes, what comes back, and what a mistake is called."""

import pickle

import pytest
import torch
from hypothesis import given

import mera
from mera._utils.errors import with_notes
from mera.bijectors import ActNorm, by_name, register
from mera.graph.toml import dumps, loads
from mera.train import RunFolder
from tests.helpers.command import run
from tests.helpers.laws import check_laws, randomize
from tests.helpers.quick import quick_of
from tests.helpers.strategies import few, layouts, make_flow
from tests.tables.models import MODELS, ONE_EACH, PICKLED

TEXT = """
[lattice]
shape = [8, 8]
channels = 2
boundary = ["open", "periodic"]

[[node]]
name = "disentangler"
kind = "local"
kernel = [2, 4]
offset = [1, 2]
bijector = {name = "coupling", transform = "spline(bins=3)", hidden = [5]}

[[node]]
name = "halve"
kind = "decimate"

[[node]]
name = "fine"
kind = "latent"
input = "halve.1"

[[node]]
name = "squeeze"
kind = "squeeze"
stride = [1, 2]
input = "halve"

[[node]]
name = "mix"
kind = "local"
kernel = 1
bijector = "linear"

[[node]]
name = "split"
kind = "split"
keep = 1

[[node]]
name = "z"
kind = "latent"

[[node]]
name = "rest"
kind = "latent"
input = "split.1"
"""


def test_a_layout_that_a_user_wrote(tmp_path):
    (tmp_path / "my.toml").write_text(TEXT)
    layout = mera.load_layout(tmp_path / "my.toml")
    flow = randomize(mera.Flow(layout, "gaussian"), 0.2)
    check_laws(flow, 0.5 * torch.randn(2, 2, 8, 8, dtype=torch.float64))
    mera.save_layout(layout, tmp_path / "again.toml")
    again = mera.load_layout(tmp_path / "again.toml")
    assert mera.graph.compile(again) == flow.plan
    assert again.nodes == layout.nodes
    mera.save(flow, tmp_path / "flow")
    other = mera.load(tmp_path / "flow")
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    assert torch.equal(other.log_prob(x), flow.log_prob(x))
    assert (other.prior.distribution.__class__.__name__, other.recipe) == ("Normal", None)
    assert torch.equal(pickle.loads(pickle.dumps(other)).log_prob(x), flow.log_prob(x))


@pytest.mark.parametrize("name", quick_of(PICKLED, ONE_EACH.values()))
def test_layouts_of_models_come_back(name):
    flow = MODELS[name]()
    text = dumps(flow.layout)
    layout = loads(text)
    assert dumps(layout) == text
    again = mera.Flow(layout, flow.prior)
    assert again.plan == flow.plan
    again.load_state_dict(flow.state_dict(), strict=True)


@given(layouts())
@few
def test_random_layouts_come_back_or_are_refused(layout):
    flow = make_flow(layout)
    locals_ = [node for node in layout.nodes.values() if isinstance(node, mera.graph.Local)]
    if all(isinstance(node.bijector, mera.bijectors.Named) for node in locals_):
        assert mera.graph.compile(loads(dumps(layout))) == flow.plan
    else:
        with pytest.raises(mera.LayoutError, match="Expected a bijector by name"):
            dumps(layout)


def test_a_flow_of_classes_is_saved_with_them(tmp_path):
    layout = mera.Layout((4, 4), 1, context=(3,))
    layout.latent(layout.local(layout.input, {"name": "coupling", "hidden": (4,)}, 4))
    flow = mera.Flow(layout, classes=6)
    mera.save(flow, tmp_path / "flow")
    other, x = mera.load(tmp_path / "flow"), torch.randn(2, 1, 4, 4)
    labels = torch.tensor([5, 0])
    assert torch.equal(other.log_prob(x, labels), flow.log_prob(x, labels))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "squeeze"', 'kind = "squeze"', "did you mean 'squeeze'.*setting 'kind'.*node 'squeeze'"),
        ("keep = 1", "kep = 1", "Expected a field of a split node .*did you mean 'keep'.*setting 'kep'.*node 'split'"),
        ("keep = 1", "keep = 4", "Expected to keep from 1 to 3 of 4 channels; got 4.*setting 'keep'.*node 'split'"),
        ("keep = 1", "", "Expected the field 'keep' in a split node; got none.*setting 'keep'.*node 'split'"),
        ('"coupling"', '"couplin"', "'couplin' .did you mean 'coupling'.*setting 'bijector'.*node 'disentangler'"),
        ("hidden = [5]", "hiden = [5]", "'hiden' .did you mean 'hidden'.*setting 'bijector'.*node 'disentangler'"),
        ("kernel = [2, 4]", "kernel = [3, 4]", "Expected a kernel that divides.*setting 'kernel'.*node 'disentangler'"),
        ("kernel = [2, 4]", "kernel = 2.5", "got 2.5.*setting 'kernel'.*node 'disentangler'"),
        ("offset = [1, 2]", "offset = [1, 4]", "below the stride 4; got 4.*setting 'offset'.*node 'disentangler'"),
        ("stride = [1, 2]", "stride = 3", "the stride 3 divides.*setting 'stride'.*node 'squeeze'"),
        ('input = "halve.1"', 'input = "halv.1"', "did you mean 'halve.1'.*setting 'input'.*node 'fine'"),
        ('input = "halve.1"', 'input = "halve.2"', "'halve.1', .*got 'halve.2'.*setting 'input'.*node 'fine'"),
        ('input = "halve.1"', "input = 3", "an output of an earlier node.* got 3.*setting 'input'.*node 'fine'"),
        ('name = "rest"\nkind = "latent"\ninput = "split.1"', 'name = "y"\nkind = "latent"\ninput = "split"',
         "Expected an output that is not taken yet.*node 'y'"),
        ('[[node]]\nname = "rest"\nkind = "latent"\ninput = "split.1"', "", "got nodes for .0.*node 'split'"),
        ('name = "z"\n', "", "Expected the field 'name'.*setting 'name'.*node '#7'"),
        ('name = "mix"', 'name = "halve"', "Expected a name that is not taken.*node 'halve'"),
        ("shape = [8, 8]", "shap = [8, 8]", "field 'shap'|field of the lattice among .*did you mean 'shape'"),
        ("shape = [8, 8]", "", "Expected the field 'shape' in the lattice"),
        ("channels = 2", "channels = 0", "Expected a positive number of channels; got 0.*table .lattice"),
        ("[lattice]", "[latice]", "Expected a field of the file among .*did you mean 'lattice'"),
        ("[lattice]", "[lattice", "Expected TOML; got"),
        ("keep = 1", f"keep = {'9' * 5000}", "Expected TOML; got"),
        ("keep = 1", f"keep = {'[' * 20_000}{']' * 20_000}", "Expected TOML; got"),
    ],
)  # fmt: skip
def test_mistakes_name_file_node_and_field(tmp_path, old, new, message):
    path = tmp_path / "my.toml"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(mera.LayoutError, match=f"(?s){message}.*my.toml"):
        mera.load_layout(path)


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.toml"):
        mera.load_layout(tmp_path / "nothing.toml")
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(mera.LayoutError, match="Expected TOML; got a file that is not UTF-8 text"):
        mera.load_layout(tmp_path / "x")
    with pytest.raises(ValueError, match="Expected a path; got 3"):
        mera.load_layout(3)
    with pytest.raises(mera.LayoutError, match=r"(?s)Expected a context of shape .*; got .*x.*table .lattice"):
        loads("[lattice]\nshape=[4]\ncontext='x'\n[[node]]\nname='z'\nkind='latent'")
    assert loads("[lattice]\nshape=[4]\ncontext=3\n[[node]]\nname='z'\nkind='latent'").context == (3,)
    with pytest.raises(mera.LayoutError, match=r"a table .*node.* for each node"):
        loads("lattice = 3\nnode = 4")
    layout = mera.Layout((4,), 1)
    layout.latent(layout.local(layout.input, mera.bijectors.ActNorm, 2, name="norm"))
    with pytest.raises(mera.LayoutError, match=r"(?s)Expected a bijector by name.*node 'norm'"):
        mera.save_layout(layout, tmp_path / "y.toml")
    assert not (tmp_path / "y.toml").exists()


def test_train_a_layout_from_the_command_line(tmp_path):
    path, out = tmp_path / "my.toml", tmp_path / "run"
    path.write_text(TEXT.replace("channels = 2", "channels = 3"))
    command = ["train", path, "--prior", "gaussian", "--steps", 2, "--eval-every", 1, "--out", out]
    assert "A layout or a trained flow needs --data" in " ".join(run(*command).output.replace("│", " ").split())
    command += ["--data", "msds1", "--data-options", "train_size=20 test_size=20"]
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert "a layout, " in result.output
    flow = mera.load(out)
    assert flow.plan == mera.graph.compile(mera.load_layout(path))
    for more in (["evaluate", out, "--images", 3], ["sample", out, "--n", 2], ["train", "--resume", out]):
        result = run(*more)
        assert result.exit_code == 0, result.output
    assert RunFolder(out).facts()["options"]["prior"] == "gaussian"
    result = run("info", path)
    assert result.exit_code == 0, result.output
    assert "disentangler" in result.output
    path.write_text(TEXT.replace("channels = 2", "channels = 3").replace("bins=3", "bins=1"))
    result = run(*command, "--out", tmp_path / "other")
    assert "my.toml: node 'disentangler': Expected bins as an integer >= 2" in with_notes(result.exception)


def test_an_option_that_is_none_in_place_of_its_default_comes_back(monkeypatch):
    monkeypatch.setattr(by_name._factories, "_functions", dict(by_name._factories._functions))

    @register("bounded")
    def bounded(event_shape, bound: float | None = 3.0, bins: int = 2, names=("a",)):
        return ActNorm(event_shape)

    layout = mera.Layout((8,), channels=1)
    layout.latent(layout.local(layout.input, {"name": "bounded", "bound": None, "names": ("b", "c")}, kernel=2))
    again = loads(dumps(layout)).nodes["local0"].bijector
    assert again.options == {"bound": None, "names": ("b", "c")}
    assert loads(dumps(loads(dumps(layout)))).nodes["local0"].bijector == again


@pytest.mark.parametrize("bijector", ["actnorm", {"name": "coupling", "layers": 3, "hidden": [8, 8]}])
def test_a_file_has_one_field_a_line(bijector):
    layout = mera.Layout((8, 8), channels=1)
    layout.latent(layout.local(layout.input, bijector, kernel=2, offset=(1, 0), name="a block"))
    lines = dumps(layout).splitlines()
    assert lines.count("[[node]]") == 2
    assert 'name = "a block"' in lines
    assert "offset = [1, 0]" in lines
    assert any(line.startswith("bijector = ") for line in lines)
    assert dumps(loads(dumps(layout))) == dumps(layout)
