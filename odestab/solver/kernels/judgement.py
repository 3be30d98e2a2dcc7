"""The kernel of an accelerated iteration that decides: one program per example, no pass over the
state.

It does what `Ledger.after` and `mixing.coefficients` do, with all scalars in float64.
"""

from typing import no_type_check

import triton
import triton.language as tl

from odestab.solver.ledger import DIVERGENCE_FACTOR, PROGRESS, RUNNING
from odestab.solver.solution import Status

# Rows of the table of counts, each (batch,).
STATUS, WAITED, ITERATIONS, EVALUATIONS = (tl.constexpr(row) for row in range(4))
CURRENT = tl.constexpr(4)  # whether the iterate is the best one
REMEMBERED = tl.constexpr(5)  # how many differences may be used
ACT = tl.constexpr(6)  # what the next pass over the state does, as a sum of the following
MIX, COPY, SAVE = tl.constexpr(1), tl.constexpr(2), tl.constexpr(4)
COUNTS = 7
# Rows of the table of norms.
NORM, BEST, FIRST = (tl.constexpr(row) for row in range(3))
NORMS = 3

RUNS = tl.constexpr(RUNNING)
CONVERGED, UNSOLVED, STALLED, DIVERGED, NON_FINITE = (
    tl.constexpr(int(status))
    for status in (
        Status.CONVERGED,
        Status.MAX_ITERATIONS,
        Status.STALLED,
        Status.DIVERGED,
        Status.NON_FINITE,
    )
)
LITTLE_LESS, MUCH_MORE = tl.constexpr(PROGRESS), tl.constexpr(DIVERGENCE_FACTOR)


@triton.jit(do_not_specialize=["blocks", "begun", "patience", "period"])
@no_type_check  # the annotations are Triton's: without them a float is passed in single precision
def judge(
    partial,
    root,
    opened,
    counts,
    norms,
    gram,
    alpha,
    blocks,
    begun,
    patience,
    period,
    kappa: tl.float64,
    rtol: tl.float64,
    atol: tl.float64,
    eps: tl.float64,
    ridge: tl.float64,
    drop: tl.float64,
    cap: tl.float64,
    rate: tl.float64,
    growth_limit: tl.float64,
    KEEPS_LAST: tl.constexpr,
    MEMORY: tl.constexpr,
    PADDED: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """Sums the parts in a fixed order, brings the example's account up to date, and finds the
    weights of its next iterate.
    """
    example = tl.program_id(0).to(tl.int64)
    batch = tl.num_programs(0)
    count = counts + example
    number = norms + example
    # An example that has ended keeps its account; the next pass is told to do nothing.
    if tl.load(count + STATUS * batch) != RUNS:
        tl.store(count + ACT * batch, 0)
        return
    mine = partial + example * (2 + 2 * MEMORY) * blocks
    dtype = norms.dtype.element_ty
    length = tl.load(root + example).to(tl.float64)
    of_move, of_iterate = _squares(mine, blocks, CHUNK * PADDED)
    # The numbers of earlier iterations were rounded when they were stored; so is this one.
    norm = _rounded(tl.sqrt(of_move) / length / tl.abs(tl.full([], kappa, tl.float64)), dtype)
    size = _rounded(tl.sqrt(of_iterate) / length, dtype)
    previous = tl.load(number + NORM * batch).to(tl.float64)
    newest = tl.load(count + ITERATIONS * batch) + 1
    begins = newest == 0
    first = tl.where(begins, norm, tl.load(number + FIRST * batch).to(tl.float64))
    best = tl.where(begins, norm, tl.load(number + BEST * batch).to(tl.float64))
    better = begins | (norm < best)
    progress = begins | (norm < best * tl.full([], LITTLE_LESS, tl.float64))
    waited = tl.where(progress, 0, tl.load(count + WAITED * batch) + 1)
    saved = (tl.load(count + CURRENT * batch) != 0) & (better == 0)
    status = _status(
        opened, example, norm, first, atol + rtol * size, waited >= patience, KEEPS_LAST
    )
    tl.store(count + STATUS * batch, status)
    tl.store(count + WAITED * batch, waited)
    tl.store(count + ITERATIONS * batch, newest)
    tl.store(count + EVALUATIONS * batch, newest + begun)
    tl.store(count + CURRENT * batch, better.to(tl.int64))
    tl.store(count + ACT * batch, tl.where(status == RUNS, MIX, COPY) + tl.where(saved, SAVE, 0))
    tl.store(number + NORM * batch, norm.to(dtype))
    tl.store(number + BEST * batch, tl.where(better, norm, best).to(dtype))
    tl.store(number + FIRST * batch, first.to(dtype))
    if MEMORY > 0:
        products, target = _products(
            mine + 2 * blocks,
            gram + example * MEMORY * MEMORY,
            newest,
            blocks,
            MEMORY,
            PADDED,
            CHUNK,
        )
        remembered = tl.where(begins, 0, tl.load(count + REMEMBERED * batch) + 1)
        remembered = tl.where(norm <= growth_limit * best, remembered, 0)
        tl.store(count + REMEMBERED * batch, remembered)
        mixes = (begins == 0) & (newest % period == 0) & (norm > rate * previous)
        usable = tl.where(mixes, remembered, 0)
        _weights(
            products,
            target,
            usable,
            alpha + example * (MEMORY + 1),
            ridge * eps,
            drop * eps,
            cap,
            MEMORY,
            PADDED,
        )


@triton.jit
@no_type_check
def _rounded(number, dtype: tl.constexpr):
    """As it is stored, so that a number compares with those of earlier iterations."""
    return number.to(dtype).to(tl.float64)


@triton.jit
@no_type_check
def _squares(parts, blocks, CHUNK: tl.constexpr):
    """‖p‖² and ‖y‖², summed over the blocks in an order that depends on nothing but their
    number.
    """
    of_move = tl.zeros([CHUNK], tl.float64)
    of_iterate = tl.zeros([CHUNK], tl.float64)
    start = 0
    # Not `range`, whose bound the interpreter of Triton 3.6 cannot read under NumPy 2.4.
    while start < blocks:
        block = start + tl.arange(0, CHUNK)
        of_move += tl.load(parts + block, mask=block < blocks, other=0.0).to(tl.float64)
        of_iterate += tl.load(parts + blocks + block, mask=block < blocks, other=0.0).to(tl.float64)
        start += CHUNK
    return tl.sum(of_move), tl.sum(of_iterate)


@triton.jit
@no_type_check
def _status(opened, example, norm, first, tolerance, waits, KEEPS_LAST: tl.constexpr):
    """`Ledger._judged` of an example that was running; a closed one has ended before the start."""
    status = tl.full([], RUNS, tl.int64)
    finite = tl.abs(norm) < float("inf")  # not for NaN either
    if not KEEPS_LAST:
        status = tl.where(waits, STALLED, status)  # the last to be written is the first to be asked
        status = tl.where(norm > first * tl.full([], MUCH_MORE, tl.float64), DIVERGED, status)
        status = tl.where(finite, status, NON_FINITE)
    status = tl.where(finite & (norm <= tolerance), CONVERGED, status)
    if opened is not None:
        status = tl.where(tl.load(opened + example), status, UNSOLVED)
    return status.to(tl.int64)


@triton.jit
@no_type_check
def _products(
    parts, gram, newest, blocks, MEMORY: tl.constexpr, PADDED: tl.constexpr, CHUNK: tl.constexpr
):
    """The Gram matrix of the differences and their products with the move, newest first; the stored
    matrix is a ring.
    """
    age = tl.arange(0, PADDED)
    real = age < MEMORY
    row = tl.zeros([PADDED, CHUNK], tl.float64)
    target = tl.zeros([PADDED, CHUNK], tl.float64)
    start = 0
    while start < blocks:
        block = start + tl.arange(0, CHUNK)
        at = age[:, None] * blocks + block[None, :]
        inside = real[:, None] & (block < blocks)[None, :]
        row += tl.load(parts + at, mask=inside, other=0.0).to(tl.float64)
        target += tl.load(parts + MEMORY * blocks + at, mask=inside, other=0.0).to(tl.float64)
        start += CHUNK
    newest_row = tl.sum(row, 1)
    # Ages to slots of the ring; + MEMORY, as a remainder of a negative number is negative here.
    slot = (newest - 1 - age + MEMORY) % MEMORY
    slot_of_newest = (newest - 1 + MEMORY) % MEMORY
    older = real & (age > 0)
    matrix = tl.load(
        gram + slot[:, None] * MEMORY + slot[None, :],
        mask=older[:, None] & older[None, :],
        other=0.0,
    )
    matrix = tl.where(
        age[:, None] == 0,
        newest_row[None, :],
        tl.where(age[None, :] == 0, newest_row[:, None], matrix),
    )
    tl.store(gram + slot_of_newest * MEMORY + slot, newest_row, mask=real)
    tl.store(gram + slot * MEMORY + slot_of_newest, newest_row, mask=real)
    return matrix, tl.sum(target, 1)


@triton.jit
@no_type_check
def _weights(
    gram, target, usable, alpha, ridge, drop, cap, MEMORY: tl.constexpr, PADDED: tl.constexpr
):
    """`mixing.coefficients` and `mixing.weights` of the newest differences, as many as are
    usable.
    """
    age = tl.arange(0, PADDED)
    length = tl.sum(tl.where(age[:, None] == age[None, :], gram, 0.0), 1)
    used = (age < usable) & (age < MEMORY) & (length > 0)
    scale = tl.where(used, 1 / tl.sqrt(tl.where(used, length, 1.0)), 0.0)
    rows = tl.where(used[:, None] & used[None, :], scale[:, None] * gram * scale[None, :], 0.0)
    gamma = scale * _solved(rows, tl.where(used, scale * target, 0.0), used, ridge, drop, MEMORY)
    # γ of one age more: a shift, which Triton has only as a sum over a mask.
    older = tl.sum(tl.where(age[:, None] == age[None, :] + 1, gamma[:, None], 0.0), 0)
    leading = tl.sum(tl.where(age == 0, gamma, 0.0))
    within = tl.sum(tl.abs(gamma - older)) + tl.abs(1 - leading) <= cap  # False for NaN as well
    dtype = alpha.dtype.element_ty
    tl.store(alpha, tl.where(within, 1 - leading, 1.0).to(dtype))
    tl.store(alpha + 1 + age, tl.where(within, gamma - older, 0.0).to(dtype), mask=age < MEMORY)


@triton.jit
@no_type_check
def _solved(rows, right, used, ridge, drop, MEMORY: tl.constexpr):
    """Elimination from the newest on, above and below the pivot at once; the first pivot that is
    lost in noise ends it.
    """
    age = tl.arange(0, right.shape[0])
    independent = ridge == ridge
    for k in tl.static_range(MEMORY):
        at_pivot = age == k
        across = tl.sum(tl.where(at_pivot[:, None], rows, 0.0), 0)
        down = tl.sum(tl.where(at_pivot[None, :], rows, 0.0), 1)
        pivot = tl.sum(tl.where(at_pivot, across, 0.0)) + ridge
        unused = tl.sum(tl.where(at_pivot & used, 1, 0)) == 0
        independent = independent & ((pivot > drop + ridge) | unused)
        inverse = tl.where(independent & (unused == 0), 1 / tl.where(independent, pivot, 1.0), 0.0)
        solved = tl.sum(tl.where(at_pivot, right, 0.0)) * inverse
        across *= inverse
        rows = tl.where(at_pivot[:, None], across[None, :], rows - down[:, None] * across[None, :])
        right = tl.where(at_pivot, solved, right - down * solved)
    return right
