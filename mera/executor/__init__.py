"""The executor: the bijectors of a plan, their contexts, and the passes that run a plan in both directions."""
