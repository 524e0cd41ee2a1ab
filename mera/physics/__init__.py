"""Lattice field theory: targets, samplers whose averages are exact, and estimates with errors and verdicts."""

from mera.flow.growth import grow
from mera.physics.action import Action, ActionFamily, make, names, register
from mera.physics.anneal import anneal
from mera.physics.cluster import cluster
from mera.physics.estimate import Estimate, load_chain
from mera.physics.flow_samplers import estimate, metropolis
from mera.physics.hmc import hmc, temper
from mera.physics.ising import CRITICAL_TEMPERATURE, Ising, kaufman
from mera.physics.observables import Observables, Quantity
from mera.physics.record import Record
from mera.physics.reweight import reweight
from mera.physics.sampler import Draw, Sampler, run
from mera.physics.scalar import ON, XY, DoubleWell, FreeField, Phi4
from mera.physics.target import Target
from mera.sampling.diagnostics import GammaResult, gamma_method
from mera.sampling.weights import pareto_k

__all__ = [
    "CRITICAL_TEMPERATURE",
    "ON",
    "XY",
    "Action",
    "ActionFamily",
    "DoubleWell",
    "Draw",
    "Estimate",
    "FreeField",
    "GammaResult",
    "Ising",
    "Observables",
    "Phi4",
    "Quantity",
    "Record",
    "Sampler",
    "Target",
    "anneal",
    "cluster",
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
    "run",
    "temper",
]
