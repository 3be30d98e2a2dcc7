"""Fine-tuning runs, from a plan to a result."""
