"""Actions: their formulas, shares of sites, exact results, and names."""

import math

import pytest
import torch

from mera import physics
from mera.physics import CRITICAL_TEMPERATURE, ON, XY, DoubleWell, FreeField, Ising, Phi4, kaufman
from mera.physics.action import by_direction
from mera.physics.target import laws_of
from tests.physics import exact

SHAPES = [(7,), (4, 6), (3, 4, 5)]


def borders(periodic, shape):
    """Open or periodic in all directions, or periodic in the last one alone."""
    return periodic if isinstance(periodic, bool) else (False,) * (len(shape) - 1) + (True,)


def slow_phi4(phi, mass2, coupling, periodic):
    """The action of one field of one channel, site by site."""
    shape = phi.shape
    total = 0.0
    for index in torch.cartesian_prod(*map(torch.arange, shape)).view(-1, len(shape)).tolist():
        here = phi[tuple(index)].item()
        for axis, n in enumerate(shape):
            if by_direction(periodic, len(shape))[axis] or index[axis] + 1 < n:
                there = phi[tuple((i + (a == axis)) % m for a, (i, m) in enumerate(zip(index, shape, strict=True)))]
                total += (there.item() - here) ** 2 / 2
        total += mass2 / 2 * here**2 + coupling * here**4
    return total


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("periodic", [True, False, "the last"])
def test_phi4_site_by_site(shape, periodic):
    periodic = borders(periodic, shape)
    phi = torch.randn(2, 1, *shape, dtype=torch.float64)
    expected = [slow_phi4(field[0], -0.7, 0.3, periodic) for field in phi]
    torch.testing.assert_close(Phi4(-0.7, 0.3, periodic)(phi), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "action",
    [
        FreeField(0.7), Phi4(-1, 0.5, periodic=False), ON(3), DoubleWell(2.0, 1.5), XY(), Ising(3.0),
        Ising(3.0, local=True),
    ],
    ids=repr,
)  # fmt: skip
def test_what_actions_declare_is_true(action, shape):
    """Such as that S is even, and the sum of the density."""
    laws = laws_of((action.channels, *shape), action, torch.empty(0, dtype=torch.float64))
    assert len(laws) == 8
    for law in laws.values():
        law()
    assert action.density(torch.zeros(3, action.channels, *shape)).shape == (3, *shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_phi4_in_other_conventions(shape):
    """That of lambda, that of hopping parameters, and that of the table of coming_from.md, in D dimensions."""
    phi, D = torch.randn(4, 1, *shape, dtype=torch.float64), len(shape)
    kinetic = sum((phi.roll(1, axis) - phi).square() for axis in range(2, phi.ndim))
    hops = sum(phi * phi.roll(-1, axis) for axis in range(2, phi.ndim))
    kappa, lam, m2 = 0.19, 0.6, -1.3
    hopping = -2 * kappa * hops + phi.square() + lam * (phi.square() - 1).square() - lam
    for action, scale, density in (
        (Phi4(-4, 6.975 / 4), math.sqrt(2), kinetic - 4 * phi.square() + 6.975 * phi**4),
        (Phi4.from_hopping(kappa, lam, dimensions=D), math.sqrt(2 * kappa), hopping),
        (Phi4(mass2=m2, coupling=6 / 24), 1, (m2 / 2 + D) * phi.square() + 6 / 24 * phi**4 - hops),
    ):
        torch.testing.assert_close(action(scale * phi), density.flatten(1).sum(1))
    assert Phi4.from_hopping(0.2705, 0.022).mass2 == pytest.approx(-0.46580, abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("periodic", [True, False, "the last"])
def test_free_field_is_the_gaussian_of_its_hessian(shape, periodic):
    action, n = FreeField(0.9, borders(periodic, shape)), math.prod(shape)
    hessian = torch.autograd.functional.hessian(
        lambda row: action(row.view(1, 1, *shape))[0], torch.zeros(n, dtype=torch.float64)
    )
    expected = n / 2 * math.log(2 * math.pi) - torch.linalg.slogdet(hessian).logabsdet.item() / 2
    assert action.log_z(shape) == pytest.approx(expected, abs=1e-10)
    assert action.phi2(shape) == pytest.approx(hessian.inverse().trace().item() / n, abs=1e-12)


@pytest.mark.parametrize("shape", [(3, 3), (3, 5), (4, 4), (5, 3)])
@pytest.mark.parametrize("temperature", [0.9, CRITICAL_TEMPERATURE, 3.1, 7.0])
def test_kaufman_against_brute_force(shape, temperature):
    assert kaufman(shape, temperature) == pytest.approx(exact.ising(temperature, shape)["ln Z of spins"], abs=1e-9)


@pytest.mark.parametrize("temperature", [0.01, 0.003, 1e-3, 1e-6])
def test_kaufman_at_low_temperatures(temperature):
    """Only the two ordered configurations have weight, of an energy of -2 for each site."""
    expected = 2 * 15 / temperature + math.log(2)
    assert kaufman((3, 5), temperature) == pytest.approx(expected, rel=1e-12)
    local, other = Ising(temperature, local=True), Ising(temperature)
    assert math.isfinite(local.log_z((4, 6)))
    assert math.isfinite(other.log_z((4, 6)))


def test_log_z_of_the_ising_field_by_the_sum_over_spins():
    """The field is a mixture of Gaussians, one for each configuration of spins."""
    shape, temperature = (3, 4), 2.7
    spins = exact.configurations(shape)
    eigenvalues = Ising(temperature).eigenvalues(shape)
    quadratic = (torch.fft.fft2(spins).abs().square() * eigenvalues).flatten(1).sum(1) / 12  # s K s
    gaussian = 6 * math.log(2 * math.pi) + eigenvalues.log().sum().item() / 2
    expected = (quadratic / 2).logsumexp(0).item() + gaussian - 12 * math.log(2)
    assert Ising(temperature).log_z(shape) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("gap", [0.1, 1.3])
def test_the_local_field_of_the_ising_model_is_the_other_one_times_k(gap):
    """phi = K psi; on odd edges the smallest eigenvalue of A, and with it K, is another one."""
    shape, other, local = (4, 6), Ising(2.7, gap=gap), Ising(2.7, local=True, gap=gap)
    psi = torch.randn(5, 1, *shape, dtype=torch.float64)
    eigenvalues = local.eigenvalues(shape)
    assert torch.allclose(eigenvalues, other.eigenvalues(shape))
    assert torch.allclose(local(psi), other(torch.fft.ifft2(torch.fft.fft2(psi) * eigenvalues).real), atol=1e-10)
    assert local.log_z(shape) == pytest.approx(other.log_z(shape) - eigenvalues.log().sum().item(), abs=1e-9)


def test_names_and_texts():
    assert physics.make("phi4(mass2=-4, coupling=1.143)") == Phi4(-4, 1.143)
    assert physics.make("ising") == Ising()
    assert {"phi4", "free", "on", "ising", "double-well"} <= set(physics.names())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Phi4(-1.0, 0.0), "bounded action"),
        (lambda: Phi4(1.0, -1.0), "coupling as a number >= 0; got -1.0"),
        (lambda: Phi4(math.nan), "mass2"),
        (lambda: FreeField(0.0), "a positive mass2, or a positive coupling, for a bounded action; got FreeField"),
        (lambda: Phi4.from_hopping(0.0, 1.0), "kappa as a positive number"),
        (lambda: ON(0), "n"),
        (lambda: DoubleWell(height=-1.0), "height"),
        (lambda: Ising(temperature=0.0), "temperature"),
        (lambda: Phi4().log_z((8, 8)), "ln Z is known; got Phi4"),
        (lambda: Ising().log_z((8,)), "ln Z is known"),
        (lambda: kaufman((2, 4), 2.0), "each at least 3"),
        (lambda: physics.make("phi5"), "phi4"),
        (lambda: physics.make("phi4(mass=1)"), "mass2"),
        (lambda: physics.make("phi4(1)"), "options by name"),
        (lambda: Phi4()(torch.rand(4)), "fields (B, 1, *shape) of Phi4"),
    ],
)
def test_messages(make, message):
    with pytest.raises(ValueError, match="Expected") as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize(("height", "position"), [(0.3, 1.0), (3.0, 1.5), (30.0, 1.0), (1e8, 1.0), (1e10, 1.0)])
def test_log_z_of_double_wells(height, position):
    """Against a fine rule around the wells, and Laplace's approximation where they are sharp."""
    end = (1 + (50 / height) ** 0.5) ** 0.5
    x = torch.linspace(max(0.0, 1 - 60 / (8 * height) ** 0.5), end, 2_000_001, dtype=torch.float64)
    expected = (2 * torch.trapezoid((-height * (x.square() - 1).square()).exp(), x)).log().item()
    error = 1e-6 if height >= 1e8 else 1e-9
    assert DoubleWell(height, position).log_z((2, 3)) == pytest.approx(6 * (math.log(position) + expected), abs=error)
    if height >= 1e8:
        assert expected == pytest.approx(math.log(2 * math.sqrt(math.pi / (4 * height))), abs=1e-6)


@pytest.mark.parametrize("beta", [0.4, 1.5])
def test_the_helicity_modulus_of_a_chain(beta):
    torch.manual_seed(1)
    found = physics.cluster(XY(beta), (1, 6), draws=800, warmup=20).observables["helicity_modulus"]
    assert abs(found.value - exact.chain_of_angles(beta, 6)["helicity_modulus"]) < 4 * found.error < 0.1


def test_an_observable_in_place_leaves_the_chain_as_it_is():
    def measured(own):
        torch.manual_seed(0)
        return physics.hmc((1, 4, 4), FreeField(1.0), draws=10, warmup=5, observables={"own": own}).history["m"]

    in_place, apart = (lambda phi: phi.abs_().mean((1, 2, 3))), (lambda phi: phi.abs().mean((1, 2, 3)))
    assert torch.equal(measured(in_place), measured(apart))


def test_a_lattice_of_one_site():
    chain = physics.hmc((1, 1), DoubleWell(), draws=60)
    assert math.isnan(chain.observables["correlation_length"].error)
    assert chain.observables["m2"].error > 0


def test_what_a_function_declares_is_not_overlooked():
    def action(phi):
        return phi.square().flatten(1).sum(1)

    action.periodic = False
    with pytest.raises(ValueError, match=r"Expected a subclass of mera.physics.Action, to declare periodic"):
        physics.hmc((1, 4), action, draws=20)


@pytest.mark.parametrize("action", [ON(3), Phi4()], ids=repr)
def test_fields_of_other_channels_are_refused(action):
    with pytest.raises(ValueError, match=rf"Expected fields \(B, {action.channels}, \*shape\) of .*; got \(5, 2, 4\)"):
        action(torch.zeros(5, 2, 4))
