"""The stages of an accelerated fixed-point iteration: plain torch, and fused for GPUs."""

from odestab.solver.kernels.choice import Stages, stages
from odestab.solver.kernels.plain import PlainStages
from odestab.solver.kernels.task import Task

__all__ = ["PlainStages", "Stages", "Task", "stages"]
