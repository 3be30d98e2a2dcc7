"""Stability functions of tableaux: Taylor polynomials and Padé approximants of e^z, their regions,
and the numbers of nodepy.
"""

import math

import pytest
import torch
from problems import DTYPE, EPS
from torch import Tensor

import odestab as od
from odestab.steps.runge_kutta import TABLEAUX

Z = torch.tensor([-1.5 + 2j, 0.3 - 0.2j, -40.0, 7.5j, 0.0], dtype=torch.complex128)
TAYLOR = {  # R = Σ z^k/k! of this degree
    "explicit_euler": 1,
    "heun2": 2,
    "midpoint": 2,
    "ralston2": 2,
    "kutta3": 3,
    "heun3": 3,
    "bogacki_shampine3": 3,
    "rk4": 4,
    "three_eighths": 4,
}
PADE = {  # (degree above, degree below)
    "implicit_euler": (0, 1),
    "implicit_midpoint": (1, 1),
    "trapezoidal": (1, 1),
    "gauss2": (2, 2),
    "gauss3": (3, 3),
    "radau_ia2": (1, 2),
    "radau_iia2": (1, 2),
    "radau_iia3": (2, 3),
    "lobatto_iiia3": (2, 2),
    "lobatto_iiic2": (0, 2),
    "lobatto_iiic3": (1, 3),
}
ORDER = {"fehlberg5": 5, "dormand_prince5": 5, "sdirk2": 2}
# nodepy 1.1.1: `stability_function` of its tableaux at −1.5 + 2i, and, of explicit methods, the
# ends of `real_stability_interval` and `imaginary_stability_interval`. It is right for all of
# these. Of implicit methods it has no intervals (an AttributeError): those are held against
# A-stability below.
NODEPY = {
    "explicit_euler": (-0.5 + 2j, 2.0, 0.0),
    "heun2": (-1.375 - 1j, 2.0, 0.0),
    "midpoint": (-1.375 - 1j, 2.0, 0.0),
    "ralston2": (-1.375 - 1j, 2.0, 0.0),
    "heun3": (1.0625 - 0.08333333333333304j, 2.5127453266183255, 1.7320508075688776),
    "bogacki_shampine3": (1.0625 - 0.08333333333333304j, 2.5127453266183255, 1.7320508075688776),
    "rk4": (-0.3098958333333335 + 0.7916666666666663j, 2.785293563405289, 2.82842712474619),
    "fehlberg5": (-0.1598883213141027 + 0.05755208333333339j, 3.677706621321891, 0.0),
    "dormand_prince5": (
        0.05789062499999997 + 0.24833333333333318j,
        3.3065678926349484,
        0.99718900863253,
    ),
    "implicit_euler": (0.24390243902439027 + 0.19512195121951223j, None, None),
    "gauss2": (-0.12084945559254921 + 0.19868622334203184j, None, None),
    "gauss3": (-0.09287382454402718 + 0.20161961091070754j, None, None),
    "radau_iia2": (-0.08386962839941871 + 0.27569026364957444j, None, None),
    "radau_iia3": (-0.09787906180734944 + 0.20482993569307684j, None, None),
    "lobatto_iiia3": (-0.12084945559254921 + 0.19868622334203184j, None, None),
    "lobatto_iiic2": (0.05879027699265122 + 0.18089315997738836j, None, None),
    "lobatto_iiic3": (-0.08117046499816263 + 0.22064884879777363j, None, None),
}


def exponential_series(z: Tensor, degree: int) -> Tensor:
    return sum(z**k / math.factorial(k) for k in range(degree + 1)) + 0 * z


def pade(z: Tensor, above: int, below: int) -> Tensor:
    """The Padé approximant of e^z (Hairer and Wanner, theorem IV.3.11)."""

    def half(z: Tensor, k: int, j: int) -> Tensor:
        return (
            sum(
                math.comb(k, i) * math.factorial(j + k - i) / math.factorial(j + k) * z**i
                for i in range(k + 1)
            )
            + 0 * z
        )

    return half(z, above, below) / half(-z, below, above)


def size(name: str, z: complex) -> float:
    method = od.runge_kutta(name)
    return method.stability_function(torch.tensor([z], dtype=torch.complex128)).abs().item()


def require_close(found: Tensor, expected: Tensor) -> None:
    # Horner and one solve of at most six stages: some hundred roundings.
    torch.testing.assert_close(found, expected, rtol=1e3 * EPS, atol=1e3 * EPS)


@pytest.mark.parametrize("name", TAYLOR)
def test_as_many_stages_as_its_order_give_the_exponential_series(name: str) -> None:
    method = od.runge_kutta(name)
    assert method.explicit
    require_close(method.stability_function(Z), exponential_series(Z, TAYLOR[name]))


@pytest.mark.parametrize("name", PADE)
def test_collocation_gives_a_pade_approximant(name: str) -> None:
    method = od.runge_kutta(name)
    assert not method.explicit
    require_close(method.stability_function(Z), pade(Z, *PADE[name]))


def test_alexanders_method() -> None:
    # R = (1 + (1 − 2γ)z)/(1 − γz)² (Hairer and Wanner, section IV.6).
    gamma = 1 - math.sqrt(0.5)
    expected = (1 + (1 - 2 * gamma) * Z) / (1 - gamma * Z) ** 2
    require_close(od.runge_kutta("sdirk2").stability_function(Z), expected)


def test_every_name_has_a_closed_form_or_an_order() -> None:
    assert {*TAYLOR, *PADE, *ORDER} == {*TABLEAUX}


@pytest.mark.parametrize("name", ORDER)
def test_the_error_is_of_the_order_of_the_method(name: str) -> None:
    z = torch.tensor([-0.02, -0.04, 0.02j, 0.04j], dtype=torch.complex128)
    error = (od.runge_kutta(name).stability_function(z) - torch.exp(z)).abs()
    orders = torch.log2(error[1::2] / error[::2]) - 1
    torch.testing.assert_close(orders, torch.full_like(orders, ORDER[name]), rtol=0, atol=0.1)


@pytest.mark.parametrize("name", NODEPY)
def test_nodepy_finds_the_same(name: str) -> None:
    value, real, imaginary = NODEPY[name]
    require_close(
        od.runge_kutta(name).stability_function(Z[:1]), torch.tensor([value], dtype=Z.dtype)
    )
    if real is not None:
        # Its bisection ends at 1e-10 or so; beyond the end the method is unstable.
        assert abs(size(name, -real) - 1) < 1e-8 < size(name, -1.001 * real) - 1
    if imaginary:
        assert abs(size(name, 1j * imaginary) - 1) < 1e-8 < size(name, 1.01j * imaginary) - 1


@pytest.mark.parametrize("name", [*PADE, "sdirk2"])
def test_implicit_methods_are_stable_on_the_left(name: str) -> None:
    # Fails with a wrong sign in a tableau: A-stability holds on the imaginary axis and at −∞.
    axis = torch.linspace(0, 50, 501, dtype=DTYPE)
    R = od.runge_kutta(name).stability_function
    assert (R(torch.complex(0 * axis, axis)).abs() <= 1 + 1e3 * EPS).all()
    assert (R(torch.complex(-axis, axis)).abs() <= 1 + 1e3 * EPS).all()
    stiffly_accurate = name.startswith(("implicit_euler", "radau", "lobatto_iiic", "sdirk"))
    assert (size(name, -1e9) < 1e-6) == stiffly_accurate


def test_a_pole_is_infinite_and_raises_nothing() -> None:
    # Fails with an exception of LAPACK's if solve is asked instead of solve_ex.
    re = torch.tensor([1.0, 2.0], dtype=DTYPE)
    region = od.stability_region("implicit_euler", re, re[:1] * 0)
    assert region.tolist() == [[torch.inf, 1.0]]


def test_a_region_is_that_of_any_function() -> None:
    re = torch.linspace(-3, 1, 9, dtype=DTYPE)
    im = torch.linspace(0, 3, 4, dtype=DTYPE)
    expected = od.stability_region("rk4", re, im)
    rk4 = od.runge_kutta("rk4")
    for method in (rk4, rk4.stability_function, lambda z: exponential_series(z, 4)):
        torch.testing.assert_close(od.stability_region(method, re.numpy(), im.numpy()), expected)
    ones = od.stability_region(lambda z: 1.0, re, im)
    assert ones.shape == expected.shape and (ones == 1).all()


@pytest.mark.parametrize(
    ("a", "b", "got"),
    [
        ([[0, 0], [1, 0]], [1], r"\(2, 2\) and \(1,\)"),
        ([0], [1], r"\(1,\) and \(1,\)"),
        ([], [], r"\(0,\) and \(0,\)"),
        ([[math.nan]], [1], "NaN or infinity"),
    ],
)
def test_what_is_no_tableau_is_refused(a: list, b: list, got: str) -> None:
    with pytest.raises(ValueError, match=f"tableau must be .*, got {got}"):
        od.RungeKutta(a, b)


def test_weights_that_do_not_sum_to_one_are_no_method() -> None:
    with pytest.raises(ValueError, match=r"weights b must sum to 1, got 0\.9"):
        od.RungeKutta([[0, 0], [1, 0]], [0.5, 0.4])
    assert od.RungeKutta([[0, 0], [1, 0]], [0.3333333, 0.6666667]).explicit  # as written down


def test_what_is_no_method_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    one = torch.zeros(1)
    with pytest.raises(ValueError, match=r"method must be one of explicit_euler, .*, got 'rk5'"):
        od.stability_region("rk5", one, one)
    for wrong, got in ((od.ExplicitEuler, "ExplicitEuler"), (3.0, "float")):
        with pytest.raises(TypeError, match=f"method must be a one-step method, .*, got {got}"):
            od.stability_region(wrong, one, one)
