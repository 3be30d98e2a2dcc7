"""What do the leading eigenvalues of a layer cost, beside SciPy's ARPACK?

Side by side in one run, on one layer of the embedded model: the k largest |λ| of the explicit
step's derivative ∂F = I + J for every sentence, by ARPACK with torch.func.jvp one sentence at a
time, by ARPACK on our own product, and by the batched Krylov–Schur. Every answer is checked in the
same way: true residuals, and the set of moduli against a tight reference. Then our cost against n,
batch and k, with the memory that it took, in states (one state is batch × n numbers), and a figure
of it beside the JSON file.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse.linalg
import torch
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from side_by_side import arguments, peak_bytes, publish, seconds, table, trajectory_of_passages
from torch import Tensor

import odestab as od
from figures import style

Pairs = tuple[np.ndarray, np.ndarray]  # eigenvalues (k,), unit eigenvectors (n, k)
DIMENSIONS = (20, 60)  # ARPACK's default for k = 8, and a larger one
AXES = {"sentences": "sentences (batch)", "n": "n = tokens × hidden", "k": "eigenvalues k"}


def main() -> None:
    """Compare on each number of sentences, measure growth, print the tables, write the JSON
    file.
    """
    options = arguments(
        __doc__.split("\n")[0],
        sentences=[8],
        tokens=64,
        layer=2,
        k=8,
        rtol=1e-3,
        peers=1,
        growth=1,
        growth_batch=[1, 2, 4, 8, 16, 32],
        growth_tokens=[8, 16, 32, 64, 128],
        growth_k=[2, 4, 8, 16],
    )
    comparisons = [row for count in options.sentences for row in compare(options, count)]
    print(table(comparisons))
    growth = measure_growth(options) if options.growth else []
    if growth:
        print(table(growth))
    setting = {key: getattr(options, key) for key in ("tokens", "layer", "k", "rtol")}
    path = publish(
        "spectrum_cost",
        {"setting": {**setting, "dtype": "float32"}, "comparisons": comparisons, "growth": growth},
        options,
    )
    print(path)
    if growth:
        style.write(draw(growth), path.with_suffix(".svg"))


def layer_at(
    options: argparse.Namespace, sentences: int, tokens: int, only: int | None = None
) -> tuple[Any, Tensor]:
    """One layer's field and state on some passages."""
    trajectory = trajectory_of_passages(sentences, tokens, torch.float32, options.device, only)
    return trajectory.fields[options.layer], trajectory.states[options.layer]


def step_derivative(field: Any, x: Tensor) -> od.AbstractOperator:
    """∂F = I + J, the derivative of the explicit step of size 1."""
    return od.affine(od.Jacobian(field, x), 1.0, 1.0)


def compare(options: argparse.Namespace, sentences: int) -> list[dict[str, Any]]:
    """All ways in turn on the same sentences."""
    together = layer_at(options, sentences, options.tokens)
    one_by_one = [layer_at(options, sentences, options.tokens, only) for only in range(sentences)]
    operator = step_derivative(*together)
    reference = (
        od.eigenvalues(operator, options.k, rtol=1e-5, max_matvecs=2000)
        .values.abs()
        .sort(dim=1, descending=True)
        .values
    )
    ways: dict[str, Callable[[], tuple[list[Pairs], float]]] = {
        "Krylov–Schur": lambda: ours(options, together, confirm=False),
        "Krylov–Schur, confirmed": lambda: ours(options, together, confirm=True),
    }
    if options.peers:
        for m in DIMENSIONS:
            ways[f"ARPACK(ncv={m}) on our product"] = lambda m=m: arpack(
                options, one_by_one, m, own=True
            )
            ways[f"ARPACK(ncv={m}) with func.jvp"] = lambda m=m: arpack(
                options, one_by_one, m, own=False
            )
    rows: list[dict[str, Any]] = []
    for name, way in ways.items():
        answer: list[tuple[list[Pairs], float]] = []
        spent = seconds(lambda way=way, answer=answer: answer.append(way()), options.device)
        pairs, products = answer[0]
        rows.append(
            {
                "sentences": sentences,
                "way": name,
                "cpu s": spent["cpu"],
                "wall s": spent["wall"],
                "products a sentence": products,
                **checked(operator, pairs, reference, options.rtol),
            }
        )
    for row in rows:
        row["times ours (cpu)"] = row["cpu s"] / rows[0]["cpu s"]
        row["times ours (wall)"] = row["wall s"] / rows[0]["wall s"]
    return rows


def ours(
    options: argparse.Namespace, layer: tuple[Any, Tensor], confirm: bool
) -> tuple[list[Pairs], float]:
    """All sentences at once; the linearisation is part of the cost."""
    found = od.eigenvalues(step_derivative(*layer), options.k, rtol=options.rtol, confirm=confirm)
    assert found.right is not None
    vectors = found.right.flatten(2).mT.cpu().numpy()
    return list(zip(found.values.cpu().numpy(), vectors, strict=True)), float(found.matvecs)


def arpack(
    options: argparse.Namespace, layers: list[tuple[Any, Tensor]], dimension: int, own: bool
) -> tuple[list[Pairs], float]:
    """SciPy's eigs, one sentence at a time; the linearisation of our own product is part of the
    cost.
    """
    found, products = [], 0
    for field, x in layers:
        linear = field.linearize(x).mv if own else None

        def product(
            v: np.ndarray, field: Any = field, x: Tensor = x, linear: Any = linear
        ) -> np.ndarray:
            nonlocal products
            products += 1
            tangent = torch.as_tensor(v.reshape(x.shape)).to(x)
            with torch.no_grad():
                image = (
                    linear(tangent)
                    if linear
                    else torch.func.jvp(field.unsplit, (x,), (tangent,))[1]
                )
            return image.flatten().cpu().numpy()

        n = x.numel()
        start = torch.randn(n, generator=torch.Generator().manual_seed(0)).numpy()
        matrix = scipy.sparse.linalg.LinearOperator((n, n), product, dtype=np.float32)
        found.append(
            scipy.sparse.linalg.eigs(matrix, options.k, ncv=dimension, tol=options.rtol, v0=start)
        )
    return found, products / len(layers)


def checked(
    operator: od.AbstractOperator, pairs: list[Pairs], reference: Tensor, rtol: float
) -> dict[str, Any]:
    """The largest true residual relative to max |λ|, how many pairs are within the tolerance, and
    the largest error of a modulus.
    """
    values = (
        torch.stack([torch.as_tensor(value) for value, _ in pairs])
        .to(torch.complex64)
        .to(operator.like.device)
    )
    vectors = torch.stack([torch.as_tensor(vector.T) for _, vector in pairs]).to(values)
    vectors = vectors / vectors.norm(dim=2, keepdim=True)
    shape = (-1, *operator.like.shape)
    image = torch.complex(
        *(
            operator.mv(part.transpose(0, 1).reshape(shape)).flatten(2)
            for part in (vectors.real, vectors.imag)
        )
    )
    residual = (image.transpose(0, 1) - values[..., None] * vectors).norm(
        dim=2
    ) / values.abs().amax(1, keepdim=True)
    moduli = values.abs().sort(dim=1, descending=True).values
    error = ((moduli - reference).abs() / reference[:, :1]).amax()
    # an estimate ends the search, a true residual is judged
    within = f"{int((residual <= 1.2 * rtol).sum())}/{residual.numel()}"
    return {
        "residual": float(residual.max()),
        "within tolerance": within,
        "error of |λ|": float(error),
    }


def measure_growth(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Our cost against the number of sentences, of tokens (n = tokens × hidden) and of eigenvalues,
    one at a time.
    """
    base = {"sentences": 8, "tokens": options.tokens, "k": options.k}
    points = [("sentences", base | {"sentences": b}) for b in options.growth_batch]
    points += [("n", base | {"tokens": t}) for t in options.growth_tokens] + [
        ("k", base | {"k": k}) for k in options.growth_k
    ]
    rows = []
    for varied, point in points:
        field, x = layer_at(options, point["sentences"], point["tokens"])
        operator = step_derivative(field, x)
        operator.mv(x)  # linearise first: the cost of products and Krylov spaces alone
        answer: list[od.Spectrum] = []

        def run(o=operator, p=point, a=answer) -> None:
            a.append(od.eigenvalues(o, p["k"], rtol=options.rtol, confirm=False))

        spent = seconds(run, options.device)
        found, memory = answer[0], peak_bytes(run, options.device)
        rows.append(
            {
                "varied": varied,
                **point,
                "n": x[0].numel(),
                "cpu s": spent["cpu"],
                "wall s": spent["wall"],
                "products": found.matvecs,
                "converged": f"{int(found.converged.sum())}/{found.converged.numel()}",
                "dimension m": max(40, 3 * point["k"]),
                "peak memory in states": None
                if memory is None
                else memory / (x.numel() * x.element_size()),
            }
        )
    return rows


@style.house()
def draw(rows: list[dict[str, Any]]) -> Any:
    """Seconds against each of n, batch and k: all products and Krylov spaces (points), and what is
    proportional to its last point.
    """
    figure, axes = style.panels(None, 3, 3, height=2.2, sharey=True)
    for ax, (varied, label) in zip(axes, AXES.items(), strict=True):
        points = sorted((row[varied], row["cpu s"]) for row in rows if row["varied"] == varied)
        if points:
            at, spent = np.array(points).T
            ax.plot(
                at,
                spent[-1] * at / at[-1],
                color=style.GUIDE,
                linestyle=style.LEMNISCATE,
                linewidth=1,
                zorder=1,
            )
            ax.plot(at, spent, color=style.INK, marker="o", linewidth=1)
            ax.set(xscale="log", yscale="log", xticks=at)
        ax.set_xlabel(label)
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_formatter(NullFormatter())
    axes[0].set_ylabel("CPU time (s)")
    entries = [
        style.key("measured", style.INK, "o", "-", width=1),
        style.key("proportional", style.GUIDE, line=style.LEMNISCATE, width=1),
    ]
    style.legend(figure, axes, entries, ours=True)
    return figure


if __name__ == "__main__":
    main()
