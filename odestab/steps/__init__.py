"""One-step methods, their stability functions, and what one step does to perturbations."""
