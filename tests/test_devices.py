"""Where to compute is chosen alike everywhere."""

from __future__ import annotations

import inspect
from unittest import mock

import pytest
import torch

import caloforge as cf
from caloforge.cascade import System
from caloforge.devices import find_device
from caloforge.generation import time_generation
from caloforge.systems.supercalo import SuperCalo


@pytest.mark.parametrize("there", [True, False])
def test_auto_is_the_accelerator_if_there_is_one(there: bool) -> None:
    with mock.patch.object(torch.cuda, "is_available", return_value=there):
        assert find_device() == find_device("auto") == ("cuda" if there else "cpu")
        assert find_device("cpu") == find_device(torch.device("cpu")) == "cpu"


@pytest.mark.parametrize("device", ["cuda", "cuda:1", torch.device("cuda")])
def test_an_accelerator_that_is_not_there_is_refused(device: torch.device | str) -> None:
    with (
        mock.patch.object(torch.cuda, "is_available", return_value=False),
        pytest.raises(ValueError, match="sees no accelerator"),
    ):
        find_device(device)


def test_a_device_of_no_known_name_is_refused() -> None:
    with pytest.raises(ValueError, match="'auto', 'cpu' or an accelerator such as 'cuda', got 'gp"):
        find_device("gpu")


def test_every_entrance_chooses_by_itself() -> None:
    methods = (
        *(vars(System)[n] for n in vars(System) if not n.startswith("_")),
        SuperCalo.upsample,
    )
    entrances = [cf.train, cf.generate, cf.upsample, *filter(inspect.isfunction, methods)]
    found = [inspect.signature(entrance).parameters.get("device") for entrance in entrances]
    chosen = [p.default for p in found if p is not None and p.default is not p.empty]
    assert len(chosen) >= 9
    assert set(chosen) == {"auto"}
    assert inspect.signature(time_generation).parameters["devices"].default == ("auto",)
