"""Networks that condition couplings: the contract, the plain formulas, and a fast evaluation beside them."""
