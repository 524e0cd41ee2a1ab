"""Lattice field theory: actions, exact results, and samplers whose averages are exact."""

from mera.physics.action import Action
from mera.physics.anneal import Annealed, anneal
from mera.physics.chains import hmc, metropolis
from mera.physics.estimate import Report, estimate
from mera.physics.family import ActionFamily, Slope, make, names, register
from mera.physics.growth import grow
from mera.physics.ising import CRITICAL_TEMPERATURE, Ising, kaufman
from mera.physics.markov_chains import MarkovChains
from mera.physics.measured import Measured
from mera.physics.measurement import load_chain
from mera.physics.observables import Observables, Quantity
from mera.physics.reweight import Reweighted, reweight
from mera.physics.scalar import ON, XY, DoubleWell, FreeField, Phi4
from mera.physics.trajectories import short_run
from mera.physics.verdicts import pareto_k
from mera.sampling.diagnostics import GammaResult, gamma_method

__all__ = [
    "CRITICAL_TEMPERATURE",
    "ON",
    "XY",
    "Action",
    "ActionFamily",
    "Annealed",
    "DoubleWell",
    "FreeField",
    "GammaResult",
    "Ising",
    "MarkovChains",
    "Measured",
    "Observables",
    "Phi4",
    "Quantity",
    "Report",
    "Reweighted",
    "Slope",
    "anneal",
    "estimate",
    "gamma_method",
    "grow",
    "hmc",
    "kaufman",
    "load_chain",
    "make",
    "metropolis",
    "names",
    "pareto_k",
    "register",
    "reweight",
    "short_run",
]
