"""What does an iteration of an implicit layer cost on the device, and what a solve, beside
torchdeq's?

A layer of BERT-base's shape with random weights in bf16, 32 texts of 128 tokens, nothing recorded.
F runs eagerly, compiled, and as a CUDA graph of the compiled one, for ours and for torchdeq alike.
An iteration is the slope between two solves that are stopped. The stages alone are held against the
bytes that they must move. torchdeq's Anderson needs a state in float32; so does ours, which keeps
its own.
"""

import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig, BertModel

import odestab as od
from benchmarks.gpu.part import Choices, Record, choices, halved
from benchmarks.gpu.timing import ceilings, graphed, microseconds, profiled
from odestab.solver import ImplicitEquation
from odestab.solver.kernels import Task, stages
from odestab.solver.ledger import RUNNING
from odestab.solver.mixing import Mixing
from odestab.solver.stopping import Stopping

Function = Callable[[Tensor], Tensor]
FEW, MANY = 4, 12  # iterations of the two solves whose difference is an iteration
# iterations of stages without F that are profiled together; every buffer has its place again after
# two and after three
ALONE = 6
MEMORIES = {"fixed point": 0, "Anderson(3)": 3, "Anderson(5)": 5}
WEIGHTS = {
    "as initialised": 1.0,
    "weights doubled": 2.0,
}  # the second needs about 20 evaluations, as trained layers do
RTOL = 1e-2  # near what rounding in bf16 leaves
MOST = 100  # iterations of a solve that is to converge
TIGHTER, TRIES = (
    0.8,
    8,
)  # by what, and how often, a tolerance is tightened until the true residual is what is asked


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """y = x + F(y) − y for one layer.

    Attributes:
        layer: F.
        x: b, `(batch, tokens, hidden)`.
        device: of both.
    """

    layer: Function
    x: Tensor
    device: str

    def equation(self, form: Function) -> ImplicitEquation:
        """With F in one of its forms."""
        field = od.LayerVectorField(form, kind="increment")
        return ImplicitEquation(field, self.x, 1.0, differentiable=False)


def main(options: Choices) -> None:
    """Ceilings, iterations, stages alone, whole solves."""
    torch.set_grad_enabled(False)
    record = Record(options.record, options.end)
    record.keep("ceilings", ceilings(options.device))
    batch = 2 if options.rehearse else 32
    _, batch = halved(lambda size: iterations(problem(size, options), record), batch)
    record.keep("batch", batch)
    found = problem(batch, options)
    with record.failing("stages"):
        for name, memory in MEMORIES.items():
            record.add("stages", {"": name, **stages_alone(found, memory)})
    for name, factor in WEIGHTS.items():
        found = problem(batch, options, factor)
        for form, function in forms(found, record).items():
            with record.failing(f"solves, {name}, {form}"):
                solves(found, {"layer": name, "form": form, "rtol": RTOL}, function, record)


def problem(batch: int, options: Choices, factor: float = 1.0) -> Problem:
    """Random weights, times a factor, and a random state."""
    torch.manual_seed(0)
    small = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256}
    shape = {"num_hidden_layers": 1, **(small if options.rehearse else {})}
    config = BertConfig(attn_implementation="sdpa", **shape)
    model = BertModel(config, add_pooling_layer=False).eval().requires_grad_(False)
    layer = model.encoder.layer[0].to(options.device, torch.bfloat16)
    for linear in (module for module in layer.modules() if isinstance(module, torch.nn.Linear)):
        linear.weight.mul_(factor)
    x = torch.randn(batch, 8 if options.rehearse else 128, config.hidden_size, dtype=torch.bfloat16)
    return Problem(lambda y: layer(y), x.to(options.device), options.device)


def forms(found: Problem, record: Record) -> dict[str, Function]:
    """F eagerly, compiled, and the compiled one as a graph; a form that fails is left out and
    said.
    """
    on_gpu = found.device.startswith("cuda")
    built: dict[str, Function] = {"eager": found.layer}
    with record.failing("compile"):
        compiled = torch.compile(found.layer, **({} if on_gpu else {"backend": "eager"}))
        compiled(found.x)
        built["compiled"] = compiled
    if on_gpu:
        with record.failing("graph"):
            built["compiled, graph"] = graphed(built.get("compiled", found.layer), found.x)
    return built


def iterations(found: Problem, record: Record) -> None:
    """Every form × engine: microseconds of an iteration, by the clock of the device and inside
    kernels, launches and syncs.
    """
    record.keep("iterations", [])
    for form, function in forms(found, record).items():
        bare = microseconds(lambda function=function: function(found.x), found.device)
        inside = profiled(lambda function=function: function(found.x), found.device)
        record.add("iterations", {"form": form, "engine": "bare F", "us": bare, **inside})
        for name, run in engines(found, function).items():
            with record.failing(f"{name}, {form}"):
                us = (
                    microseconds(lambda run=run: run(MANY), found.device)
                    - microseconds(lambda run=run: run(FEW), found.device)
                ) / (MANY - FEW)
                few, many = (
                    profiled(lambda run=run, k=k: run(k), found.device) for k in (FEW, MANY)
                )
                each = {
                    key: (many[key] - few[key]) / (MANY - FEW)
                    for key in ("kernel us", "launches", "syncs")
                }
                over = {
                    "over bare": us / bare - 1,
                    "kernels over bare": each["kernel us"] / inside["kernel us"] - 1,
                }
                record.add(
                    "iterations",
                    {
                        "form": form,
                        "engine": name,
                        "us": us,
                        **each,
                        **over,
                        "dearest": many["dearest"],
                    },
                )


def engines(found: Problem, function: Function) -> dict[str, Callable[[int], Any]]:
    """Solves that are stopped after k iterations, ours and the peer's."""
    equation = found.equation(function)

    def ours(memory: int) -> Callable[[int], Any]:
        options: dict[str, Any] = {"rtol": 0.0, "keep_last": True}
        make = od.FixedPoint if memory == 0 else lambda **more: od.Anderson(memory=memory, **more)
        return lambda k: make(max_iterations=k, **options).solve(equation, found.x)

    built = {name: ours(memory) for name, memory in MEMORIES.items()}
    for name, (solve, extra) in peers().items():
        built[name] = lambda k, solve=solve, extra=extra: solve(
            resolvent_map(found, function),
            found.x.float(),
            max_iter=k,
            tol=0.0,
            stop_mode="rel",
            **extra,
        )
    return built


def peers() -> dict[str, tuple[Any, dict[str, Any]]]:
    """torchdeq's solvers, where it is installed."""
    if importlib.util.find_spec("torchdeq") is None:
        return {}
    from torchdeq.solver.anderson import anderson_solver
    from torchdeq.solver.fp_iter import fixed_point_iter

    return {
        "torchdeq: fixed point": (fixed_point_iter, {}),
        "torchdeq: Anderson(5)": (anderson_solver, {"m": 5}),
    }


def resolvent_map(found: Problem, function: Function) -> Function:
    """g(y) = (x + F(y))/2 on a state in float32: the same map as ours, a result of its own at every
    call.
    """
    b = found.x.float()
    return lambda y: 0.5 * (b + function(y.to(found.x.dtype)).float())


def stages_alone(found: Problem, memory: int) -> dict[str, float]:
    """An iteration's stages without F: kernel microseconds, the bytes that they must move, and the
    same replayed as a graph with F.
    """
    x, device = found.x.flatten(1), found.device
    image = found.layer(found.x).flatten(1)
    stopping = Stopping(rtol=0.0, keep_last=True)
    root = torch.full((len(x),), x.shape[1] ** 0.5, device=x.device)
    task = Task(0.5 * x.float(), 0.5, 0.5, 0.0, root, Mixing(memory), stopping, None, 1)
    images = [
        image,
        torch.randn_like(image),
    ]  # in turns, so that nothing converges: what has ended costs nothing
    made = stages(task, x.float(), image, x.dtype)

    def iterate() -> None:
        for _ in range(ALONE):
            made.mix()
            images.reverse()
            made.take_in(images[0])

    iterate()
    inside = profiled(iterate, device)
    row = {
        "kernel us": inside["kernel us"] / ALONE,
        "launches": inside["launches"] / ALONE,
        "bytes": traffic(memory, x.numel()),
    }
    row["running"] = int((torch.as_tensor(made.ledger.status) == RUNNING).sum())
    if not device.startswith("cuda"):
        return row
    turns = getattr(made, "turns", 1)  # after so many iterations every buffer has its place again

    def with_layer() -> None:
        for _ in range(turns):
            made.mix()
            made.take_in(found.layer(made.argument.view_as(found.x)).flatten(1))

    made = stages(task, x.float(), image, x.dtype)
    with_layer()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        with_layer()
    torch.cuda.synchronize()
    spent = [
        microseconds(graph.replay, device, 1) / turns for _ in range(2)
    ]  # few: at a fixed point examples end
    return {
        **row,
        "graph with F, us": min(spent),
        "running in the graph": int((made.ledger.status == RUNNING).sum()),
    }


def traffic(memory: int, n: int) -> int:
    """The bytes that the stages of an iteration must move: the state and its rings in float32, F's
    image and argument in bf16.
    """
    take_in = (
        2 + memory + 1 + (memory > 0)
    )  # reads y, b and the moves; writes the image, and the move
    mix = memory + 2 if memory else 0  # reads the images, writes y
    return 4 * n * (take_in + mix) + 2 * n * 2


def solves(found: Problem, about: dict[str, Any], function: Function, record: Record) -> None:
    """Whole solves to one true residual; an engine's tolerance is tightened until it is reached."""
    equation, ways = found.equation(found.layer), whole_solves(found, function)
    for name, way in ways.items():
        tolerance, calls = about["rtol"], [0]
        for _ in range(TRIES):
            reached = true_residual(equation, way(tolerance))
            if reached <= about["rtol"]:
                break
            tolerance *= TIGHTER

        def counted(y: Tensor, calls: list[int] = calls) -> Tensor:
            calls[0] += 1
            return function(y)

        whole_solves(found, counted)[name](tolerance)
        us = microseconds(lambda way=way, tolerance=tolerance: way(tolerance), found.device, 10)
        row = {
            "engine": name,
            "us": us,
            "evaluations": calls[0],
            "residual": reached,
            "arrived": reached <= about["rtol"],
        }
        record.add("solves", {**about, **row})


def whole_solves(found: Problem, function: Function) -> dict[str, Callable[[float], Tensor]]:
    """Every engine: a tolerance ↦ the state.

    Without the stages of `Auto` that differentiate F, which a graph of it cannot be.
    """
    ours = {
        "fixed point": od.FixedPoint(max_iterations=MOST),
        "Anderson(5)": od.Anderson(max_iterations=MOST),
    }
    ways: dict[str, Callable[[float], Tensor]] = {}
    for name, solver in ours.items():
        ways[name] = lambda tol, solver=solver: (
            dataclasses.replace(solver, rtol=tol).solve(found.equation(function), found.x).state
        )
    for name, (solve, extra) in peers().items():
        ways[name] = lambda tol, solve=solve, extra=extra: solve(
            resolvent_map(found, function),
            found.x.float(),
            max_iter=MOST,
            tol=tol,
            stop_mode="rel",
            **extra,
        )[0].to(found.x.dtype)
    return ways


def true_residual(equation: ImplicitEquation, y: Tensor) -> float:
    """The largest RMS(b + h f(y) − y)/RMS(y) over the batch, taken in float32 but for F."""
    f = equation.field.unsplit(y).float() - y.float()
    r = equation.rhs.float() + f - y.float()
    return float((r.flatten(1).norm(dim=1) / y.float().flatten(1).norm(dim=1)).max())


if __name__ == "__main__":
    main(choices())
