"""The frame of points: round trips, its box and its Jacobian (CaloClouds, section 2)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from caloforge.showers import PointShowers
from caloforge.systems.caloclouds.frame import PointFrame, smeared

L, W = 30, 200.0
FRAMES: dict[str, Callable[[], PointFrame]] = {
    "published": lambda: PointFrame(L, W),
    "log": lambda: PointFrame(L, W, "log", core=5.0),
}


@pytest.fixture
def points(bundled_points: PointShowers) -> Tensor:
    clouds = bundled_points[:4]
    columns = (clouds.x, clouds.y, clouds.layer, clouds.energy)
    return torch.from_numpy(np.stack(columns, 1).astype(np.float64))


@pytest.fixture(params=FRAMES)
def frame(request: pytest.FixtureRequest, points: Tensor) -> PointFrame:
    frame = FRAMES[request.param]()
    frame.fit(lambda: points.split(1000))
    return frame


def test_all_comes_back_but_the_depth_inside_a_layer(
    frame: PointFrame, points: Tensor, generator: torch.Generator
) -> None:
    back = frame.inverse(frame(smeared(points, generator)))
    torch.testing.assert_close(back[:, [0, 1, 3]], points[:, [0, 1, 3]])
    assert back[:, 2].floor().equal(points[:, 2])


def test_points_are_uniform_in_the_depth_of_their_layer(
    points: Tensor, generator: torch.Generator
) -> None:
    u = smeared(points, generator)[:, 2] - points[:, 2]
    n = len(u)
    assert float(u.mean()) == pytest.approx(1 / 2, abs=4 / math.sqrt(12 * n))
    assert float(u.var()) == pytest.approx(1 / 12, abs=4 * math.sqrt(1 / 180 / n))


def test_the_box_ends_at_minus_one_and_one(points: Tensor) -> None:
    frame = FRAMES["published"]()
    frame.fit(lambda: [points])
    box = torch.tensor([[-W, -W, 0.0, 0.0], [W, W, L, 0.0], [0.0, 0.0, L / 2, 0.0]])
    expected = torch.tensor([[-1.0] * 3, [1.0] * 3, [0.0] * 3])
    torch.testing.assert_close(frame(box)[:, :3], expected)


def test_layers_touch_and_are_equally_thick(frame: PointFrame) -> None:
    borders = torch.zeros(L + 1, 4)
    borders[:, 2], borders[:, 3] = torch.arange(L + 1), 1.0
    depth = frame(borders)[:, 2]
    torch.testing.assert_close(depth.diff(), torch.full((L,), 2 / L))


def test_a_core_keeps_directions_and_ends_at_the_corners(points: Tensor) -> None:
    frame = FRAMES["log"]()
    frame.fit(lambda: [points])
    place = frame(points)[:, :2]
    angle, expected = (torch.atan2(p[:, 1], p[:, 0]) for p in (place, points))
    torch.testing.assert_close(angle, expected)
    corner = frame(torch.tensor([[W, W, 0.0, 1.0]]))[0, :2]
    assert float(corner.norm()) == pytest.approx(1)
    centre = torch.tensor([[0.1, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
    slope = float(frame(centre)[:, 0].diff().abs()) / 0.1
    assert slope == pytest.approx(1 / (5 * math.asinh(math.sqrt(2) * W / 5)), rel=1e-3)


def test_the_scale_of_energies(frame: PointFrame, points: Tensor) -> None:
    energy = frame(points)[:, 3]
    if frame.energy == "log":
        assert float(energy.mean()) == pytest.approx(0, abs=1e-9)
        assert float(energy.std()) == pytest.approx(1, rel=1e-3)
    else:
        assert float(energy.square().mean()) == pytest.approx(1)


def test_the_lowest_energy_stands_for_all_below_it(points: Tensor) -> None:
    frame = FRAMES["log"]()
    frame.fit(lambda: [points])
    lowest = float(points[:, 3][points[:, 3] > 0].min())
    dark = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, lowest]], dtype=torch.float64)
    assert frame.inverse(frame(dark))[:, 3].tolist() == pytest.approx([lowest] * 2)


def test_what_is_drawn_far_out_stays_bounded_and_nan_stays_nan(points: Tensor) -> None:
    frame = FRAMES["log"]()
    frame.fit(lambda: [points])
    found = frame.inverse(torch.tensor([[1e3, 0.0, 0.0, 1e3], [math.nan] * 4]))
    assert float(found[0, 0]) == pytest.approx(2 * math.sqrt(2) * W)
    assert float(found[0, 3]) == pytest.approx(2 * float(points[:, 3].max()))
    assert found[1].isnan().all()


def test_slopes_are_those_of_the_jacobian(
    frame: PointFrame, points: Tensor, generator: torch.Generator
) -> None:
    some = smeared(points[torch.randperm(len(points), generator=generator)[:50]], generator)
    jacobian = torch.func.vmap(torch.func.jacrev(frame))(some)
    expected = torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(frame.log_slope(some).sum(1), expected)


def test_a_kept_frame_is_the_same(frame: PointFrame, points: Tensor) -> None:
    other = FRAMES["log" if frame.core else "published"]()
    with pytest.raises(RuntimeError, match="not fitted"):
        other(points)
    other.load_state(json.loads(json.dumps(frame.state())))
    assert other(points).equal(frame(points))


def test_points_without_energy_have_no_scale(points: Tensor) -> None:
    dark = points.clone()
    dark[:, 3] = 0
    with pytest.raises(ValueError, match="2 points with energy"):
        FRAMES["log"]().fit(lambda: [dark])
