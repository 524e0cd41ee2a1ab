"""Valid calls of public functions, from which `tests/test_wrong_calls.py` makes wrong ones."""

from functools import cache

import torch

import mera
from mera import analysis, bijectors, cones, data, drawing, graph, physics, train
from mera.bijectors import ActNorm, Additive, Affine, ChannelHalves, checkerboard

SHAPE = (2, 2, 2)


@cache
def flow():
    torch.manual_seed(0)
    return mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,), norm=False, prior="gaussian")


def mlp(in_shape, out_shape, n_params):
    return bijectors.ResidualMLP(in_shape, out_shape, n_params, hidden=(4,))


def x():
    return torch.randn(2, 1, 4, 4)


def images():
    return torch.zeros(2, 1, 4, 4, dtype=torch.uint8)


def latents():
    return flow()(x())[0]


def window(seed, rows, columns):
    return flow().window(seed, rows, columns)


FREE = physics.FreeField(1.0)
CALLS = {
    "build": (mera.build, lambda: {"name": "rgflow", "L": 4, "m": 2, "channels": 1, "hidden": (4,)}),
    "check": (mera.check, lambda: {"subject": ActNorm(SHAPE)}),
    "Prior": (mera.Prior, lambda: {"distribution": "laplace"}),
    "Layout": (mera.Layout, lambda: {"shape": (4, 4), "channels": 1, "boundary": "open"}),
    "Flow": (mera.Flow, lambda: {"layout": flow().layout, "prior": "laplace", "classes": None}),
    "Symmetrized": (mera.Symmetrized, lambda: {"flow": flow(), "group": "flip"}),
    "save": (mera.save, lambda: {"flow": flow(), "path": "flow.safetensors"}),
    "load": (mera.load, lambda: {"path": "missing.safetensors"}),
    "load_layout": (mera.load_layout, lambda: {"path": "missing.toml"}),
    "save_layout": (mera.save_layout, lambda: {"layout": flow().layout, "path": "layout.toml"}),
    "load_pretrained": (mera.load_pretrained, lambda: {"name": "msds9"}),
    "load_rgflow_checkpoint": (mera.load_rgflow_checkpoint, lambda: {"path": "missing.state"}),
    # a flow
    "flow": (flow().forward, lambda: {"x": x()}),
    "inverse": (flow().inverse, lambda: {"z": latents()}),
    "log_prob": (flow().log_prob, lambda: {"x": x()}),
    "sample": (flow().sample, lambda: {"n": 2, "temperature": 1.0}),
    "bits_per_dim": (flow().bits_per_dim, lambda: {"images": images(), "noise": None}),
    "to_images": (flow().to_images, lambda: {"x": x()}),
    "from_images": (flow().from_images, lambda: {"images": images()}),
    "to_lattice": (flow().to_lattice, lambda: {"z": latents()}),
    "from_lattice": (flow().from_lattice, lambda: {"t": flow().to_lattice(latents())}),
    "window": (window, lambda: {"seed": 0, "rows": (0, 2), "columns": (0, 2)}),
    "flow.inference_cone": (flow().inference_cone, lambda: {"region": torch.eye(4) > 0}),
    "flow.generation_cone": (flow().generation_cone, lambda: {"level": 1, "site": (0, 0)}),
    "restrict": (flow().restrict, lambda: {"x": x()[:1], "mask": torch.eye(4) > 0}),
    "inpaint": (flow().inpaint, lambda: {"x": x()[:1], "mask": torch.eye(4) > 0, "steps": 1, "draws": 4, "sweeps": 0}),
    # cones
    "inference_cone": (cones.inference_cone, lambda: {"plan": flow().plan, "region": torch.eye(4) > 0}),
    "generation_cone": (cones.generation_cone, lambda: {"plan": flow().plan, "level": 1, "site": (0, 0)}),
    "parse_region": (cones.parse_region, lambda: {"text": "1:2,2"}),
    "sites_of": (cones.sites_of, lambda: {"region": [(0, 2), (0, 2)], "lattice": flow().plan.input}),
    # bijectors
    "ActNorm": (bijectors.ActNorm, lambda: {"event_shape": SHAPE, "per_channel": False}),
    "Affine": (bijectors.Affine, lambda: {"max_log_scale": 1.0}),
    "Asinh": (bijectors.Asinh, lambda: {"event_shape": SHAPE}),
    "Autoregressive": (bijectors.Autoregressive, lambda: {"event_shape": SHAPE, "transform": Affine(), "hidden": (4,)}),
    "Chain": (bijectors.Chain, lambda: {"bijectors": [ActNorm(SHAPE)]}),
    "ChannelHalves": (bijectors.ChannelHalves, lambda: {"event_shape": SHAPE}),
    "CircularSpline": (bijectors.CircularSpline, lambda: {"bins": 4}),
    "Coupling": (bijectors.Coupling, lambda: {
        "partition": ChannelHalves(SHAPE), "conditioner": mlp, "transform": Affine()}),
    "Dequantize": (bijectors.Dequantize, lambda: {"levels": 4}),
    "Elementwise": (bijectors.Elementwise, lambda: {"event_shape": SHAPE, "transform": Additive()}),
    "Gather": (bijectors.Gather, lambda: {"mask": checkerboard(SHAPE)}),
    "Masked": (bijectors.Masked, lambda: {"mask": checkerboard(SHAPE)}),
    "BlockSpins": (bijectors.BlockSpins, lambda: {"event_shape": SHAPE, "cell": 2}),
    "DCT": (bijectors.DCT, lambda: {"event_shape": SHAPE, "cell": 2}),
    "Haar": (bijectors.Haar, lambda: {"event_shape": SHAPE}),
    "Invert": (bijectors.Invert, lambda: {"bijector": ActNorm(SHAPE)}),
    "LULinear": (bijectors.LULinear, lambda: {"event_shape": SHAPE, "per_site": True}),
    "LeakyReLU": (bijectors.LeakyReLU, lambda: {"event_shape": SHAPE, "slope": 0.5}),
    "LogisticMixture": (bijectors.LogisticMixture, lambda: {"components": 2, "max_mean": 1.0}),
    "Logit": (bijectors.Logit, lambda: {"constraint": 0.9}),
    "MADE": (bijectors.MADE, lambda: {"n": 3, "n_params": 2, "hidden": (4,), "context": 0}),
    "Orthogonal": (bijectors.Orthogonal, lambda: {"event_shape": SHAPE, "per_site": True, "how": "cayley"}),
    "PatchMLPs": (bijectors.PatchMLPs, lambda: {"in_shape": (4,), "out_shape": (4,), "n_params": 2, "hidden": (4,)}),
    "Permutation": (bijectors.Permutation, lambda: {"event_shape": SHAPE, "order": torch.tensor([1, 0])}),
    "RationalQuadratic": (bijectors.RationalQuadratic, lambda: {"bins": 4, "bound": 2.0, "smallest": 0.5}),
    "ResidualMLP": (bijectors.ResidualMLP, lambda: {
        "in_shape": (2, 2), "out_shape": (2, 2), "n_params": 2, "hidden": (4,), "blocks": 1}),
    "ResidualConv": (bijectors.ResidualConv, lambda: {
        "in_shape": (2, 2), "out_shape": (2, 2), "n_params": 2, "hidden": (4,), "kernel": 3}),
    "Scaled": (bijectors.Scaled, lambda: {"inner": Affine(), "max_log_scale": 1.0}),
    "Spectral": (bijectors.Spectral, lambda: {"event_shape": SHAPE}),
    "Squeezed": (bijectors.Squeezed, lambda: {"event_shape": SHAPE, "make": ActNorm, "stride": 2}),
    "adapt": (bijectors.adapt, lambda: {"obj": torch.distributions.ExpTransform(), "event_shape": SHAPE}),
    "checkerboard": (bijectors.checkerboard, lambda: {"event_shape": SHAPE}),
    "named": (bijectors.named, lambda: {"bijector": "spline", "options": {"bins": 4}}),
    "with_noise": (bijectors.with_noise, lambda: {"x": images(), "noise": torch.rand(2, 1, 4, 4)}),
    "wrap": (bijectors.wrap, lambda: {"angle": torch.randn(3)}),
    # graphs
    "compile": (graph.compile, lambda: {"layout": flow().layout}),
    "to_mermaid": (graph.to_mermaid, lambda: {"layout": flow().layout}),
    "to_graphviz": (graph.to_graphviz, lambda: {"layout": flow().layout}),
    "Lattice": (graph.Lattice, lambda: {"channels": 1, "shape": (4, 4), "periodic": (True, True)}),
    "draw_layout": (drawing.draw_layout, lambda: {"layout": flow().layout, "view": "side", "dimension": -1}),
    "cone_page": (drawing.cone_page, lambda: {"layout": flow().layout, "title": "a"}),
    # analysis
    "resized": (lambda **arguments: flow().resized(**arguments), lambda: {"shape": (8, 4), "levels": 2}),
    "stream": (lambda **arguments: flow().stream(**arguments), lambda: {
        "source": x()[0].numpy(), "out": None, "tile": 4, "seed": 0, "resume": False, "context": None}),
    "update": (lambda **arguments: flow().stream(x()[0].numpy()).store.update(**arguments), lambda: {
        "region": [(0, 2), (1, 3)], "pixels": torch.zeros(1, 2, 2)}),
    "correlation_length": (physics.correlation_length, lambda: {
        "fields": torch.randn(20, 1, 10), "first": 1, "log_weights": torch.zeros(20)}),
    "decompose": (analysis.decompose, lambda: {"flow": flow(), "x": x()}),
    "extents": (analysis.extents, lambda: {"fields": x(), "periodic": (True, True)}),
    "leading": (analysis.leading, lambda: {"flow": flow(), "level": 0, "n": 2, "samples": 2}),
    "mix": (analysis.mix, lambda: {"z_a": latents(), "z_b": latents(), "level": 1}),
    "project": (analysis.project, lambda: {"flow": flow(), "x": x(), "level": 1, "how": "mode"}),
    "receptive_fields": (analysis.receptive_fields, lambda: {"flow": flow(), "latents": [(0, 0, 1, 1)], "samples": 2}),
    "statistics": (analysis.statistics, lambda: {"flow": flow(), "images": images(), "pairs": 4, "seed": 0}),
    "strengths": (analysis.strengths, lambda: {"flow": flow(), "samples": 2, "levels": [1], "reduce": "mean"}),
    "subtree": (analysis.subtree, lambda: {"flow": flow(), "level": 1, "site": (0, 0)}),
    "traverse": (analysis.traverse, lambda: {
        "flow": flow(), "latent": (1, 0, 0, 0), "values": [0.0, 1.0], "z": [level[:1] for level in latents()]}),
    # physics
    "Phi4": (physics.Phi4, lambda: {"mass2": 1.0, "coupling": 0.5, "periodic": True}),
    "FreeField": (physics.FreeField, lambda: {"mass2": 1.0}),
    "ON": (physics.ON, lambda: {"n": 2, "mass2": 1.0}),
    "Ising": (physics.Ising, lambda: {"temperature": 2.0}),
    "XY": (physics.XY, lambda: {"beta": 1.0}),
    "DoubleWell": (physics.DoubleWell, lambda: {"height": 1.0, "position": 1.0}),
    "Observables": (physics.Observables, lambda: {"action": FREE, "own": {}}),
    "estimate": (physics.estimate, lambda: {"flow": flow(), "action": FREE, "n": 20, "batch_size": 10, "fields": x()}),
    "metropolis": (physics.metropolis, lambda: {"flow": flow(), "action": FREE, "chains": 2, "draws": 8, "warmup": 0}),
    "hmc": (physics.hmc, lambda: {"flow": (1, 4), "action": FREE, "chains": 2, "draws": 8, "warmup": 0, "length": 1.0}),
    "cone_monte_carlo": (physics.cone_monte_carlo, lambda: {
        "flow": flow(), "action": FREE, "chains": 2, "sweeps": 8, "warmup": 0, "levels": [1], "trajectories": 1}),
    "gamma_method": (physics.gamma_method, lambda: {"chains": torch.randn(20, 2)}),
    "grow": (physics.grow, lambda: {"flow": flow(), "copy": "fine"}),
    "kaufman": (physics.kaufman, lambda: {"shape": (4, 4), "temperature": 2.0}),
    "make": (physics.make, lambda: {"text": "phi4(mass2=1)"}),
    "pareto_k": (physics.pareto_k, lambda: {"log_weights": torch.randn(200)}),
    "short_run": (physics.short_run, lambda: {"action": FREE, "start": x(), "snapshots": 1, "warmup": 1}),
    # data and training
    "ArrayDataset": (data.ArrayDataset, lambda: {"array": x(), "labels": {"class": torch.zeros(2).long()}}),
    "StreamDataset": (data.StreamDataset, lambda: {"stream": [x()[0]], "shape": (1, 4, 4), "start": 0}),
    "as_splits": (data.as_splits, lambda: {"data": torch.randn(20, 1, 4, 4), "shape": (1, 4, 4)}),
    "class_numbers": (data.class_numbers, lambda: {
        "images": data.ArrayDataset(images(), {"class": torch.zeros(2).long()})}),
    "first": (data.first, lambda: {"images": data.ArrayDataset(images()), "n": 1}),
    "labels": (data.labels, lambda: {"images": data.ArrayDataset(images(), {"a": torch.zeros(2)}), "name": "a"}),
    "load data": (data.load, lambda: {"name": "msds1", "L": 8, "train_size": 2, "test_size": 2}),
    "windows": (data.windows, lambda: {
        "images": [torch.zeros(1, 20, 20), torch.zeros(1, 20, 20)], "L": 4, "test": 0.2, "test_windows": 2,
        "flip": True, "turn": False, "margin": 4}),
    "resize": (data.resize, lambda: {"images": images(), "L": 2}),
    "takes": (data.takes, lambda: {"name": "msds1", "option": "train_size"}),
    "RunFolder": (train.RunFolder, lambda: {"path": "run"}),
    "Settings": (train.Settings, lambda: {"steps": 2, "lr": 1e-3, "keep": "last", "optimizer": "Muon"}),
    "Muon": (train.Muon, lambda: {"params": list(flow().parameters()), "lr": 1e-3, "iterations": 3}),
    "mean bits_per_dim": (train.bits_per_dim, lambda: {
        "flow": flow(), "images": data.ArrayDataset(images()), "n": 2, "batch_size": 2, "seed": 0}),
    "train.sample": (train.sample, lambda: {"flow": flow(), "n": 2, "temperature": 1.0, "seed": 0}),
    "fit": (train.fit, lambda: {
        "flow": mera.build("rgflow", L=4, m=2, channels=1, hidden=(4,)), "data": torch.randn(20, 1, 4, 4), "steps": 1,
        "batch_size": 2, "eval_images": 2, "callbacks": (), "resume": False}),
}  # fmt: skip
"""By name, a function and a maker of keyword arguments with which it works (or finds no file)."""
