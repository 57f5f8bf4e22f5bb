"""Files of showers: the only room that touches them."""

from caloforge.data.files import (
    create,
    open_points,
    open_showers,
    read,
    read_points,
    write,
)
from caloforge.data.parts import Parts
from caloforge.data.replacing import replacing
from caloforge.data.showerfile import (
    ShowerFile,
    ShowerFileError,
    ShowerFileWarning,
    ShowerWriter,
    VoxelFile,
    VoxelWriter,
)

__all__ = [
    "Parts",
    "ShowerFile",
    "ShowerFileError",
    "ShowerFileWarning",
    "ShowerWriter",
    "VoxelFile",
    "VoxelWriter",
    "create",
    "open_points",
    "open_showers",
    "read",
    "read_points",
    "replacing",
    "write",
]
