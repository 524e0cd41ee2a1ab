"""Layouts, the plans that they compile to, and the executor that runs a plan."""

from mera.graph.actions import Action, Apply, Cut, Regroup
from mera.graph.compiler import compile
from mera.graph.cones import Cone, generation_cone, inference_cone
from mera.graph.executor import event_context, run_forward, run_inverse
from mera.graph.fits import check_bijector
from mera.graph.lattice import Lattice, LayoutError
from mera.graph.layout import Layout, Port
from mera.graph.local_executor import LocalExecutor
from mera.graph.nodes import Decimate, Input, Latent, Local, Node, Split, Squeeze
from mera.graph.pieces import Pieces, localize
from mera.graph.plan import Plan, Step

__all__ = [
    "Action",
    "Apply",
    "Cone",
    "Cut",
    "Decimate",
    "Input",
    "Latent",
    "Lattice",
    "Layout",
    "LayoutError",
    "Local",
    "LocalExecutor",
    "Node",
    "Pieces",
    "Plan",
    "Port",
    "Regroup",
    "Split",
    "Squeeze",
    "Step",
    "check_bijector",
    "compile",
    "event_context",
    "generation_cone",
    "inference_cone",
    "localize",
    "run_forward",
    "run_inverse",
]
