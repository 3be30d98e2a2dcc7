"""The two kernels of an accelerated iteration that pass over the state; each program has one block
of one example.
"""

from typing import no_type_check

import triton
import triton.language as tl

from odestab.solver.kernels.judgement import ACT, COPY, ITERATIONS, MIX, RUNS, SAVE, STATUS


@triton.jit
@no_type_check  # the annotations are Triton's: without them a float is passed in single precision
def take_in_pass(
    y,
    image,
    rhs,
    images,
    moves,
    low,
    partial,
    counts,
    n,
    kappa_h: tl.float64,
    omega: tl.float64,
    MEMORY: tl.constexpr,
    DRIFT: tl.constexpr,
    LOW: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """g = κb + κh F(y) + ωy and p = g − y into their rings, and this block's part of every inner
    product.

    An example that has ended is not touched. Without memory g is the next iterate, so that it is
    written there and p not at all.
    """
    example = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1)
    batch = tl.num_programs(0)
    blocks = tl.num_programs(1)
    if tl.load(counts + STATUS * batch + example) != RUNS:
        return
    newest = tl.load(counts + ITERATIONS * batch + example) + 1
    column = block * BLOCK + tl.arange(0, BLOCK)
    inside = column < n
    at = example * n + column
    ring = example * n * (MEMORY + 1) + column
    now = tl.load(y + at, mask=inside, other=0.0)
    dtype = now.dtype
    g = tl.load(rhs + at, mask=inside, other=0.0) + tl.full([], kappa_h, dtype) * tl.load(
        image + at, mask=inside, other=0.0
    ).to(dtype)
    if DRIFT:
        g += tl.full([], omega, dtype) * now
    p = g - now
    earlier = ()  # all loads before the first sum, which the threads of a block wait for
    for age in tl.static_range(MEMORY):
        row = (newest + MEMORY - age) % (MEMORY + 1)
        move = tl.load(moves + ring + row * n, mask=inside & (newest > age), other=0.0)
        earlier = earlier + (move,)  # noqa: RUF005
    tl.store(images + ring + newest % (MEMORY + 1) * n, g, mask=inside)
    if LOW and MEMORY == 0:
        tl.store(low + at, g.to(low.dtype.element_ty), mask=inside)
    part = partial + example * (2 + 2 * MEMORY) * blocks + block
    tl.store(part, tl.sum(p * p))
    tl.store(part + blocks, tl.sum(now * now))
    if MEMORY > 0:
        tl.store(moves + ring + newest % (MEMORY + 1) * n, p, mask=inside)
        latest = tl.where(newest > 0, p - earlier[0], 0.0)
        later = p
        for age in tl.static_range(MEMORY):
            difference = tl.where(newest > age, later - earlier[age], 0.0)
            tl.store(part + (2 + age) * blocks, tl.sum(latest * difference))
            tl.store(part + (2 + MEMORY + age) * blocks, tl.sum(difference * p))
            later = earlier[age]


@triton.jit
@no_type_check
def mix_pass(
    y,
    following,
    images,
    best,
    low,
    alpha,
    counts,
    n,
    MEMORY: tl.constexpr,
    LOW: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The next iterate Σ αᵢ gᵢ, in place of the previous one, which is saved first where it is the
    best.

    Where an example has just ended, its iterate goes into every buffer that takes a turn as the
    iterate; after that it is not touched.
    """
    example = tl.program_id(0).to(tl.int64)
    batch = tl.num_programs(0)
    act = tl.load(counts + ACT * batch + example)
    if act == 0:
        return
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < n
    at = example * n + column
    if act & SAVE != 0:
        tl.store(best + at, tl.load(following + at, mask=inside), mask=inside)
        tl.debug_barrier()  # other threads may write there below
    if act & COPY != 0:
        now = tl.load(y + at, mask=inside)
        tl.store(following + at, now, mask=inside)
        if MEMORY == 0:
            tl.store(images + at, now, mask=inside)
        if LOW:
            tl.store(low + at, now.to(low.dtype.element_ty), mask=inside)
    if MEMORY > 0:  # noqa: SIM102 -- this is known to the compiler, the next is not
        if act & MIX != 0:
            newest = tl.load(counts + ITERATIONS * batch + example)
            ring = images + example * n * (MEMORY + 1) + column
            mixed = tl.zeros([BLOCK], y.dtype.element_ty)
            for age in tl.static_range(MEMORY + 1):
                weight = tl.load(alpha + example * (MEMORY + 1) + age)
                row = (newest + (MEMORY + 1) - age) % (MEMORY + 1)
                end = tl.where(weight != 0.0, n, 0)  # a row without weight costs nothing
                mixed += weight * tl.load(ring + row * n, mask=column < end, other=0.0)
            tl.store(following + at, mixed, mask=inside)
            if LOW:
                tl.store(low + at, mixed.to(low.dtype.element_ty), mask=inside)
