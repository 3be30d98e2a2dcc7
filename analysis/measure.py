"""Measure one cell: odestab over a model and some texts, numbers out."""

import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

import odestab as od
from analysis.cells import CellPlan
from analysis.config import StudyConfig, default_model_folder
from analysis.record import Cell

PATH_RTOL = 1e-10  # of implicit solves on unperturbed paths: differences of 1e-5 are taken between two of them
UNITS = {
    "advantage": "nats",
    "advantage_error": "nats",
    "solve_residual": "RMS of the state's entries",
    "logarithmic_norm": "1/h",
    "eigenvalues": "1/h, (real, imaginary)",
    "spectrum": "1/h, (real, imaginary)",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """A loaded model with a configuration.

    Attributes:
        config: the choices.
        encoder: the model.
        tokenizer: its tokenizer.
        max_tokens: the longest text that the model takes.
        weights: sha256 of the encoder's parameters, names included.
    """

    config: StudyConfig
    encoder: Any
    tokenizer: Any
    max_tokens: int
    weights: str

    def tokenize(self, texts: list[str]) -> Any:
        """A padded batch on the study's device, truncated to what the model takes."""
        batch = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt")
        return batch.to(self.config.device)

    def token_counts(self, texts: list[str]) -> list[int]:
        """Tokens of each text before truncation, special ones included."""
        return [len(ids) for ids in self.tokenizer(texts, verbose=False)["input_ids"]] if texts else []

    @functools.lru_cache(maxsize=4)  # noqa: B019 - a study lives as long as the process
    def trace(self, texts: tuple[str, ...]) -> od.Trajectory:
        """The trajectory of a batch of texts."""
        return od.trace(self.encoder, self.tokenize(list(texts)), field=self.config.field)

    def generator(self, *purpose: object) -> torch.Generator:
        """A generator of its own for each purpose, so that no number depends on the order in which cells are measured."""
        digest = hashlib.sha256("/".join(map(str, (self.config.seed, *purpose))).encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))

    def noise(self, plan: CellPlan, trajectory: od.Trajectory, count: int) -> Tensor:
        """Standard normal perturbations `(count, batch, tokens, hidden)` of a cell's texts; each text's are its own in any chunk."""
        like, noise = trajectory.states[0], torch.zeros(count, *trajectory.states[0].shape, dtype=trajectory.states[0].dtype)
        for example, (text, real) in enumerate(zip(plan.texts, trajectory.mask.cpu(), strict=True)):
            generator = self.generator("noise", plan.layer, plan.step_size, text)
            noise[:, example, real] = torch.randn(count, int(real.sum()), like.shape[2], generator=generator, dtype=like.dtype)
        return noise.to(like.device)

    def implicit(self, step_size: float, rtol: float = 1e-8) -> od.ImplicitEuler:
        """Implicit Euler with the study's solver tolerance; float32 stops where its rounding does."""
        floor = rtol if self.config.dtype == "float64" else max(rtol, 1e-5)
        return od.ImplicitEuler(step_size, solver=od.Auto(rtol=floor))


def load_study(config: StudyConfig) -> Study:
    """Load the model of a configuration.

    Raises:
        ValueError: if the model cannot be loaded or a layer does not exist.
    """
    encoder, tokenizer = od.load_encoder(
        config.model if config.model is not None else default_model_folder(), getattr(torch, config.dtype), config.device
    )
    digest = hashlib.sha256()
    for name, parameter in sorted(encoder.state_dict().items()):
        digest.update(name.encode() + parameter.detach().cpu().numpy().tobytes())
    return Study(config, encoder, tokenizer, _max_tokens(encoder, tokenizer), digest.hexdigest())


def _max_tokens(encoder: Any, tokenizer: Any) -> int:
    """The longest text that both the tokenizer and the encoder take."""
    limit = od.position_limit(encoder)
    return int(tokenizer.model_max_length if limit is None else min(tokenizer.model_max_length, limit))


def measure(study: Study, plan: CellPlan) -> Cell:
    """Measure one cell."""
    kinds = {"layer": layer_cell, "dense": dense_cell, "propagation": propagation_cell, "regions": regions_cell}
    extra, arrays = kinds[plan.kind](study, plan)
    units = {name: UNITS.get(name, "1") for name in arrays}
    header = {**plan.header(), **extra, "units": units, "seed": study.config.seed, "weights": study.weights}
    return Cell(plan.name, header, arrays)


def layer_cell(study: Study, plan: CellPlan) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Leading eigenvalues, logarithmic norm, and for each step size worst and spectral growth, the solve and the advantage."""
    config, layer = study.config, plan.layer
    assert layer is not None
    trajectory = study.trace(tuple(config.texts[i] for i in plan.texts))
    field, x = trajectory.fields[layer], trajectory.states[layer]
    jacobian, generator = od.Jacobian(field, x), study.generator(plan.kind, layer)
    center = field.split
    leading = od.eigenvalues(jacobian, min(config.eigenvalues, min(jacobian.sizes)), rtol=config.rtol, generator=generator, center=center)
    norm = od.logarithmic_norm(jacobian, config.growth_rtol, generator)
    arrays = {
        "eigenvalues": _pairs(leading.values),
        "eigenvalue_residuals": _numpy(leading.residuals),
        "eigenvalue_converged": _numpy(leading.converged),
        "center": np.array([center]),
        "logarithmic_norm": _numpy(norm.values[:, 0]),
        "logarithmic_norm_residual": _numpy(norm.residuals[:, 0]),
        "logarithmic_norm_converged": _numpy(norm.converged[:, 0]),
        **_stability_map(study, leading),
    }
    noise = study.noise(plan, trajectory, config.perturbations)
    steps = [_one_step_size(study, jacobian, leading, h, noise) for h in config.step_sizes]
    return {}, arrays | {name: np.stack([step[name] for step in steps], axis=1) for name in steps[0]}


def _one_step_size(study: Study, jacobian: od.Jacobian, leading: od.Spectrum, h: float, noise: Tensor) -> dict[str, np.ndarray]:
    """Everything about one step of size h."""
    config, field, x = study.config, jacobian.field, jacobian.x
    method = study.implicit(h)
    with torch.no_grad():
        step = method.step(field, x)
    solution = step.solution
    assert solution is not None
    explicit, implicit = od.affine(jacobian, 1.0, h), od.affine(od.Jacobian(field, step.state), 1.0, -h)
    worst = {
        "explicit": od.singular_values(explicit, 1, "LM", config.growth_rtol),
        "implicit": od.singular_values(od.inverse(implicit), 1, "LM", config.growth_rtol),
    }
    advantage = od.damping_advantage(explicit, implicit, noise, solution.converged, 1e-4)
    found = {
        "solve_status": _numpy(solution.status),
        "solve_residual": _numpy(solution.residual),
        "solve_evaluations": _numpy(solution.evaluations),
        "advantage": _numpy(advantage.mean),
        "advantage_error": _numpy(advantage.standard_error),
    }
    for name, one_step in (("explicit", od.ExplicitEuler(h)), ("implicit", method)):
        growth = od.spectral_growth(one_step, leading)
        found |= {f"{name}_spectral": _numpy(growth.value), f"{name}_certain": _numpy(growth.certain)}
        sigma = worst[name]
        solved = sigma.converged[:, 0] & (solution.converged if name == "implicit" else True)
        found |= {f"{name}_worst": _numpy(sigma.values[:, 0]), f"{name}_worst_residual": _numpy(sigma.residuals[:, 0])}
        found |= {f"{name}_worst_converged": _numpy(solved)}
    return found


def _stability_map(study: Study, leading: od.Spectrum) -> dict[str, np.ndarray]:
    """max |R(hλ)| over the map's step sizes from the leading eigenvalues."""
    steps = torch.tensor(study.config.map_step_sizes, dtype=torch.float64)
    found: dict[str, np.ndarray] = {}
    for name, method in (("explicit", od.ExplicitEuler()), ("implicit", od.ImplicitEuler())):
        stable = od.stable_step_sizes(method, leading, steps)
        found |= {f"{name}_map": _numpy(stable.growth), f"{name}_map_certain": _numpy(stable.certain)}
    return found


def dense_cell(study: Study, plan: CellPlan) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The full spectrum of one layer on one short text, and its share outside the lemniscate at each step size."""
    config, layer = study.config, plan.layer
    assert layer is not None
    trajectory = study.trace(tuple(config.texts[i] for i in plan.texts))
    spectrum = od.full_spectrum(od.Jacobian(trajectory.fields[layer], trajectory.states[layer]), config.dense_limit)
    shares = [od.share_outside_lemniscate(spectrum, h, bulk=trajectory.fields[layer].split) for h in config.step_sizes]
    return {}, {
        "spectrum": _pairs(spectrum.values[0]),
        "spectrum_residuals": _numpy(spectrum.residuals[0]),
        "outside": np.array([float(share[0]) for share, _ in shares]),
        "bulk": _numpy(shares[0][1]),
    }


def propagation_cell(study: Study, plan: CellPlan) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Growth of one direction of perturbation at each size through all layers, explicit and implicit, measured and predicted."""
    assert plan.step_size is not None
    if plan.perturbation in ("gaussian", "worst"):
        texts = tuple(study.config.texts[i] for i in plan.texts)
    else:
        texts = tuple(study.config.pairs[i].original for i in plan.texts)
    growths = []
    for method in ("explicit", "implicit"):
        walk = _walk(study, texts, method, plan.step_size)
        deltas = _deltas(study, plan, walk)
        predicted = od.predict(deltas[0], walk.derivatives)  # of one direction: its size does not matter
        growths.append([od.grow(walk.path, delta, predicted, _loosened(study, walk.path, delta)) for delta in deltas])
    names = ("measured", "predicted", "relative", "converged", "size")
    arrays = {name: np.stack([np.stack([_numpy(getattr(growth, name)) for growth in row]) for row in growths]) for name in names}
    return {}, arrays | {"sizes": np.array(_sizes(study.config, plan.perturbation))}


def _loosened(study: Study, path: od.Path, delta: Tensor) -> od.ImplicitEuler | None:
    """Implicit Euler solved 1e-5 below the perturbation's relative size, no tighter than the path itself; None for explicit steps."""
    method = path.methods[0]
    if not isinstance(method, od.ImplicitEuler):
        return None
    relative = delta.flatten(1).norm(dim=1) / path.states[0].flatten(1).norm(dim=1)
    return study.implicit(float(method.step_size), max(PATH_RTOL, 1e-5 * float(relative.min())))


def _sizes(config: StudyConfig, perturbation: str | None) -> tuple[float, ...]:
    """The relative sizes at which a kind of perturbation is applied; NaN where the edit decides."""
    return {"gaussian": config.sizes, "worst": config.sizes[:1]}.get(perturbation or "", (float("nan"),))


@dataclasses.dataclass(frozen=True, eq=False)
class _Walk:
    """A path with its step derivatives, exact and loose ones over the same linearisations."""

    path: od.Path
    derivatives: list[od.AbstractOperator]
    loose: list[od.AbstractOperator]


@functools.lru_cache(maxsize=2)
def _walk(study: Study, texts: tuple[str, ...], method: str, step_size: float) -> _Walk:
    """The path of some texts under one method; neighbouring cells share it."""
    trajectory = study.trace(texts)
    if method == "explicit":
        path = od.follow(trajectory, od.ExplicitEuler(step_size))
        exact = path.derivatives()
        return _Walk(path, exact, exact)
    path = od.follow(trajectory, study.implicit(step_size, PATH_RTOL))
    resolved = [od.affine(od.Jacobian(field, y), 1.0, -step_size) for field, y in zip(trajectory.fields, path.states[1:], strict=True)]
    exact = [od.inverse(operator, 1e-6) for operator in resolved]
    return _Walk(path, exact, [od.inverse(operator, 3e-3) for operator in resolved])


def _deltas(study: Study, plan: CellPlan, walk: _Walk) -> list[Tensor]:
    """The perturbations of a cell: one per size."""
    config, x = study.config, walk.path.states[0]
    if plan.perturbation == "gaussian":
        (noise,) = study.noise(plan, walk.path.trajectory, 1)
        return [od.scaled(noise, x, size) for size in config.sizes]
    if plan.perturbation == "worst":
        direction = od.worst_direction(walk.path, 3 * config.growth_rtol, study.generator(plan.kind), walk.loose).right
        assert direction is not None
        return [od.scaled(direction[:, 0], x, config.sizes[0])]
    edited = study.trace(tuple(config.pairs[i].edited for i in plan.texts))
    return [od.EditPerturbation(edited.states[0]).delta(walk.path)]


def regions_cell(study: Study, plan: CellPlan) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """|R(z)| of both methods, of solvers stopped after k iterations, and |1 − z²|, on one grid of z = hλ."""
    h, k = plan.step_size, study.config.truncated_steps
    assert h is not None
    reach = max(1.0, h)
    re = torch.linspace(-4 * reach, 4 * reach, 321, dtype=torch.float64)
    im = torch.linspace(-3 * reach, 3 * reach, 241, dtype=torch.float64)
    z = od.complex_grid(re, im)
    split = -1.0 if study.config.field == "increment" else 0.0
    descent = od.GradientDescent(steps=k)
    regions = {
        ("explicit", "explicit Euler"): od.stability_region(od.ExplicitEuler(h), re, im),
        ("implicit", "implicit Euler"): od.stability_region(od.ImplicitEuler(h), re, im),
        ("truncated", f"fixed point, k = {k}"): od.truncated_stability_function(od.FixedPoint(), z, h, k, split=split).abs(),
        ("truncated", f"gradient descent, k = {k}, η = {descent.step_size:g}"): od.truncated_stability_function(descent, z, h, k).abs(),
        ("lemniscate", "|1 − z²| = 1"): od.lemniscate(z),
    }
    header = {"regions": [[name, label, h] for name, label in regions]}
    return header, {"re": _numpy(re), "im": _numpy(im), "amplification": np.stack([_numpy(a) for a in regions.values()])}


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _pairs(values: Tensor) -> np.ndarray:
    return _numpy(torch.view_as_real(values))
