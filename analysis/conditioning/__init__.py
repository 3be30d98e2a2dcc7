"""Which inputs of a classifier are fragile: its conditioning at each of them."""
