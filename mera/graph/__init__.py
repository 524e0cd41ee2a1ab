"""Layouts, the plans that layouts compile to, and the code that runs a plan."""

from mera.graph.actions import Action, Apply, Cut, Regroup
from mera.graph.compiler import compile
from mera.graph.errors import LayoutError
from mera.graph.executor import run_forward, run_inverse
from mera.graph.export import to_graphviz, to_mermaid
from mera.graph.lattice import Lattice
from mera.graph.layout import Layout, Port
from mera.graph.nodes import Decimate, Input, Latent, Local, Node, Split, Squeeze
from mera.graph.plan import Plan, Step
from mera.graph.validation import check_bijector

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
    "to_graphviz",
    "to_mermaid",
]
