"""Markov chains of any kind: leapfrog trajectories, step tuning, diagnostics, and errors of means."""
