"""Layouts, the plans that they compile to, and the executor that runs a plan."""

from mera.graph.actions import Action, Apply, Cut, Regroup
from mera.graph.compiler import compile
from mera.graph.executor import run_forward, run_inverse
from mera.graph.lattice import Lattice, LayoutError
from mera.graph.layout import Layout, Port
from mera.graph.nodes import Decimate, Input, Latent, Local, Node, Split, Squeeze, check_bijector
from mera.graph.plan import Plan, Step

__all__ = [
    "Action",
    "Apply",
    "Cut",
    "Decimate",
    "Input",
    "Latent",
    "Lattice",
    "Layout",
    "LayoutError",
    "Local",
    "Node",
    "Plan",
    "Port",
    "Regroup",
    "Split",
    "Squeeze",
    "Step",
    "check_bijector",
    "compile",
    "run_forward",
    "run_inverse",
]
