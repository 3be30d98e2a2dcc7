"""What a model makes of real edits of texts: finite perturbations, layer by layer."""
