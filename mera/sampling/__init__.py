"""Tools for Markov chains: leapfrog trajectories, step-size tuning, diagnostics, and errors of means."""
