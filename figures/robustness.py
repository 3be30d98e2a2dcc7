"""A study of fine-tuned models: accuracy on dev beside accuracy on adversarial texts, and under
each attack, from its plain record.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style, whiskers

MEASURES = {
    "dev": "dev",
    "original": "AdvGLUE\noriginals",
    "adversarial": "AdvGLUE\nadversarial",
    "conditional": "adversarial where\noriginal is right",
}
ATTACKED = {"clean_accuracy": True, "robust_accuracy": False}  # name: whether it is drawn hollow
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "p", "*", "d", "8")
WIDE = 7  # columns, beyond which counts stand closer together
Model = Mapping[str, Any]


@style.house()
def draw(study: Mapping[str, Any], ax: style.Target = None) -> Figure:
    """Per task and size a panel of accuracies on dev and AdvGLUE, and one of accuracies before and
    under each attack where there are any.

    Markers are means over seeds, lines 95 % t intervals (none with one seed), small dots the seeds.
    Where fewer seeds were attacked than trained, n says how many, model by model in the order of
    the markers. Columns of one attack in growing balls ("pgd-0.1", "pgd-0.3") are a ladder: a thin
    line joins the rungs of each model, and each is named by its radius r in mean word norms.

    Args:
        study: the record of a study, as its study.json holds it.
        ax: None for a new figure; else Axes, filled in order.
    """
    groups = study["groups"]
    wide = [
        (group, kind)
        for group in groups
        for kind in ("measures", "attacks")
        if kind == "measures" or _attacks(group["models"])
    ]
    figure, axes = style.panels(ax, len(wide), columns=1, height=2.5, below=0.3)
    for panel, (group, kind) in zip(axes, wide, strict=False):
        (_draw_measures if kind == "measures" else _draw_attacks)(panel, group)
    style.legend(figure, axes, _handles(groups), ax is None, columns=4)
    return figure


def _draw_measures(ax: Axes, group: Mapping[str, Any]) -> None:
    models = group["models"]
    for i, model in enumerate(models):
        x = whiskers.beside(range(len(MEASURES)), i, len(models))
        _points(
            ax,
            x,
            [model["measures"].get(key) for key in MEASURES],
            model,
            MARKERS[i % len(MARKERS)],
            hollow=False,
        )
    _columns(ax, list(MEASURES.values()), group)
    ax.set_title(f"{_title(group)}: mean over seeds and 95 % interval")


def _draw_attacks(ax: Axes, group: Mapping[str, Any]) -> None:
    models, names = group["models"], _attacks(group["models"])
    for i, model in enumerate(models):
        x = whiskers.beside(range(len(names)), i, len(models))
        for key, hollow in ATTACKED.items():
            found = [(model["attacks"].get(name) or {}).get(key) for name in names]
            _points(ax, x, found, model, MARKERS[i % len(MARKERS)], hollow)
        robust = np.array(
            [_mean((model["attacks"].get(name) or {}).get("robust_accuracy")) for name in names]
        )
        for rungs in _ladders(names):
            ax.plot(
                x[rungs],
                robust[rungs],
                color=style.COLOURS[model["role"]],
                linewidth=0.7,
                alpha=0.6,
                zorder=0,
            )
    for place, name in enumerate(names):
        attacked = [
            ((model["attacks"].get(name) or {}).get("clean_accuracy") or {}).get("n", 0)
            for model in models
        ]
        if attacked != [len(model["seeds"]) for model in models]:
            counts = attacked if len(set(attacked)) > 1 else attacked[:1]
            crowded = len(names) > WIDE
            told = f"n = {(',' if crowded else ', ').join(map(str, counts))}"
            ax.text(
                place,
                0.99,
                told,
                ha="center",
                va="top",
                fontsize=5 if crowded else 6,
                color=style.GUIDE,
            )
    _columns(ax, [_caption(name) for name in names], group)
    ax.set_title(f"{_title(group)}: before (hollow) and under each attack, the same examples")


def _caption(name: str) -> str:
    """An attack, and below it the radius of its ball where its record is a rung of a ladder."""
    kind, _, radius = name.partition("-")
    return f"{style.plain(kind)}\nr = {radius}" if radius else style.plain(kind)


def _ladders(names: Sequence[str]) -> list[list[int]]:
    """Columns of each attack that has several radii."""
    kinds = [name.partition("-")[0] for name in names]
    columns = [[i for i, one in enumerate(kinds) if one == kind] for kind in dict.fromkeys(kinds)]
    return [one for one in columns if len(one) > 1]


def _mean(found: Mapping[str, Any] | None) -> float:
    return np.nan if found is None or found["mean"] is None else float(found["mean"])


def _points(
    ax: Axes, x: np.ndarray, found: Sequence[Any], model: Model, marker: str, hollow: bool
) -> None:
    """Means with intervals; what was not measured, or has no interval, is left out."""
    colour = style.COLOURS[model["role"]]
    centre, low, high = (
        np.array([np.nan if one is None or one[key] is None else one[key] for one in found])
        for key in ("mean", "low", "high")
    )
    ax.vlines(
        x,
        np.clip(low, 0, 1),
        np.clip(high, 0, 1),
        color=colour,
        linewidth=1,
        alpha=0.5 if hollow else 1,
    )
    for place, one in zip(x, found, strict=True):
        values = one["values"] if one is not None and not hollow else []
        ax.plot(
            np.full(len(values), place),
            values,
            linestyle="none",
            marker=".",
            markersize=2.5,
            color=style.GUIDE,
            zorder=1,
        )
    ax.plot(
        x,
        centre,
        linestyle="none",
        marker=marker,
        markersize=4.5,
        color=colour,
        markerfacecolor="white" if hollow else colour,
    )


def _columns(ax: Axes, captions: Sequence[str], group: Mapping[str, Any]) -> None:
    """One tick per quantity with faint lines between, and the level of chance."""
    ax.set_xticks(range(len(captions)), captions)
    ax.set_xlim(-0.5, len(captions) - 0.5)
    for between in range(1, len(captions)):
        ax.axvline(between - 0.5, color="#E6E6E6", linewidth=0.6, zorder=-1)
    if group.get("chance") is not None:
        ax.axhline(
            group["chance"], color=style.GUIDE, linewidth=0.8, linestyle=style.LEMNISCATE, zorder=0
        )
        ax.text(
            1.01,
            group["chance"],
            "chance",
            transform=ax.get_yaxis_transform(),
            ha="left",
            va="center",
            fontsize=7,
            color=style.GUIDE,
        )
    ax.set_ylim(0, 1)
    ax.set_ylabel(style.plain(group["metric"]))
    if not any(model["seeds"] for model in group["models"]):
        style.nothing(ax)


def _handles(groups: Sequence[Mapping[str, Any]]) -> list[Artist]:
    """One entry per model, with its number of seeds."""
    entries: dict[str, Artist] = {}
    for group in groups:
        for i, model in enumerate(group["models"]):
            label = f"{style.plain(model['name'])} ({style.counted(len(model['seeds']), 'seed')})"
            entries.setdefault(
                model["name"],
                style.key(label, style.COLOURS[model["role"]], MARKERS[i % len(MARKERS)]),
            )
    return list(entries.values())


def _attacks(models: Sequence[Model]) -> list[str]:
    return list(dict.fromkeys(name for model in models for name in model["attacks"]))


def _title(group: Mapping[str, Any]) -> str:
    return f"{style.plain(group['task'])}, {group['size'] or 'all'} rows"
