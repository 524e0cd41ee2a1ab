"""Networks that condition couplings."""
