"""Sampling and its judgement: Hamiltonian trajectories, annealing, weights, the Gamma method, R-hat, verdicts."""
