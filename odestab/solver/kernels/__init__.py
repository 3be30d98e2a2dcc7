"""The stages of an accelerated fixed-point iteration: plain torch, and fused for GPUs."""

from odestab.solver.kernels.plain import PlainStages

__all__ = ["PlainStages"]
