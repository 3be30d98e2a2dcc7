"""Numerical stability of neural layers seen as steps of a differential equation."""
