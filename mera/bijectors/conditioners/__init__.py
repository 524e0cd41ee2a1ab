"""Networks that condition couplings: the interface, the networks as published, and their faster evaluation."""
