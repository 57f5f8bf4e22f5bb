"""FPD and KPD: Gaussians with known distances, and equal to slow code on real showers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.optimize import curve_fit, nnls

import caloforge as cf
from caloforge.evaluation import Sample, SmallSampleWarning, features, high_level
from caloforge.evaluation.metrics import physics_distance
from caloforge.evaluation.metrics.high_level import (
    FrechetPhysicsDistance,
    KernelPhysicsDistance,
)
from caloforge.evaluation.metrics.physics_distance import (
    _intercept,
    fpd,
    fpd_of_subsets,
    frechet_distance,
    kpd,
    kpd_of_blocks,
)
from caloforge.evaluation.metrics.undetermined import UndeterminedWarning

pytestmark = pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning")
QUICK = {"min_samples": 1000, "max_samples": 2000, "num_batches": 2, "num_points": 3}


def slow_normalised(x, y):
    scale = np.abs(x).max(axis=0)
    scale[scale == 0] = 1
    return x / scale, y / scale


def slow_fpd(x, y, *, min_samples, max_samples, num_batches, num_points, seed=42):
    """The algorithm as it is defined, with a matrix square root."""
    x, y = slow_normalised(x, y)
    rng, means = np.random.default_rng(seed), []
    sizes = (1 / np.linspace(1 / min_samples, 1 / max_samples, num_points)).astype("int32")
    for size in sizes:
        distances = []
        for _ in range(num_batches):
            first, second = (z[rng.choice(len(z), size=size)] for z in (x, y))
            shift = first.mean(axis=0) - second.mean(axis=0)
            S, T = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
            distances.append(shift @ shift + np.trace(S + T - 2 * sqrtm(S @ T).real))
        means.append(np.mean(distances))
    line, covariance = curve_fit(
        lambda t, a, b: a + b * t, 1 / sizes, means, bounds=([0, 0], [np.inf, np.inf])
    )
    return line[0], np.sqrt(covariance[0, 0])


def slow_mmd(x, y):
    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 4

    within = [
        (kernel(z, z).sum() - np.trace(kernel(z, z))) / (len(z) * (len(z) - 1)) for z in (x, y)
    ]
    return sum(within) - 2 * kernel(x, y).mean()


def with_exact_moments(rng, n, mean, std):
    """Rows with just these means, standard deviations and no correlation."""
    x = rng.normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    x = x @ np.linalg.inv(np.linalg.cholesky(x.T @ x / n)).T
    return np.asarray(mean) + np.asarray(std) * x


def test_gaussians_are_apart_by_shift_and_spread():
    mean, std = np.array([1.0, 2, 0]), np.array([1.0, 0.5, 0])
    other_mean, other_std = np.array([0.0, 2, 0]), np.array([1.0, 2, 0])
    distance = frechet_distance(mean, np.diag(std**2), other_mean, np.diag(other_std**2))
    assert distance == pytest.approx(1 + 1.5**2, rel=1e-12)


def test_the_distance_of_turned_gaussians_is_that_of_the_unturned_ones(rng):
    # covariances with the same eigenvectors: sum of (sigma - tau)²
    sigma, tau = rng.exponential(size=(2, 6))
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    S, T = (axes @ np.diag(one**2) @ axes.T for one in (sigma, tau))
    zero = np.zeros(6)
    assert frechet_distance(zero, S, zero, T) == pytest.approx(((sigma - tau) ** 2).sum())


@pytest.mark.parametrize("distance", [fpd, fpd_of_subsets])
@pytest.mark.parametrize("shift", [1e5, 1e9])
def test_gaussians_far_apart_are_as_far_as_their_means(rng, distance, shift):
    x, y = rng.normal(size=(2, 500, 3))
    y += shift
    expected = (((x.mean(0) - y.mean(0)) / np.abs(x).max(axis=0)) ** 2).sum()
    found = distance(x, y, num_batches=5)
    assert found.value == pytest.approx(expected, rel=1e-4 + 1 / shift)
    assert 0 < found.error < 1e-4 * expected


@pytest.mark.parametrize(
    "y",
    [
        [5.0, 5.1, 5.3, 5.25, 5.5],
        [0.1, 0.22, 0.29, 0.43, 0.5],
        [-0.02, 0.1, 0.25, 0.4, 0.5],
        [5.5, 5.2, 5.3, 5.1, 5.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [-2e-16, -3e-16, 1e-16, -1e-16, -1e-16],
    ],
)
def test_the_line_is_the_best_of_those_without_negative_numbers(y):
    """As a search from several starts finds it; its error is that of the free fit's formula."""
    x, y = np.linspace(1e-4, 5e-4, 5), np.asarray(y)
    found = _intercept(x, y)
    design = np.stack([np.ones(5), x], axis=1)
    scale = np.abs(design).max(axis=0)
    best, residual = nnls(design / scale, y)
    assert found.value == pytest.approx(best[0], rel=1e-9, abs=1e-15)
    variance = residual**2 / 3 * np.linalg.inv(design.T @ design)[0, 0]
    assert found.error == pytest.approx(np.sqrt(variance), rel=1e-6, abs=1e-15)


def test_278_electrons_are_near_278_others(shared_data):
    """Of 1 to 1.5 GeV: layers that few reach, each with a single voxel, have no width as unit."""
    showers = cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_train.h5")
    chosen = showers[np.flatnonzero(showers.energy_inc < 1500)[:556]]
    columns = high_level(chosen.energy_inc, features(chosen))
    x, y = columns[:278], columns[278:]
    for pair in ((x, y), (y, x)):
        assert abs(kpd_of_blocks(*pair).value) < 1e-3
    found = fpd_of_subsets(x, y, num_batches=3, num_points=3)
    assert found.value != 1
    assert 0 < found.error < found.value < 3


def test_a_column_of_rounding_is_no_unit(rng):
    x, y = rng.normal(size=(2, 200, 3))
    x[:, 2], y[:, 2] = 1e-17 * x[:, 2], 0.01 * y[:, 2]
    without = x.copy()
    without[:, 2] = 0
    for distance in (kpd_of_blocks, fpd_of_subsets, kpd):
        expected = distance(without, y)
        assert distance(x, y) == pytest.approx(expected, rel=1e-9, nan_ok=True)


@pytest.mark.filterwarnings("ignore:.*NaN:RuntimeWarning")
def test_what_overflows_is_unknown_and_said(rng):
    x, y = rng.normal(size=(2, 50, 3))
    with pytest.warns(UndeterminedWarning, match="Fréchet distance is not determined"):
        assert np.isnan(fpd_of_subsets(x, y + 1e200)).all()
    for distance in (kpd_of_blocks, kpd):
        with pytest.warns(UndeterminedWarning, match="kernel distance is not determined"):
            assert np.isnan(distance(x, y + 1e60)).all()


@pytest.mark.parametrize("distance", [fpd, fpd_of_subsets])
def test_fpd_is_in_units_of_the_reference_s_largest_values(rng, distance):
    n, std, other_std = 20_000, np.array([1.0, 2.0]), np.array([1.5, 2.0])
    x = with_exact_moments(rng, n, [0, 0], std)
    y = with_exact_moments(rng, n, [0, 1], other_std)
    largest = np.abs(x).max(axis=0)
    expected = (((other_std - std) / largest) ** 2).sum() + (1 / largest[1]) ** 2
    found = distance(x, y)
    assert found.value == pytest.approx(expected, rel=0.05)
    assert found.error < 0.05 * expected
    scaled = distance(1000 * x, 1000 * y)
    assert scaled == pytest.approx(found)


def test_drawing_with_replacement_tends_to_the_distance_of_the_samples(rng):
    """Two small samples of one distribution keep theirs, as 1/n; subsets do not see it."""
    x, y = rng.normal(size=(2, 400, 20))
    apart = frechet_distance(
        *(f(z) for z in slow_normalised(x, y) for f in (lambda z: z.mean(0), lambda z: np.cov(z.T)))
    )
    assert fpd(x, y, min_samples=2000, max_samples=20_000).value == pytest.approx(apart, rel=0.05)
    assert fpd_of_subsets(x, y).value < 0.2 * apart


@pytest.fixture(scope="module")
def electron_features(shared_data):
    """The 362 features of two samples, the second with a tenth more energy."""
    showers = cf.read(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5")[:1200]
    columns = high_level(showers.energy_inc, features(showers, threshold=0.01515))
    other = cf.VoxelShowers(
        showers.energy_inc, showers.offset, showers.index, 1.1 * showers.energy, showers.geometry
    )
    others = high_level(other.energy_inc, features(other, threshold=0.01515))
    return columns[:700], others[700:]


@pytest.mark.filterwarnings("ignore:Matrix is singular")  # the slow square root's
@pytest.mark.parametrize("constant", [[], [7, 100]])
def test_fpd_of_real_showers_is_that_of_the_definition(electron_features, constant):
    x, y = (columns.copy() for columns in electron_features)
    x[:, constant] = y[:, constant] = 0
    found, expected = fpd(x, y, **QUICK), slow_fpd(x, y, **QUICK)
    assert x.shape[1] == 362
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore:Matrix is singular")
def test_fewer_showers_than_features_have_the_distance_of_the_definition(electron_features):
    x, y = (columns[:150, ::3] for columns in electron_features)
    settings = QUICK | {"min_samples": 100, "max_samples": 200}
    assert fpd(x, y, **settings) == pytest.approx(slow_fpd(x, y, **settings), rel=1e-5)


def test_kpd_of_real_showers_is_that_of_the_double_sum(electron_features, monkeypatch):
    x, y = slow_normalised(*electron_features)
    monkeypatch.setattr(physics_distance, "KERNEL_BLOCK", 300)
    batches = []
    for i in range(3):
        rng = np.random.default_rng(42 + 1000 * i)
        first = x[rng.choice(len(x), size=1000)]
        batches.append(slow_mmd(first, y[rng.choice(len(y), size=1000)]))
    low, high = np.percentile(batches, [16.275, 83.725])
    found = kpd(*electron_features, batch_size=1000, num_batches=3)
    assert found == pytest.approx((np.median(batches), (high - low) / 2), rel=1e-9)
    whole = kpd_of_blocks(*electron_features, block_size=len(x))
    assert whole.value == pytest.approx(slow_mmd(x, y), rel=1e-9)
    assert np.isnan(whole.error)


def test_kpd_of_blocks_is_the_mean_of_the_double_sums_in_each(electron_features):
    x, y = slow_normalised(*electron_features)
    size = -(-len(x) // 3)
    parts = zip(np.array_split(x, 3), np.array_split(y, 3), strict=True)
    blocks = [slow_mmd(*part) for part in parts]
    found = kpd_of_blocks(*electron_features, block_size=size)
    assert found.value == pytest.approx(np.mean(blocks), rel=1e-9)
    assert found.error == pytest.approx(np.std(blocks, ddof=1) / 3**0.5, rel=1e-9)
    # of one distribution: nothing but the fluctuation of the blocks is seen, as of all pairs
    assert abs(found.value - slow_mmd(x, y)) < 4 * found.error


def test_every_shower_of_large_samples_counts_and_the_time_does_not_grow_with_their_square(
    rng, monkeypatch
):
    x, y = rng.normal(size=(2, 90, 2))
    pairs: list[int] = []
    monkeypatch.setattr(
        physics_distance, "_unbiased_mmd", lambda a, _, b, __: pairs.append(len(a) * len(b)) or 0.0
    )
    for repeats in (1, 2, 4):
        pairs.clear()
        kpd_of_blocks(np.tile(x, (repeats, 1)), np.tile(y, (repeats, 1)), block_size=30)
        assert sum(pairs) == 90 * repeats * 30


def test_the_discrepancy_is_that_found_by_hand():
    # d = 1, in units of 2: 0.5 and 1 against 0 and 0; kernels 1.5⁴, 1 and 1
    found = kpd_of_blocks([[1.0], [2.0]], [[0.0], [0.0]])
    assert found.value == pytest.approx(1.5**4 + 1 - 2)


def test_the_discrepancy_of_equal_distributions_is_0_on_average(rng):
    pairs = rng.uniform(-1, 1, size=(400, 2, 30, 3))
    found = [kpd_of_blocks(*pair, block_size=15).value for pair in pairs]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 4 * error
    assert min(found) < 0
    x, y = rng.uniform(-1, 1, size=(2, 30, 3))
    assert kpd_of_blocks(x, y + 1).value > 100 * error


@pytest.mark.parametrize(
    ("metric", "published"), [(FrechetPhysicsDistance, fpd), (KernelPhysicsDistance, kpd)]
)
def test_large_samples_are_compared_as_published(bundled, monkeypatch, metric, published):
    sample = Sample.of(bundled[:60])
    distance = metric(sample, sample.threshold)
    assert distance.is_comparable(50_000, bundled.geometry)
    assert not distance.is_comparable(49_999, bundled.geometry)
    monkeypatch.setattr("caloforge.evaluation.metrics.high_level.PUBLISHED_SIZE", 30)
    columns = distance.columns(sample)["features"][:, ::20]
    sides = [{"features": columns[start::2]} for start in (0, 1)]
    found, expected = distance.compare(*sides, seed=7), published(columns[::2], columns[1::2])
    assert (found.values[metric.name], found.errors[metric.name]) == pytest.approx(expected)
    monkeypatch.undo()
    assert not distance.compare(*sides, seed=7).errors


def one_bin_outwards(showers, rng, fraction):
    """Some of the voxels' energies moved to the next larger radius, which widens the showers."""
    n_r = showers.geometry.shape[-1]
    moves = (rng.random(len(showers.index)) < fraction) & (showers.index % n_r < n_r - 1)
    index = showers.index + moves.astype(showers.index.dtype)
    return cf.VoxelShowers(
        showers.energy_inc, showers.offset, index, showers.energy, showers.geometry
    )


@pytest.mark.parametrize("metric", [FrechetPhysicsDistance, KernelPhysicsDistance])
def test_30_percent_of_wider_showers_stand_out_from_the_floor(bundled, rng, metric):
    showers = bundled[:1600]
    sample = Sample.of(showers)
    wider = Sample.of(one_bin_outwards(showers, rng, 0.3))
    distance = metric(sample, sample.threshold)
    reference, *candidates = (
        {"features": distance.columns(one)["features"][start::2]}
        for one, start in ((sample, 0), (sample, 1), (wider, 1))
    )
    floor, found = (
        distance.compare(reference, one, seed=1).values[metric.name] for one in candidates
    )
    assert found > 4 * abs(floor)


def test_what_cannot_be_compared_is_refused():
    x = np.ones((9, 2))
    with pytest.raises(ValueError, match=r"candidate \(9, 3\) and reference \(9, 2\)"):
        fpd(x, np.ones((9, 3)))
    with pytest.raises(ValueError, match="candidate must be finite"):
        kpd(x, np.full((9, 2), np.nan))
    with pytest.raises(ValueError, match="a line needs three or more sizes"):
        fpd(x, x, num_points=2)


def test_batches_larger_than_the_samples_are_pointed_out(rng):
    x, y = rng.normal(size=(2, 400, 3))
    with pytest.warns(SmallSampleWarning, match="batches of 1000 showers are sampled from 400"):
        fpd(x, y, **QUICK)
    with pytest.warns(SmallSampleWarning, match="batches of 500"):
        kpd(x, y, batch_size=500)
