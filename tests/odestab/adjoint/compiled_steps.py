"""Run by test_transforms.py: a compiled layer inside a step, and a compiled module around one, have
the gradients of plain ones.
"""

import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[3])]

from steps import ImplicitLayer, gradients_of, leaves, relative_gap  # noqa: E402

from odestab.adjoint import ImplicitAdjoint, UnrolledAdjoint  # noqa: E402

torch.set_num_threads(1)
x = leaves()[0].detach()
for adjoint in (ImplicitAdjoint(1e-12), UnrolledAdjoint()):
    plain = gradients_of(ImplicitLayer(adjoint), x)
    around = torch.compile(ImplicitLayer(adjoint), backend="eager")
    for name, module in {
        "a layer": ImplicitLayer(adjoint, "aot_eager"),
        "the step": around,
    }.items():
        torch.compiler.reset()
        gap = relative_gap(gradients_of(module, x), plain)
        assert gap < 1e-11, f"{name}, {adjoint}: gradients differ by {gap:.1e}"
