"""Perturbations through a whole stack of layers."""
