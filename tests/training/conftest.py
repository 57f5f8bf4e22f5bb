"""What tests of training share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A trained run folder that a test may damage."""
    shutil.copytree(run, tmp_path / "copy")
    return tmp_path / "copy"
