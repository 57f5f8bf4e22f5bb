"""Solvers: order of convergence, evaluations, precision, and what their names mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from caloforge.matching import (
    EULER,
    MIDPOINT,
    RK4,
    Adaptive,
    Bespoke,
    NonStationary,
    RungeKutta,
    Solver,
    Tableau,
    make_solver,
)

METHODS = {"euler": EULER, "midpoint": MIDPOINT, "rk4": RK4}
FIXED = ["euler-7", "midpoint-3", "rk4-2", "bns-5"]


def untrained(steps: int) -> NonStationary:
    return Bespoke(steps).solver().detached()


TRAINED = {"bns-5": untrained(5)}


class Riccati:
    """dx/dt = -2 c t x^2, of which x(1) = x(0) / (1 + c x(0)) is known; counts its evaluations."""

    def __init__(self) -> None:
        self.n_evaluations = 0

    def __call__(self, x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        assert context is not None
        assert t.shape == x.shape[:1]
        assert t.dtype == x.dtype
        self.n_evaluations += 1
        wide = [-1, *[1] * (x.ndim - 1)]
        return -2 * context.reshape(wide) * t.reshape(wide) * x.square()

    @staticmethod
    def start(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """x(0), shape (6, 2, 3), and c."""
        x = torch.linspace(0.1, 2, 36, dtype=dtype).reshape(6, 2, 3)
        return x, torch.linspace(0.5, 2, 6, dtype=dtype)

    @staticmethod
    def end(x: Tensor, context: Tensor) -> Tensor:
        return x / (1 + context[:, None, None] * x)


def error(solver: Solver, dtype: torch.dtype = torch.float64) -> float:
    x, context = Riccati.start(dtype)
    reached = solver(Riccati(), x, context)
    assert reached.dtype == dtype
    assert reached.shape == x.shape
    return float((reached - Riccati.end(x, context)).abs().max())


def slope(errors: list[float], steps: list[int]) -> float:
    """Of the logarithm of the error over that of the steps."""
    return float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_error_falls_with_the_order_of_the_method(method: str, order: int) -> None:
    steps = [32, 64, 128]
    errors = [error(make_solver(f"{method}-{n}")) for n in steps]
    assert slope(errors, steps) == pytest.approx(order, abs=0.1)


def test_an_untrained_bespoke_solver_is_of_first_order() -> None:
    steps = [32, 64, 128]
    assert slope([error(untrained(n)) for n in steps], steps) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_tableau_integrates_polynomials_of_its_order_exactly(method: str) -> None:
    """Of v = p t^(p - 1) one step gives 1 for every p up to the order, and not beyond."""
    order = {"euler": 1, "midpoint": 2, "rk4": 4}[method]
    for power in range(1, order + 2):
        reached = make_solver(f"{method}-1")(
            lambda x, t, context: power * t[:, None] ** (power - 1),  # noqa: B023
            torch.zeros(1, 1, dtype=torch.float64),
        )
        assert math.isclose(float(reached), 1, rel_tol=1e-12) == (power <= order)


def as_nonstationary(tableau: Tableau, steps: int) -> NonStationary:
    """The same method in the general form: every stage is a step of its own."""
    stages = len(tableau.b)
    n = steps * stages
    b = torch.zeros(n, n, dtype=torch.float64)
    times = torch.tensor(
        [(step + c) / steps for step in range(steps) for c in tableau.c], dtype=torch.float64
    )
    for number in range(1, n + 1):
        step, stage = divmod(number, stages)
        for before in range(step):
            b[number - 1, before * stages : (before + 1) * stages] = torch.tensor(tableau.b)
        if stage:
            b[number - 1, step * stages : number] = torch.tensor(tableau.a[stage])
    return NonStationary(times, torch.ones(n, dtype=torch.float64), b / steps)


@pytest.mark.parametrize("method", METHODS)
def test_nonstationary_form_holds_every_runge_kutta_method(method: str) -> None:
    solver = as_nonstationary(METHODS[method], 4)
    x, context = Riccati.start()
    expected = make_solver(f"{method}-4")(Riccati(), x, context)
    torch.testing.assert_close(solver(Riccati(), x, context), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", FIXED)
def test_evaluations_are_as_many_as_the_solver_says(name: str) -> None:
    field = Riccati()
    solver = make_solver(name, TRAINED)
    solver(field, *Riccati.start())
    assert field.n_evaluations == solver.n_evaluations
    assert solver.n_evaluations == {"euler-7": 7, "midpoint-3": 6, "rk4-2": 8, "bns-5": 5}[name]


def test_adaptive_solver_keeps_its_tolerance_with_as_many_evaluations_as_that_takes() -> None:
    needed = []
    for tolerance in (1e-3, 1e-5, 1e-7):
        field = Riccati()
        x, context = Riccati.start()
        solver = Adaptive(tolerance)
        reached = solver(field, x, context)
        assert float((reached - Riccati.end(x, context)).abs().max()) < 20 * tolerance
        assert solver.n_evaluations is None
        needed.append(field.n_evaluations)
    assert needed[0] < needed[1] < needed[2]


@pytest.mark.parametrize(
    "velocity",
    [
        lambda x, t, context: x**2,  # x(t) = x(0) / (1 - x(0) t) has a pole at t = 1/2
        lambda x, t, context: x * torch.nan,
        lambda x, t, context: torch.full_like(x, torch.inf),
        lambda x, t, context: 1e7 * torch.cos(1e7 * t)[:, None],
    ],
    ids=["pole", "NaN", "infinite", "wild"],
)
def test_a_velocity_that_cannot_be_followed_is_said_to_be_diverged(velocity) -> None:
    with pytest.raises(FloatingPointError, match=r"the training diverged, or .* rk4-20"):
        Adaptive()(velocity, torch.full((2, 1), 2.0))


@pytest.mark.parametrize("name", [*FIXED, "rk4-20", "adaptive"])
def test_single_precision_gives_what_double_precision_gives(name: str) -> None:
    x, context = Riccati.start()
    solver = make_solver(name, TRAINED)
    exact = solver(Riccati(), x, context)
    single = solver(Riccati(), x.float(), context.float())
    assert (exact.dtype, single.dtype) == (torch.float64, torch.float32)
    atol = 1e-4 if name == "adaptive" else 1e-6
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=atol)


@pytest.mark.parametrize("name", [*FIXED, "adaptive"])
def test_a_velocity_in_half_precision_leaves_the_state_in_single(name: str) -> None:
    noise = torch.ones(3, 2)
    reached = make_solver(name, TRAINED)(lambda x, t, context: x.bfloat16(), noise)
    assert reached.dtype == torch.float32


@pytest.mark.parametrize("name", FIXED)
def test_a_result_does_not_depend_on_its_batch(name: str) -> None:
    x, context = Riccati.start()
    solver = make_solver(name, TRAINED)
    whole = solver(Riccati(), x, context)
    alone = [solver(Riccati(), x[i : i + 1], context[i : i + 1]) for i in range(len(x))]
    torch.testing.assert_close(whole, torch.cat(alone), rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", [*FIXED, "adaptive"])
def test_the_start_is_left_as_it_is_and_an_empty_batch_stays_empty(name: str) -> None:
    x, context = Riccati.start()
    kept = x.clone()
    solver = make_solver(name, TRAINED)
    solver(Riccati(), x, context)
    assert torch.equal(x, kept)
    assert solver(Riccati(), x[:0], context[:0]).shape == (0, 2, 3)


def test_names_mean_methods_and_steps() -> None:
    assert make_solver("euler-20") == RungeKutta(EULER, 20)
    assert make_solver("midpoint-10") == RungeKutta(MIDPOINT, 10)
    assert make_solver("rk4-5") == RungeKutta(RK4, 5)
    assert make_solver("adaptive") == Adaptive()
    assert make_solver("bns-5", TRAINED) is TRAINED["bns-5"]


@pytest.mark.parametrize(
    "name",
    ["euler", "euler-0", "rk4-05", "rk4-2.5", "rk5-3", "midpoint--1", "bns-8", "", "Euler-3"],
)
def test_an_unknown_name_is_answered_with_those_that_exist(name: str) -> None:
    with pytest.raises(ValueError, match=r"euler-N, midpoint-N, rk4-N .* adaptive, .* \(bns-5\)"):
        make_solver(name, TRAINED)
    with pytest.raises(ValueError, match=rf"no solver {name!r}.*: .* \(there is none\)"):
        make_solver(name)


def test_coefficients_that_are_no_method_are_refused() -> None:
    with pytest.raises(ValueError, match="rows of 0, 1 entries, got"):
        Tableau(a=((), (0.5, 0.5)), b=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"sum to 1, got 1\.5"):
        Tableau(a=((), (0.5,)), b=(0.5, 1.0))
    with pytest.raises(ValueError, match="1 step or more, got 0"):
        RungeKutta(EULER, 0)
    with pytest.raises(ValueError, match="tolerance must be positive, got 0"):
        Adaptive(0)
    with pytest.raises(ValueError, match=r"\(N,\), \(N,\) and \(N, N\), got \(2,\), \(3,\)"):
        NonStationary(torch.zeros(2), torch.ones(3), torch.ones(3, 3))
