"""What the attacks on word embeddings share: batches, what was best so far, and the last check."""

import abc
import dataclasses

import numpy as np
import torch
from torch import Tensor

import odestab as od
from imbert.attack_records import AttackStatistics
from imbert.attacks.attack import AbstractAttack, SearchEnd, Texts
from imbert.attacks.embedding_ball import EmbeddingBall, embedding_ball, mean_row_norm
from imbert.attacks.gradients import differentiable, kind_of_gradient, own_solver, through
from imbert.attacks.losses import Loss, loss
from imbert.data.tasks import Examples
from imbert.model.classifier import Classifier
from imbert.model.solver_log import SolverLog, solver_log, statistics
from imbert.model.stepping_model import stepping


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddedBatch:
    """Examples as word embeddings, and how to ask the model about them.

    Attributes:
        classifier: the model.
        batch: its inputs.
        embeddings: of the tokens `(batch, tokens, hidden)`.
        words: which tokens may be perturbed `(batch, tokens)`.
        labels: the right answers.
        loss: what is made large.
        seeds: of each example.
        referee: the model's own solver, if another one is climbed through; what is wrong must be
            wrong under it too. Such checks are no queries.
    """

    classifier: Classifier
    batch: dict[str, Tensor]
    embeddings: Tensor
    words: Tensor
    labels: Tensor
    loss: Loss
    seeds: list[tuple[int, int]]
    referee: od.AbstractImplicitSolver | None = None

    def take(self, rows: Tensor) -> "EmbeddedBatch":
        """Some of the examples."""
        return dataclasses.replace(
            self,
            batch={name: value[rows] for name, value in self.batch.items()},
            embeddings=self.embeddings[rows],
            words=self.words[rows],
            labels=self.labels[rows],
            seeds=[self.seeds[i] for i in rows.tolist()],
        )

    def evaluate(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """Which examples are wrong at δ, and their losses. What is not finite is no success."""
        with torch.no_grad():
            return self._judge(
                self.classifier.forward_embedded(self.embeddings + delta, self.batch), delta
            )

    def differentiate(self, delta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which examples are wrong at δ, their losses, and the gradients of these in δ, zero
        outside of words.
        """
        at = delta.detach().requires_grad_(True)
        with torch.enable_grad():
            logits = self.classifier.forward_embedded(self.embeddings + at, self.batch)
            total = self.loss(logits, self.labels).sum()
            gradient = (
                torch.autograd.grad(total, at)[0]
                if total.requires_grad
                else torch.zeros_like(delta)
            )
        return *self._judge(logits.detach(), delta), gradient * self.words[:, :, None]

    def _judge(self, logits: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
        values = self.loss(logits, self.labels)
        finite = logits.isfinite().all(dim=1)
        wrong = finite & (logits.argmax(dim=1) != self.labels)
        # an attack through another solver may find what breaks that solver alone
        if self.referee is not None and bool(wrong.any()):
            rows = wrong.nonzero()[:, 0]
            with stepping(self.classifier.model, solver=self.referee):
                wrong[rows] = dataclasses.replace(self.take(rows), referee=None).evaluate(
                    delta[rows]
                )[0]
        return wrong, torch.where(finite, values, -torch.inf)


@dataclasses.dataclass(eq=False)
class Progress:
    """The best perturbation of each example so far.

    Attributes:
        delta: the perturbations, `(batch, tokens, hidden)`.
        loss: their losses.
        first: the losses at the first evaluation.
        wrong: whether the model is wrong there; such examples are finished.
        queries: evaluations of the model.
        not_finite: gradients that had to be left out.
    """

    delta: Tensor
    loss: Tensor
    first: Tensor
    wrong: Tensor
    queries: Tensor
    not_finite: int = 0

    @classmethod
    def begin(cls, like: Tensor) -> "Progress":
        """Nothing found yet."""
        count = len(like)
        losses = torch.full((count,), -torch.inf, dtype=like.dtype, device=like.device)
        wrong = torch.zeros(count, dtype=torch.bool, device=like.device)
        return cls(
            torch.zeros_like(like),
            losses,
            losses.clone(),
            wrong,
            torch.zeros(count, dtype=torch.long, device=like.device),
        )

    @property
    def open(self) -> Tensor:
        """Indices of the examples that are still right."""
        return (~self.wrong).nonzero()[:, 0]

    def see(self, rows: Tensor, delta: Tensor, wrong: Tensor, losses: Tensor) -> Tensor:
        """Take in one evaluation of some open rows; which of them stay open."""
        better = wrong | (losses > self.loss[rows])
        self.first[rows] = torch.where(self.queries[rows] == 0, losses, self.first[rows])
        self.queries[rows] += 1
        self.delta[rows] = torch.where(better[:, None, None], delta, self.delta[rows])
        self.loss[rows] = torch.where(better, losses, self.loss[rows])
        self.wrong[rows] = wrong
        return ~wrong

    def finite(self, gradient: Tensor) -> Tensor:
        """The gradient, zero for an example where it is not finite; these are counted."""
        good = gradient.flatten(1).isfinite().all(dim=1)
        self.not_finite += int((~good).sum())
        return torch.where(good[:, None, None], gradient, torch.zeros_like(gradient))


class AbstractEmbeddingAttack(AbstractAttack):
    """An attack that moves the word embeddings of an example inside a ball.

    Only tokens of the text move: [CLS], [SEP] and padding stay. Of two texts both are perturbed.
    The radius is relative to the mean norm of the model's word embeddings (see `embedding_ball`);
    the record has it absolute too. The position and segment embeddings and the LayerNorm come after
    the perturbation. Success is judged by a last forward pass with the model's own solver.
    """

    norm: str
    radius: float
    loss: str

    @property
    def wanted_gradient(self) -> str | None:
        """Which gradient is climbed; None if none is."""
        return None

    @abc.abstractmethod
    def climb(self, batch: EmbeddedBatch, ball: EmbeddingBall) -> Progress:
        """Look for perturbations with a large loss."""

    def search(
        self, classifier: Classifier, victims: Examples, seeds: list[tuple[int, int]]
    ) -> tuple[list[SearchEnd], AttackStatistics]:
        """Batch by batch, texts of like length together."""
        ball = embedding_ball(classifier, self.norm, self.radius)
        wanted = self.wanted_gradient
        kind = None if wanted is None else kind_of_gradient(classifier, wanted)
        own = own_solver(classifier) if kind == "unrolled" else None
        referee = None if differentiable(own) is own else own
        loss_name, function = loss(self.loss, classifier.labels)
        ends: dict[int, SearchEnd] = {}
        not_finite = 0
        unconfirmed = 0
        log = solver_log(classifier.model)
        # texts of like length share a batch: padding costs queries nothing but time
        order = classifier.by_length(victims.texts)
        for start in range(0, len(order), classifier.batch_size):
            rows = order[start : start + classifier.batch_size]
            texts = [victims.texts[i] for i in rows]
            own_seeds = [seeds[i] for i in rows]
            batch = embedded(classifier, texts, victims.labels[rows], function, own_seeds)
            with through(classifier, kind or "explicit"):
                progress = self.climb(dataclasses.replace(batch, referee=referee), ball)
            confirmed = _confirmed(batch, progress, ball, log)
            not_finite += progress.not_finite
            claimed = zip(progress.wrong.tolist(), confirmed, strict=True)
            unconfirmed += sum(wrong and not end.wrong for wrong, end in claimed)
            ends |= dict(zip(rows, confirmed, strict=True))
        measured = AttackStatistics(
            seconds=0.0,
            absolute_radius=ball.radius,
            mean_row_norm=mean_row_norm(classifier),
            loss=loss_name,
            gradient=kind or "none",
            gradients_not_finite=not_finite,
            unconfirmed=unconfirmed,
            solver=log.summary(),
        )
        return [ends[i] for i in range(len(victims))], measured


def embedded(
    classifier: Classifier,
    texts: list[Texts],
    labels: np.ndarray,
    function: Loss,
    seeds: list[tuple[int, int]] | None = None,
) -> EmbeddedBatch:
    """Texts as an embedded batch."""
    batch = classifier.encode(texts)
    with torch.no_grad():
        embeddings = classifier.embed(batch).detach()
    right = torch.as_tensor(labels, dtype=torch.long, device=embeddings.device)
    return EmbeddedBatch(
        classifier,
        batch,
        embeddings,
        classifier.words(batch),
        right,
        function,
        seeds or [(0, i) for i in range(len(texts))],
    )


def _confirmed(
    batch: EmbeddedBatch, progress: Progress, ball: EmbeddingBall, log: SolverLog
) -> list[SearchEnd]:
    """Ask the model again, under its own solver and with the whole batch."""
    wrong, losses = batch.evaluate(progress.delta)
    log.add(statistics(batch.classifier.model))
    lengths = batch.batch["attention_mask"].sum(dim=1).tolist()
    sizes = ball.size(progress.delta).tolist()
    return [
        SearchEnd(
            wrong=bool(wrong[i]),
            queries=int(progress.queries[i]),
            perturbation=progress.delta[i, : int(lengths[i])].cpu(),
            measured={
                "loss_first": float(progress.first[i]),
                "loss_best": float(losses[i]),
                "size": sizes[i],
            },
        )
        for i in range(len(lengths))
    ]
