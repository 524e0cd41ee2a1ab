"""What is called trusted is right: rows of many measurements against exact values."""

import pytest
import torch

import mera
from mera import physics
from mera.sampling.verdict import Trust
from tests.helpers.quick import quick_of
from tests.physics import exact

SEEDS = 40
FREE = physics.FreeField(1.0)


class Line(physics.Action):
    """A chain of sites with a potential, whose averages are known from powers of its transfer matrix."""

    def __init__(self, potential, is_even=True):
        self.potential, self.is_even = potential, is_even

    def density(self, phi):
        return ((phi.roll(-1, 2) - phi).square() / 2 + self.potential(phi)).sum(1)

    def exact(self, length, end=7.0, points=1201):
        x = torch.linspace(-end, end, points, dtype=torch.float64)
        v = self.potential(x)
        matrix = (-(x[:, None] - x).square() / 2 - (v[:, None] + v) / 2).exp() * (x[1] - x[0])
        powers = [torch.matrix_power(matrix, n) for n in range(length + 1)]
        z = powers[length].trace()
        of_site = powers[length].diagonal() / z
        pairs = [(x @ (powers[n] * powers[length - n].mT) @ x / z).item() for n in range(1, length)]
        phi2 = (of_site @ x.square()).item()
        energy = phi2 - pairs[0] + (of_site @ v).item()
        return {"ln Z": z.log().item(), "m": (of_site @ x).item(), "phi2": phi2, "m2": (phi2 + sum(pairs)) / length,
                "energy": energy}  # fmt: skip


def phi4(mass2, coupling):
    return Line(lambda x: mass2 / 2 * x.square() + coupling * x**4)


TILTED = Line(
    lambda x: 0.4 * (x.square() - 3) ** 2 + 0.15 * x, False
)  # two phases, of which one has most of the weight
ISING = physics.Ising(2.6, local=True, gap=1.0)
THEORIES = {
    "free": (FREE, (4, 4), exact.free_field(FREE, (4, 4))),
    "ising": (ISING, (4, 4), exact.ising(2.6, (4, 4)) | {"ln Z": ISING.log_z((4, 4))}),
    "xy": (physics.XY(1.2), (6,), exact.chain_of_angles(1.2, 6)),
    "phi4, symmetric": (phi4(0.5, 0.5), (8,), phi4(0.5, 0.5).exact(8)),
    "phi4, broken": (phi4(-3.0, 0.25), (6,), phi4(-3.0, 0.25).exact(6)),
    "first order": (TILTED, (6,), TILTED.exact(6)),
}


@pytest.mark.parametrize(
    ("coefficients", "draws"), [((0.0, 0.0, 1.0), 100), pytest.param((-2.0, 30.0, 0.0), 300, marks=pytest.mark.slow)]
)
def test_steep_starts_are_left_at_the_defaults(coefficients, draws):
    """With one step for all chains, those that start high in a steep well never moved."""
    action = Line(lambda x: sum(c * x ** (2 * n) for n, c in enumerate(coefficients, start=1)))
    torch.manual_seed(0)
    chain = physics.hmc((1, 8), action, draws=draws)
    value, error = chain.observables["phi2"]
    assert abs(value - action.exact(8)["phi2"]) < 4 * error < 0.1 * value
    assert chain.verdicts["phi2"].trust == Trust.GOOD


def flow_of(steps):
    torch.manual_seed(0)
    flow = mera.build("rgflow", L=4, m=4, channels=1, hidden=(8,), layers=2, norm=False, prior="gaussian")
    mera.train.fit(flow, FREE, steps=steps, batch_size=64, lr=1e-2, quiet=True, eval_every=10**6)
    return flow


def trusted(measure, expected, seeds=SEEDS):
    """The deviations in errors of all rows that are called trusted, and the part of the rows that is."""
    pulls, rows = [], 0
    for seed in range(seeds):
        torch.manual_seed(seed)
        found = measure()
        quantities = dict(found.observables)
        if found.log_z is not None:
            quantities["ln Z"] = physics.Quantity(found.log_z, found.log_z_error)
        for row in expected.keys() & quantities.keys():
            rows += 1
            if found.verdicts[row].trust >= Trust.USABLE:
                pulls.append(abs(quantities[row].value - expected[row]) / quantities[row].error)
    return torch.tensor(pulls), len(pulls) / rows


def check(name, pulls, part, least, most=0.1, most_by_four=0.01):
    far = [(pulls > n).double().mean().item() if len(pulls) else 0.0 for n in (2, 4)]
    print(f"{name}: {part:.2f} of the rows trusted, {far[0]:.3f} and {far[1]:.4f} of them off by two and four errors")
    assert far[0] <= most
    assert far[1] <= most_by_four
    assert part >= least


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("sampler", ["hmc", "anneal"])
@pytest.mark.parametrize("theory", THEORIES)
def test_trusted_rows_of_theories(theory, sampler):
    action, shape, expected = THEORIES[theory]
    run = {
        "hmc": lambda: physics.hmc((1, *shape), action, draws=500, warmup=100),
        "anneal": lambda: physics.anneal(action, (1, *shape), particles=64, populations=16),
    }[sampler]
    is_hard = theory in ("phi4, broken", "first order")  # whose chains seldom change between two phases
    most = 0.1 if sampler == "hmc" else 0.12  # Student's t with 15 degrees of freedom: 0.064, in 40 seeds
    check(f"{theory} by {sampler}", *trusted(run, expected), 0.0 if is_hard else 0.8, most)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("method", ["estimate 100", "estimate 300", "metropolis 300"])
def test_trusted_rows_of_flows(method):
    name, _, steps = method.partition(" ")
    flow = flow_of(int(steps))
    run = {
        "estimate": lambda: physics.estimate(flow, FREE, 3000),
        "metropolis": lambda: physics.metropolis(flow, FREE, draws=300, warmup=50),
    }[name]
    least = 0.0 if steps == "100" else 0.8  # of that flow, with an ESS of a half, most rows are not to be trusted
    check(method, *trusted(run, exact.free_field(FREE, (4, 4))), least)


def together(family, shape, parameter, between, by_tempering=False):
    """Averages between the couplings of three sets of chains, by all of their fields."""
    low, high = family.ranges[parameter]
    points = low, (low + high) / 2, high
    options = {"draws": 300, "warmup": 60, "every": 1}
    if by_tempering:
        chains = physics.temper(family, (1, *shape), points=points, **options)
    else:
        chains = [physics.hmc((1, *shape), family.at(**{parameter: value}), **options) for value in points]
    return physics.reweight(chains, family.at(**{parameter: between}))


FAMILY = physics.ActionFamily(FREE, mass2=(0.7, 1.4))
HEATED = physics.ActionFamily(physics.XY(), beta=(0.9, 1.5))
BETWEEN = exact.free_field(physics.FreeField(0.85), (4, 4))
BETWEEN["ln Z"] -= physics.FreeField(0.7).log_z((4, 4))
OF_ANGLES = exact.chain_of_angles(1.1, 6)
OF_ANGLES["ln Z"] -= exact.chain_of_angles(0.9, 6)["ln Z"]
BROKEN = phi4(-3.0, 0.25)
BROKEN.is_even = False  # so that chains of one coupling stay in their phase
CASES = {
    "tempering": {
        "phi4, broken": (lambda: physics.temper(BROKEN, (1, 6), draws=500, warmup=100), BROKEN.exact(6)),
        "first order": (lambda: physics.temper(TILTED, (1, 6), draws=300, warmup=100), TILTED.exact(6)),
    },
    "clusters": {
        "ising": (lambda: physics.cluster(ISING, (1, 4, 4), draws=200), THEORIES["ising"][2]),
        "xy": (lambda: physics.cluster(physics.XY(1.2), (1, 6), draws=200), THEORIES["xy"][2]),
        "phi4, broken": (
            lambda: physics.cluster(physics.Phi4(-3.0, 0.25), (1, 6), draws=300), phi4(-3.0, 0.25).exact(6),
        ),
    },
    "several chains": {
        "free": (lambda: together(FAMILY, (4, 4), "mass2", 0.85), BETWEEN),
        "xy": (lambda: together(HEATED, (6,), "beta", 1.1), OF_ANGLES),
        "free, tempered": (lambda: together(FAMILY, (4, 4), "mass2", 0.85, by_tempering=True), BETWEEN),
    },
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("seeds", "most", "most_by_four"),
    [(2, 0.15, 0.0), pytest.param(100, 0.08, 0.007, marks=pytest.mark.slow)],
    ids=["a few seeds", "many seeds"],
)
@pytest.mark.parametrize("sampler", quick_of(CASES, ["clusters"]))
def test_trusted_rows_of_tempering_clusters_and_several_chains(sampler, seeds, most, most_by_four):
    """Rows of all theories together; a few seeds show no more than errors that are too small by a factor."""
    cases = list(CASES[sampler].items())[: 2 if seeds == 2 else None]
    found = [(name, *trusted(measure, expected, seeds)) for name, (measure, expected) in cases]
    for name, pulls, part in found:
        print(f"{name}: {part:.2f} trusted, {[(pulls > n).double().mean().item() for n in (2, 4)]}")
    pulls, parts = torch.cat([pulls for _, pulls, _ in found]), [part for _, _, part in found]
    check(sampler, pulls, sum(parts) / len(parts), 0.7, most, most_by_four)
