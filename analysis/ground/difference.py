"""A primary outcome that is a difference of models under an attack, as a plan writes it."""

from msgspec import UNSET, UnsetType

from analysis.ground.frozen_record import Choice

ROBUST_ACCURACY = "robust accuracy"
EDITS_NEEDED = "edits needed"
MEASURES = (ROBUST_ACCURACY, EDITS_NEEDED)


class Without(Choice, frozen=True):
    """The same two models without the other factor of a 2 × 2.

    Attributes:
        model: the one with the factor that is asked about.
        over: the one without it.
    """

    model: str
    over: str


class Difference(Choice, frozen=True):
    """The table `[question.difference]` of a plan: model − over, on the examples that both have
    right before the attack.

    With `without` it is the interaction of a 2 × 2, (model − over) − (without.model −
    without.over), on the examples that all four have right before.

    Attributes:
        attack: under which the models are compared.
        model: the one that is asked about.
        over: the one that it is compared with.
        measure: of each example, "robust accuracy" or "edits needed".
        without: of a 2 × 2 its other row.

    Raises:
        ValueError: if a model stands twice, or the measure is unknown.

    >>> Difference(attack="words", model="a", over="b").signs
    {'a': 1, 'b': -1}
    """

    attack: str
    model: str
    over: str
    measure: str = ROBUST_ACCURACY
    without: Without | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise ValueError(
                f"question.difference.measure must be one of {', '.join(MEASURES)}, "
                f"got {self.measure!r}"
            )
        for place, name in self.models.items():
            others = [other for key, other in self.models.items() if key != place]
            if name in others:
                raise ValueError(
                    f"question.difference must be of {len(self.models)} different models, "
                    f"got {name!r} twice"
                )

    @property
    def models(self) -> dict[str, str]:
        """The models by their place in the plan."""
        own = {"model": self.model, "over": self.over}
        if isinstance(self.without, UnsetType):
            return own
        return own | {"without.model": self.without.model, "without.over": self.without.over}

    @property
    def signs(self) -> dict[str, int]:
        """With which sign each model counts."""
        return dict(zip(self.models.values(), (1, -1, -1, 1), strict=False))
