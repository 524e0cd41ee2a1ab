"""Exact averages of lattice theories, which several tests compare with."""

import math

import torch
from scipy.special import ive


def configurations(shape):
    """All configurations of spins, (2^n, 1, *shape)."""
    n = math.prod(shape)
    return (2 * ((torch.arange(2**n)[:, None] >> torch.arange(n)) & 1) - 1).double().view(-1, 1, *shape)


def ising(temperature, shape):
    """Averages of the spins over all configurations, and ln Z of the spins."""
    spins, n = configurations(shape), math.prod(shape)
    energy = -sum((spins * spins.roll(1, axis)).flatten(1).sum(1) for axis in (2, 3))
    weight, m = (-energy / temperature).softmax(0), spins.mean((1, 2, 3))
    found = {"abs_m": weight @ m.abs(), "m2": weight @ m**2, "m4": weight @ m**4, "energy": weight @ energy / n}
    found["binder"] = 1 - found["m4"] / (3 * found["m2"] ** 2)
    found["susceptibility"] = n * (found["m2"] - found["abs_m"] ** 2)
    found["specific_heat"] = weight @ (energy - weight @ energy) ** 2 / temperature**2 / n
    found["ln Z of spins"] = (-energy / temperature).logsumexp(0)
    return {"m": 0.0} | {name: value.item() for name, value in found.items()}


def free_field(action, shape):
    """Averages of a periodic free field, by its Fourier modes."""
    eigenvalues, sites = action.eigenvalues(shape), math.prod(shape)
    square = 1 / eigenvalues.flatten()[0].item() / sites
    return {
        "m": 0.0, "m2": square, "m4": 3 * square**2, "abs_m": math.sqrt(2 * square / math.pi), "energy": 0.5,
        "phi2": (1 / eigenvalues).mean().item(), "specific_heat": 0.5, "binder": 0.0,
        "susceptibility": sites * square * (1 - 2 / math.pi), "ln Z": action.log_z(shape),
    }  # fmt: skip


def chain_of_angles(beta, length):
    """ln Z, energy and helicity modulus of an XY chain, from the sum over n of I_n(beta)^L, with a twist cos(n a)."""
    n = torch.arange(-60, 61)
    bessel = [torch.from_numpy(ive(n.numpy() + k, beta)) for k in (-1, 0, 1)]
    weights = bessel[1] ** length / (bessel[1] ** length).sum()
    slope = weights @ ((bessel[0] + bessel[2]) / 2 / bessel[1])
    helicity = length / beta * (weights @ n.double().square())
    return {
        "ln Z": length * (math.log(2 * math.pi) + beta) + (bessel[1] ** length).sum().log().item(),
        "energy": -beta * slope.item(),
        "helicity_modulus": helicity.item(),
    }
