"""Layouts, and plans: compiled layouts."""

from mera.graph.compiler import compile
from mera.graph.lattice import Lattice
from mera.graph.layout import Layout, Port
from mera.graph.layout_error import LayoutError
from mera.graph.nodes import Decimate, Input, Latent, Local, Node, Split, Squeeze, check_bijector
from mera.graph.operations import Apply, Cut, Operation, Regroup
from mera.graph.plan import Plan, Step

__all__ = [
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
    "Operation",
    "Plan",
    "Port",
    "Regroup",
    "Split",
    "Squeeze",
    "Step",
    "check_bijector",
    "compile",
]
