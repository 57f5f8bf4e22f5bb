"""Bespoke solvers: they begin as Euler's, and end better than solvers of as many evaluations."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor, nn

from caloforge.matching import (
    Bespoke,
    BespokeTraining,
    NonStationary,
    Reference,
    TrainedSolver,
    Truncation,
    Velocity,
    follow,
    global_error,
    local_error,
    make_solver,
    train_bespoke,
)

STD = 0.3
QUICK = BespokeTraining(learning_rate=5e-3, iterations=150)
EACH = pytest.mark.parametrize("truncation", ["global", "local"])


def mixture(x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
    """The best velocity towards four Gaussians of width STD on a circle of radius `context`.

    The mean over the Gaussians of the velocity to each, weighted by how probable each is at x.
    """
    assert context is not None
    angle = torch.arange(4, dtype=x.dtype) * math.pi / 2 + 0.3
    centres = context[:, :, None] * torch.stack([angle.cos(), angle.sin()], 1)
    t = t[:, None, None]
    variance = (1 - t) ** 2 + (t * STD) ** 2
    offset = x[:, None] - t * centres
    to_each = centres + (t * STD**2 - (1 - t)) / variance * offset
    weight = (-offset.square().sum(2, keepdim=True) / (2 * variance)).softmax(1)
    return (weight * to_each).sum(1)


def draw(n: int, seed: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Noise, shape (n, 2), and radii, shape (n, 1)."""
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, 2, generator=rng, dtype=dtype)
    return noise, 1.5 + torch.rand(n, 1, generator=rng, dtype=dtype)


@pytest.fixture(scope="module")
def references() -> list[Reference]:
    return follow(mixture, [draw(100, seed) for seed in range(4)])


@pytest.fixture(scope="module")
def trained(references: list[Reference]) -> dict[Truncation, TrainedSolver]:
    return {
        truncation: train_bespoke(mixture, references, 4, truncation=truncation, training=QUICK)
        for truncation in ("global", "local")
    }


# ---------------------------------------------------------------- coefficients


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8, 16, 32])
def test_trainable_parameters_are_as_many_as_published(steps: int) -> None:
    """N (N + 5) / 2 - 1: 17 for N = 4, 51 for N = 8."""
    bespoke = Bespoke(steps)
    n = sum(p.numel() for p in bespoke.parameters() if p.requires_grad)
    assert n == steps * (steps + 5) // 2 - 1
    # every one of them counts
    noise, radius = draw(20, 0, torch.float64)
    loss = bespoke.solver()(mixture, noise, radius).square().sum()
    gradients = torch.autograd.grad(loss, list(bespoke.parameters()))
    assert all((gradient != 0).all() for gradient in gradients)


@pytest.mark.parametrize("steps", [1, 2, 5, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_before_training_it_is_eulers_method(steps: int, dtype: torch.dtype) -> None:
    noise, radius = draw(50, 1, dtype)
    euler = make_solver(f"euler-{steps}")(mixture, noise, radius)
    bespoke = Bespoke(steps).solver().detached()(mixture, noise, radius)
    assert bespoke.dtype == dtype
    torch.testing.assert_close(bespoke, euler, rtol=0, atol=50 * torch.finfo(dtype).eps)


def test_times_rise_from_0_to_1_whatever_the_parameters(generator: torch.Generator) -> None:
    bespoke = Bespoke(8)
    bespoke.distances.data = 3 * torch.randn(7, generator=generator, dtype=torch.float64)
    times = bespoke.solver().times.detach()
    assert float(times[0]) == 0
    assert (times.diff() > 0).all()
    assert float(times[-1]) < 1
    # the last distance is that to 1
    distances = torch.cat([torch.zeros(1, dtype=torch.float64), bespoke.distances]).exp()
    expected = torch.cat([times.diff(), 1 - times[-1:]])
    torch.testing.assert_close((distances / distances.sum()).detach(), expected)


# ---------------------------------------------------------------- errors


def perturbed(steps: int, rng: torch.Generator) -> Bespoke:
    bespoke = Bespoke(steps)
    for parameter in bespoke.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    return bespoke


def test_reference_is_the_midpoint_method(references: list[Reference]) -> None:
    noise, radius = draw(100, 2)
    assert torch.equal(references[2].noise, noise)
    assert torch.equal(references[2].data, make_solver("midpoint-100")(mixture, noise, radius))


def test_moments_are_mean_products_along_the_trajectory() -> None:
    noise, radius = draw(30, 0, torch.float64)
    (reference,) = follow(mixture, [(noise, radius)], steps=10)
    moments = reference.moments
    assert moments.shape == (22, 22)
    torch.testing.assert_close(moments[0, 0], noise.square().mean())
    torch.testing.assert_close(moments[10, 10], reference.data.square().mean())
    first = mixture(noise, torch.zeros(30, dtype=noise.dtype), radius)
    last = mixture(reference.data, torch.ones(30, dtype=noise.dtype), radius)
    torch.testing.assert_close(moments[11, 0], (first * noise).mean())
    torch.testing.assert_close(moments[21, 11], (first * last).mean())


@torch.no_grad()
def test_local_error_is_that_of_equation_17(generator: torch.Generator) -> None:
    """Step by step, with states between those of the reference by a solver of fourth order."""
    noise, radius = draw(64, 3, torch.float64)
    (reference,) = follow(mixture, [(noise, radius)], steps=200)
    solver = perturbed(5, generator).solver()

    def state(t: Tensor) -> Tensor:
        """x_ref(t): the flow of t v(x, t s) over s."""
        return make_solver("rk4-50")(lambda x, s, c: t * mixture(x, t * s, c), noise, radius)

    states = [state(t) for t in [*solver.times, torch.tensor(1.0)]]
    velocities = [
        mixture(x, t.expand(64), radius) for x, t in zip(states[:-1], solver.times, strict=True)
    ]
    expected = 0.0
    for i in range(5):
        step = solver.a[i] * noise
        for j in range(i + 1):
            step = step + solver.b[i, j] * velocities[j]
        expected += float((states[i + 1] - step).square().mean())
    assert float(local_error(solver, reference.moments)) == pytest.approx(expected, rel=2e-3)


@EACH
def test_gradients_of_the_errors_are_exact(
    truncation: Truncation, generator: torch.Generator
) -> None:
    noise, radius = draw(10, 0, torch.float64)
    (reference,) = follow(mixture, [(noise, radius)], steps=20)
    bespoke = perturbed(3, generator)

    def error(*values: Tensor) -> Tensor:
        parameters = dict(zip(("a", "b", "distances"), values, strict=True))
        solver = torch.func.functional_call(Solver(bespoke), parameters, ())
        if truncation == "local":
            return local_error(solver, reference.moments)
        return global_error(solver, mixture, reference)

    assert torch.autograd.gradcheck(error, tuple(bespoke.parameters()), eps=1e-6, atol=1e-6)


class Solver(nn.Module):
    """Calls `Bespoke.solver` as a forward pass, so that its parameters can be exchanged."""

    def __init__(self, bespoke: Bespoke) -> None:
        super().__init__()
        self.a, self.b, self.distances = bespoke.a, bespoke.b, bespoke.distances

    def forward(self) -> NonStationary:
        return Bespoke.solver(self)  # type: ignore[arg-type]


# ---------------------------------------------------------------- training


@EACH
def test_training_beats_solvers_of_as_many_evaluations(
    truncation: Truncation, trained: dict[Truncation, TrainedSolver]
) -> None:
    noise, radius = draw(1000, 99)  # sampled again
    truth = make_solver("rk4-200")(mixture, noise, radius)

    def error(solver: object) -> float:
        return float((solver(mixture, noise, radius) - truth).square().mean().sqrt())

    solver = trained[truncation].solver
    assert solver.n_evaluations == 4
    assert error(solver) < 0.6 * min(
        error(make_solver(name)) for name in ("euler-4", "midpoint-2", "rk4-1")
    )


def test_global_training_has_the_lower_global_error(
    references: list[Reference], trained: dict[Truncation, TrainedSolver]
) -> None:
    (fresh,) = follow(mixture, [draw(1000, 98)])
    of = {
        name: (global_error(t.solver, mixture, fresh), local_error(t.solver, fresh.moments))
        for name, t in trained.items()
    }
    assert of["global"][0] < of["local"][0]
    assert of["local"][1] < of["global"][1]


@EACH
def test_curve_begins_at_euler_and_the_lowest_point_is_kept(
    truncation: Truncation, references: list[Reference], trained: dict[Truncation, TrainedSolver]
) -> None:
    curve = trained[truncation].curve
    assert [point.iteration for point in curve] == list(range(0, 151, 10))

    def error(solver: NonStationary, reference: Reference) -> float:
        if truncation == "local":
            return local_error(solver, reference.moments).item()
        return global_error(solver, mixture, reference).item()

    euler = Bespoke(4).solver()
    validation, *trained_on = references
    assert curve[0].validation == pytest.approx(error(euler, validation), rel=1e-6)
    # the global error is that of one batch, the local one that of all
    seen = trained_on if truncation == "local" else trained_on[:1]
    errors = [error(euler, reference) for reference in seen]
    assert curve[0].error == pytest.approx(sum(errors) / len(errors), rel=1e-6)
    lowest = min(point.validation for point in curve)
    assert lowest == pytest.approx(error(trained[truncation].solver, validation), rel=1e-6)
    assert lowest < curve[0].validation / 4


@EACH
def test_same_noise_gives_the_same_solver(
    truncation: Truncation, trained: dict[Truncation, TrainedSolver]
) -> None:
    torch.manual_seed(77)
    short = BespokeTraining(learning_rate=5e-3, iterations=20)
    states = []
    for seeds in ([0, 1], [0, 1], [0, 2]):
        references = follow(mixture, [draw(100, seed) for seed in seeds])
        one = train_bespoke(mixture, references, 3, truncation=truncation, training=short)
        states.append((one.solver.state(), one.curve))
    assert states[0] == states[1]
    assert states[0] != states[2]


@EACH
def test_a_saved_solver_comes_back_identically(
    truncation: Truncation, trained: dict[Truncation, TrainedSolver]
) -> None:
    solver = trained[truncation].solver
    other = NonStationary.from_state(json.loads(json.dumps(solver.state())))
    assert other.state() == solver.state()
    for dtype in (torch.float32, torch.float64):
        noise, radius = draw(20, 5, dtype)
        assert torch.equal(other(mixture, noise, radius), solver(mixture, noise, radius))


@EACH
def test_the_network_is_left_as_it_is(truncation: Truncation) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

    def velocity(x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        assert context is not None
        return network(torch.cat([x, t[:, None], context], 1))

    before = [p.clone() for p in network.parameters()]
    references = follow(velocity, [draw(20, seed) for seed in range(2)], steps=10)
    short = BespokeTraining(iterations=3)
    solver = train_bespoke(velocity, references, 2, truncation=truncation, training=short).solver
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(p, old) for p, old in zip(network.parameters(), before, strict=True))
    assert not any(table.requires_grad for table in (solver.times, solver.a, solver.b))


def test_training_stops_where_nothing_is_gained(references: list[Reference]) -> None:
    far_too_fast = BespokeTraining(learning_rate=3.0, patience=6, interval=2)
    result = train_bespoke(mixture, references, 3, truncation="local", training=far_too_fast)
    assert [point.iteration for point in result.curve] == [0, 2, 4, 6]
    assert result.solver.state() == Bespoke(3).solver().state()


@EACH
def test_one_step_has_no_times_and_finds_the_best_factor(
    truncation: Truncation, references: list[Reference]
) -> None:
    """Here v(x, 0) = -x, so that (a - b) x_0 is the projection of x(1) onto x(0)."""
    training = BespokeTraining(learning_rate=0.02, iterations=150)
    solver = train_bespoke(mixture, references, 1, truncation=truncation, training=training).solver
    noise = torch.cat([reference.noise for reference in references[1:]])
    data = torch.cat([reference.data for reference in references[1:]])
    best = (noise * data).sum() / noise.square().sum()
    assert float(solver.a[0] - solver.b[0, 0]) == pytest.approx(float(best), abs=0.05)
    assert solver.times.tolist() == [0]


def test_a_velocity_that_is_not_finite_is_reported() -> None:
    broken: Velocity = lambda x, t, context: x * math.nan  # noqa: E731
    references = follow(broken, [draw(5, seed) for seed in range(2)], steps=5)
    for truncation in ("global", "local"):
        with pytest.raises(FloatingPointError, match="truncation error of the bespoke solver is"):
            train_bespoke(broken, references, 2, truncation=truncation)


def test_mistakes_are_answered_with_what_was_expected(references: list[Reference]) -> None:
    with pytest.raises(ValueError, match="got 1 of which 1 validate: follow more"):
        train_bespoke(mixture, references[:1], 2, truncation="local")
    with pytest.raises(ValueError, match="1 step or more, got 0"):
        Bespoke(0)
    for wrong in ({"iterations": 0}, {"learning_rate": 0.0}, {"interval": 0}, {"patience": 0}):
        with pytest.raises(ValueError, match="positive learning rate and iterations"):
            BespokeTraining(**wrong)
    with pytest.raises(ValueError, match="must lie between 0 and 1, got 1"):
        BespokeTraining(validation=1.0)
    with pytest.raises(ValueError, match="rows of 1 to 2 entries"):
        NonStationary.from_state({"times": [0, 0.5], "a": [1, 1], "b": [[1], [1]]})


def test_progress_counts_batches() -> None:
    done: list[int] = []
    follow(mixture, [draw(3, 0), draw(3, 1)], steps=2, progress=lambda: done.append(1))
    assert len(done) == 2
