"""Deletes guards one by one and runs the tests beside them: `python tests/mutants.py [WORDS]`.

A guard without a problem that breaks without it is a guess. Each row of MUTANTS is one guard: a
file, what stands there, what is put in its place, and the tests that must fail. Everything happens
in a copy. Rows are chosen by words that their file or text holds; without words all are tried. The
exit code is 1 if a mutant survives or a row no longer fits its file. Pytest does not collect this.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
COPIED = ("odestab", "analysis", "figures", "imbert", "tests", "pyproject.toml")
LIMIT_S = 900  # of one run of tests; a mutant that never ends is found by that
KILLED = "killed"
SURVIVED = "SURVIVED"
STALE = "NO LONGER FITS"
BROKEN = "FAILS ANYWAY"


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One guard.

    Attributes:
        file: where it stands.
        guard: its text, once in the file.
        instead: what is put there.
        tests: test files, or tests in them, of which at least one must fail.
    """

    file: str
    guard: str
    instead: str
    tests: tuple[str, ...]


KRYLOV = "tests/odestab/krylov/"
SPECTRUM = "tests/odestab/spectrum/"
OPERATORS = "tests/odestab/operators/"
NONNORMALITY = "tests/odestab/nonnormality/"
STEPS = "tests/odestab/steps/"
PROPAGATION = "tests/odestab/propagation/"
EXPONENTIAL = NONNORMALITY + "test_matrix_exponential.py"
LYAPUNOV = PROPAGATION + "test_lyapunov.py"
SPECTRA = SPECTRUM + "test_spectrum.py"
CHECKED = OPERATORS + "test_checked_linearization.py"
EXTREMA = NONNORMALITY + "test_pseudospectral_extrema.py"
VERDICTS = STEPS + "test_stability.py"
PREDICTED = (
    "tests/analysis/test_prediction.py::test_the_layers_that_meet_all_conditions_are_predicted"
)

MUTANTS = (
    # --- searches that believe themselves
    Mutant(
        "odestab/krylov/krylov_schur.py",
        "good & self.locked & searched & ~better",
        "good & self.locked & ~better",
        (KRYLOV + "test_krylov_schur.py",),
    ),
    Mutant(
        "odestab/krylov/krylov_schur.py",
        "good & (~self.locked | (searched & better))",
        "good & ~self.locked",
        (KRYLOV + "test_krylov_schur.py",),
    ),
    Mutant(
        "odestab/krylov/krylov_schur.py",
        "least = self.wanted.count if locking[example] else keep",
        "least = keep",
        (KRYLOV + "test_krylov_schur.py",),
    ),
    Mutant(
        "odestab/krylov/largest_singular.py",
        "going & (gain > BETTER * wanted.rtol * after[0][:, 0])",
        "going & (gain > torch.inf)",
        (KRYLOV + "test_largest_singular.py",),
    ),
    Mutant(
        "odestab/krylov/largest_singular.py",
        "settled | (going & next_seen & ~better)",
        "settled | (going & ~better)",
        (SPECTRA + "::test_a_space_that_cannot_tell_the_next_value_has_not_converged",),
    ),
    Mutant(
        "odestab/krylov/largest_singular.py",
        "begin, _ = unit(orthogonalize(right, fresh)[0], floor)",
        "begin, _ = unit(orthogonalize(right, fresh)[0])",
        (KRYLOV + "test_largest_singular.py",),
    ),
    Mutant(
        "odestab/krylov/davidson.py",
        "if stalled is not None and basis",
        "if False and basis",
        (SPECTRUM + "test_null_space.py",),
    ),
    Mutant(
        "odestab/spectrum/null_space.py",
        "going & is_null & is_left_null",
        "going",
        (SPECTRUM + "test_null_space.py",),
    ),
    Mutant(
        "odestab/spectrum/inexact.py",
        "(k + 2, 1, largest), SEEN)",
        "(k + 2, 1, largest))",
        (SPECTRUM + "test_inexact.py",),
    ),
    Mutant(
        "odestab/spectrum/eigen.py",
        "singular = lost | ~(gain * size * near < 1)",
        "singular = torch.zeros_like(lost)",
        (SPECTRA + "::test_a_shift_that_is_an_eigenvalue",),
    ),
    # --- scales and rounding
    Mutant(
        "odestab/krylov/davidson.py",
        "torch.where((value <= floor)[..., None], 0.0, left)",
        "left",
        (KRYLOV + "test_davidson.py",),
    ),
    Mutant(
        "odestab/krylov/davidson.py",
        "present & ((size <= rtol * value + floor) | (value <= floor))",
        "present & (size <= rtol * value)",
        (KRYLOV + "test_davidson.py",),
    ),
    Mutant(
        "odestab/krylov/gmres.py",
        "scale = power_of_two(norm(b))[:, None]",
        "scale = torch.ones_like(b[:, :1])",
        (KRYLOV + "test_gmres.py",),
    ),
    Mutant(
        "odestab/krylov/orthogonalization.py",
        "return ~(after > 0.5 * before)",
        "return after != after",
        (KRYLOV + "test_arnoldi.py", KRYLOV + "test_golub_kahan.py"),
    ),
    Mutant(
        "odestab/krylov/ritz.py",
        "ritz = _frozen(done, ritz, extract(factorization))",
        "ritz = extract(factorization)",
        (KRYLOV + "test_ritz.py",),
    ),
    Mutant(
        "odestab/operators/scaling.py",
        "(operator if bool((scale == 1).all()) else scaled(operator, 1 / scale)), scale",
        "operator, torch.ones_like(scale)",
        (
            "tests/odestab/test_every_quantity.py::"
            + "test_what_is_asked_for_at_a_scale_is_found_at_that_scale",
        ),
    ),
    Mutant(
        "odestab/propagation/lyapunov.py",
        "lost = product <= layers + math.log(ROUNDINGS * depth * torch.finfo(logs.dtype).eps)",
        "lost = product == -torch.inf",
        (LYAPUNOV + "::test_layers_that_annihilate_each_other",),
    ),
    # --- products that drift
    Mutant(
        "odestab/operators/checked_linearization.py",
        "cast=cast if own_cast else None",
        "cast=own_cast",
        (CHECKED + "::test_an_operator_that_was_changed_is_still_checked",),
    ),
    Mutant(
        "odestab/operators/checked_linearization.py",
        "take=take if own_take else None",
        "take=own_take",
        (CHECKED + "::test_an_operator_that_was_changed_is_still_checked",),
    ),
    Mutant(
        "odestab/operators/checked_linearization.py",
        " or (self.derived and used == 1)",
        "",
        (CHECKED + "::test_a_cast_or_cut_that_is_not_the_operators_is_told_at_once",),
    ),
    Mutant(
        "odestab/operators/checked_linearization.py",
        "        forward.require_again(candidate.mv, 1)\n",
        "",
        (CHECKED + "::test_what_a_layer_changes_in_place_moves_no_product",),
    ),
    Mutant(
        "odestab/operators/checked_linearization.py",
        "if (gap := self._adjoint_gap(reverse.image)) > self.rtol:",
        "if (gap := 0.0) > self.rtol:",
        (CHECKED + "::test_a_reverse_mode_that_is_not_the_adjoint_is_refused",),
    ),
    Mutant(
        "odestab/operators/jacobian.py",
        "if not torch.equal(own.nan_to_num(), self.x.nan_to_num()):",
        "if False:",
        (CHECKED + "::test_a_function_that_changes_its_input_is_refused_and_the_state_is_left",),
    ),
    # --- exponentials and pseudospectra
    Mutant(
        "odestab/nonnormality/exponential_action.py",
        "torch.maximum(column[:, -1].abs(), (hessenberg[:, -1, -2] * column[:, -2]).abs())",
        "column[:, -1].abs()",
        (
            EXPONENTIAL
            + "::test_a_correction_about_to_change_its_sign_is_not_taken_for_convergence",
        ),
    ),
    Mutant(
        "odestab/nonnormality/exponential_action.py",
        "overtaken = self.growth > OVERTAKEN * size",
        "overtaken = self.growth > torch.inf",
        (EXPONENTIAL + "::test_what_lies_behind_a_tiny_coupling_and_grows_is_found",),
    ),
    Mutant(
        "odestab/nonnormality/matrix_exponential.py",
        "even = balanced(operator)",
        "even = None",
        (EXPONENTIAL + "::test_couplings_that_make_up_for_each_other",),
    ),
    Mutant(
        "odestab/nonnormality/dense_exponential.py",
        "return best if error <= max(rtol, eps**0.5) else np.full_like(a, np.nan)",
        "return best",
        (EXPONENTIAL + "::test_what_the_last_digits_of_a_matrix_decide_is_nan",),
    ),
    Mutant(
        "odestab/nonnormality/pseudospectral_extrema.py",
        "known & searched & told_apart",
        "known & searched",
        (EXTREMA + "::test_below_rounding_an_extremum_is_not_converged",),
    ),
    Mutant(
        "odestab/nonnormality/kreiss.py",
        "triplets.values > 10 * triplets.rounding",
        "triplets.values > 0",
        (NONNORMALITY + "test_kreiss.py",),
    ),
    # --- verdicts
    Mutant(
        "odestab/steps/stability.py",
        "settled & ~boundary",
        "settled",
        (VERDICTS + "::test_rounding_does_not_decide_on_the_boundary",),
    ),
    Mutant(
        "odestab/steps/stability.py",
        "stable = growth <= 1 + _rounding(uncertainty)",
        "stable = growth <= 1",
        (VERDICTS + "::test_rounding_does_not_decide_on_the_boundary",),
    ),
    Mutant(
        "odestab/spectrum/eigen.py",
        "conditions.to(residuals).clamp(min=record.CONDITION)",
        "record.CONDITION",
        (VERDICTS + "::test_the_condition_of_a_ritz_value_decides_what_is_on_the_boundary",),
    ),
    Mutant(
        "odestab/propagation/lyapunov.py",
        "spectrum.converged & solved & above_rounding",
        "spectrum.converged & solved",
        (LYAPUNOV + "::test_an_exponent_that_rounding_made_has_not_converged",),
    ),
    Mutant(
        "odestab/propagation/growth.py",
        "    if not trajectory.states[0].numel():",
        "    if False:",
        (
            "tests/odestab/test_every_step_quantity.py::test_nothing_to_measure_is_refused_in_one_line",
        ),
    ),
    # --- applications
    Mutant(
        "figures/layer_rows.py",
        "abs(self.advantage) > 2 * self.advantage_error",
        "self.advantage != 0",
        ("tests/figures/test_figures_findings.py::test_two_standard_errors_decide_who_damps_more",),
    ),
    Mutant(
        "analysis/prediction/rule.py",
        "(solved[draws].mean(axis=1) >= SOLVED) & (mean > 0)",
        "(mean > 0)",
        (PREDICTED,),
    ),
    Mutant(
        "analysis/prediction/rule.py",
        " & (change <= 0)",
        "",
        (PREDICTED,),
    ),
    Mutant(
        "imbert/data/label_order.py",
        "if names.get(place) != name:",
        "if False:",
        (
            "tests/imbert/test_imbert_label_order.py::test_names_that_contradict_the_task_are_refused",
        ),
    ),
    Mutant(
        "imbert/data/subsets.py",
        "stratified_order(examples, seed, HELD_OUT)",
        "stratified_order(examples, seed)",
        ("tests/imbert/test_imbert_subsets.py",),
    ),
    Mutant(
        "imbert/training/metrics.py",
        "    if unusable:",
        "    if False:",
        ("tests/imbert/test_imbert_metrics.py::test_bad_input",),
    ),
)


def main(words: list[str], part: int, parts: int) -> int:
    """Try the chosen mutants and tell what became of each; 1 if one of them was not killed."""
    chosen = [m for m in MUTANTS if all(word in m.file + m.guard for word in words)][part::parts]
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        for name in COPIED:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, copy / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, copy / name)
        ends = []
        for mutant in chosen:
            ends.append(outcome(mutant, copy))
            tell(f"{ends[-1]:14} {mutant.file}: {mutant.guard.strip()}")
    tell(f"{len(chosen)} mutants, {ends.count(KILLED)} killed")
    return int(ends.count(KILLED) < len(chosen))


def tell(line: str) -> None:
    """A line on the terminal, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def outcome(mutant: Mutant, copy: pathlib.Path) -> str:
    """What becomes of one mutant; the copy is as it was afterwards."""
    path = copy / mutant.file
    if not path.exists() or path.read_text(encoding="utf-8").count(mutant.guard) != 1:
        return STALE
    before = path.read_text(encoding="utf-8")
    path.write_text(before.replace(mutant.guard, mutant.instead), encoding="utf-8")
    tests = [test for test in mutant.tests if (copy / test.split("::")[0]).exists()]
    try:
        failed = first_failure(tests, copy)
    finally:
        path.write_text(before, encoding="utf-8")
    if failed is None:
        return SURVIVED
    # A test that fails without the mutant too has not killed it.
    return BROKEN if failed and first_failure([failed], copy) is not None else KILLED


def first_failure(tests: list[str], copy: pathlib.Path) -> str | None:
    """The first of the tests that fails, "" if they do not end in time, None if all pass."""
    # Without the types at run time, which take longer than most tests.
    untyped = ("-o", "addopts=", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", "-q", "-x", *untyped, *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    try:
        run = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return ""
    named = re.findall(r"^(?:FAILED|ERROR) (\S+?)(?: - .*)?$", run.stdout, re.MULTILINE)
    return named[0] if named else None if run.returncode == 0 else tests[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only rows whose file or guard hold all of these")
    parser.add_argument("--part", type=int, default=0, help="which of the parts, from 0")
    parser.add_argument("--parts", type=int, default=1, help="into how many the rows are dealt")
    options = parser.parse_args()
    sys.exit(main(options.words, options.part, options.parts))
