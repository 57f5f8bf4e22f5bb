"""Files of showers: the only package that reads and writes them."""

from caloforge.data.files import (
    Layout,
    check_layout,
    create,
    create_points,
    holds_points,
    open_file,
    open_points,
    open_showers,
    read,
    read_particles,
    write,
)
from caloforge.data.hdf5 import ShowerFileError, ShowerFileWarning
from caloforge.data.padded import CaloCloudsFile, ShowerDataFile
from caloforge.data.parts import Parts
from caloforge.data.replacing import (
    NoSpaceError,
    check_empty,
    check_folder,
    check_target,
    making,
    making_folder,
    replacing,
    write_files,
)
from caloforge.data.root import write_root
from caloforge.data.showerfile import ShowerFile, VoxelFile
from caloforge.data.showerwriter import ShowerWriter, VoxelWriter
from caloforge.data.source import FileSource, open_source

__all__ = [
    "CaloCloudsFile",
    "FileSource",
    "Layout",
    "NoSpaceError",
    "Parts",
    "ShowerDataFile",
    "ShowerFile",
    "ShowerFileError",
    "ShowerFileWarning",
    "ShowerWriter",
    "VoxelFile",
    "VoxelWriter",
    "check_empty",
    "check_folder",
    "check_layout",
    "check_target",
    "create",
    "create_points",
    "holds_points",
    "making",
    "making_folder",
    "open_file",
    "open_points",
    "open_showers",
    "open_source",
    "read",
    "read_particles",
    "replacing",
    "write",
    "write_files",
    "write_root",
]
