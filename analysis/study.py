"""A loaded model with a configuration, and what every cell takes from it."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor

import odestab as od
from analysis.cells import CellPlan
from analysis.config import StudyConfig, default_model_folder, numbered
from analysis.ground.identity import file_digest, model_identity
from analysis.ground.json_records import digest_of


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """A loaded model with a configuration.

    Attributes:
        config: the choices.
        encoder: the model.
        tokenizer: its tokenizer.
        max_tokens: the longest text that the model takes.
        identity: sha256 of what else the numbers depend on, by what it is: the model's
            configuration, its tokenizer, the checkpoint whose steps are taken, the file of
            directions.
        weights: sha256 of the encoder's parameters, names included.
        traced: the trajectory of tokens, under a choice of field, and of layers or halves of them;
            those of the last few are kept.
        directions: perturbations of the state that enters the first layer, `(tokens, hidden)`, by
            index of their text.
    """

    config: StudyConfig
    encoder: Any
    tokenizer: Any
    max_tokens: int
    identity: dict[str, str | None]
    weights: str
    traced: Callable[[tuple[str, ...], str | None, bool], od.Trajectory]
    directions: dict[int, Tensor] = dataclasses.field(default_factory=dict)

    @property
    def known_by(self) -> dict[str, str]:
        """What a cell is of, beside its plan: two digests."""
        return {"weights": self.weights, "identity": digest_of(self.identity)}

    def tokenize(self, texts: list[str]) -> Any:
        """A padded batch on the study's device, truncated to what the model takes."""
        return _tokenized(self.tokenizer, texts, self.max_tokens).to(self.config.device)

    def token_counts(self, texts: list[str]) -> list[int]:
        """Tokens of each text before truncation, special ones included."""
        return (
            [len(ids) for ids in self.tokenizer(texts, verbose=False)["input_ids"]] if texts else []
        )

    def trace(self, texts: tuple[str, ...]) -> od.Trajectory:
        """The trajectory of a batch of texts."""
        return self.traced(texts, self.config.field, False)

    def trace_declared(self, texts: tuple[str, ...]) -> od.Trajectory:
        """The same with the fields and steps that the checkpoint declares for each layer."""
        return self.traced(texts, None, False)

    def trace_halves(self, texts: tuple[str, ...]) -> od.Trajectory:
        """The same with two fields a layer, its attention half and its feed-forward half."""
        return self.traced(texts, self.config.field, True)

    def texts(self, plan: CellPlan) -> tuple[str, ...]:
        """The texts of a cell."""
        return tuple(self.config.texts[i] for i in plan.texts)

    def jacobian(self, plan: CellPlan) -> od.Jacobian:
        """The Jacobian of a cell's layer at the states of its texts."""
        assert plan.layer is not None
        trajectory = self.trace(self.texts(plan))
        return od.Jacobian(trajectory.fields[plan.layer], trajectory.states[plan.layer])

    def generator(self, *purpose: object) -> torch.Generator:
        """A generator of its own for each purpose, so that no number depends on the order in which
        cells are measured.
        """
        digest = hashlib.sha256("/".join(map(str, (self.config.seed, *purpose))).encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))

    def noise(self, plan: CellPlan, trajectory: od.Trajectory, count: int) -> Tensor:
        """Standard normal perturbations `(count, batch, tokens, hidden)` of a cell's texts; each
        text's are its own in any chunk.
        """
        like, noise = (
            trajectory.states[0],
            torch.zeros(count, *trajectory.states[0].shape, dtype=trajectory.states[0].dtype),
        )
        for example, (text, real) in enumerate(zip(plan.texts, trajectory.mask.cpu(), strict=True)):
            generator = self.generator("noise", plan.layer, plan.step_size, text)
            noise[:, example, real] = torch.randn(
                count, int(real.sum()), like.shape[2], generator=generator, dtype=like.dtype
            )
        return noise.to(like.device)

    @property
    def work_dtype(self) -> torch.dtype:
        """The precision of Krylov spaces and loose solves; residuals and everything else are in
        that of the study.
        """
        return torch.float32

    def implicit(
        self, step_size: float, rtol: float = 1e-8, diagnose: bool = True
    ) -> od.ImplicitEuler:
        """Implicit Euler with the study's solver tolerance; float32 stops where its rounding does.

        Texts whose solve has ended leave the batch.
        """
        floor = rtol if self.config.dtype == "float64" else max(rtol, 1e-5)
        solver = od.Auto(rtol=floor, compaction=True, diagnose=diagnose)
        return od.ImplicitEuler(step_size, solver=solver)


def load_study(config: StudyConfig, head: bool = False) -> Study:
    """Load the model of a configuration, with a classifier's head if it is asked for.

    Raises:
        ValueError: if the model cannot be loaded or a layer does not exist, or a direction is not
            that of a state.
    """
    model = config.model if config.model is not None else default_model_folder()
    encoder, tokenizer = od.load_encoder(
        model, getattr(torch, config.dtype), config.device, config.steps, head
    )
    known = model_identity(model)
    identity = {
        "model_config": known.config,
        "tokenizer": known.tokenizer,
        "steps_model": None if config.steps is None else model_identity(config.steps).digest,
        "directions_content": None
        if config.directions is None
        else file_digest(Path(config.directions)),
    }
    directions = _directions(config, encoder, required=True)
    return Study(
        config,
        encoder,
        tokenizer,
        tokenizer.model_max_length,
        identity,
        _weights_digest(encoder),
        _tracing(encoder, tokenizer, config.device),
        directions,
    )


def _tokenized(tokenizer: Any, texts: list[str], max_tokens: int) -> Any:
    return tokenizer(
        texts,
        padding=True,
        truncation=True,
        max_length=max_tokens,
        return_attention_mask=True,
        return_tensors="pt",
    )


def _tracing(
    encoder: Any, tokenizer: Any, device: str
) -> Callable[[tuple[str, ...], str | None, bool], od.Trajectory]:
    """`od.trace` of texts."""

    # both sides of an edit, with and without the declared steps
    @functools.lru_cache(maxsize=4)
    def traced(texts: tuple[str, ...], field: str | None, sublayers: bool) -> od.Trajectory:
        batch = _tokenized(tokenizer, list(texts), tokenizer.model_max_length).to(device)
        return od.trace(encoder, batch, field=field, sublayers=sublayers)

    return traced


def study_of(config: StudyConfig) -> Study:
    """A study whose model this process loads once, whatever its texts are."""
    loaded = _loaded(dataclasses.replace(config, texts=("-",), pairs=(), directions=None))
    directions = None if config.directions is None else file_digest(Path(config.directions))
    return dataclasses.replace(
        loaded,
        config=config,
        identity={**loaded.identity, "directions_content": directions},
        directions=_directions(config, loaded.encoder),
    )


_loaded = functools.lru_cache(maxsize=2)(load_study)


def _weights_digest(encoder: Any) -> str:
    digest = hashlib.sha256()
    for name, parameter in sorted(encoder.state_dict().items()):
        digest.update(name.encode() + parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _directions(config: StudyConfig, encoder: Any, required: bool = False) -> dict[int, Tensor]:
    """The perturbations of the texts that have one; where it is required, at least one."""
    if config.directions is None:
        return {}
    try:
        known = load_file(config.directions)
    except SafetensorError as error:
        raise ValueError(
            f"{config.directions}: expected safetensors of directions, got {error}"
        ) from None
    digests = {hashlib.sha256(text.encode()).hexdigest(): i for i, text in numbered(config.texts)}
    found = {digests[name]: value for name, value in known.items() if name in digests}
    if required and not found:
        raise ValueError(
            f"{config.directions}: expected directions by the sha256 of their texts, "
            f"got {len(known)} of other texts"
        )
    hidden = encoder.config.hidden_size
    if wrong := [
        tuple(value.shape)
        for value in found.values()
        if value.ndim != 2 or value.shape[1] != hidden
    ]:
        raise ValueError(
            f"{config.directions}: expected directions of shape (tokens, {hidden}), got {wrong[0]}"
        )
    return {
        i: torch.from_numpy(value).to(config.device, getattr(torch, config.dtype))
        for i, value in found.items()
    }


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A tensor as an array on the host."""
    return tensor.detach().cpu().numpy()


def to_pairs(values: Tensor) -> np.ndarray:
    """Complex numbers with a trailing axis (real, imaginary)."""
    return to_numpy(torch.view_as_real(values))
