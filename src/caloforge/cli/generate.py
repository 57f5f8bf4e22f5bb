"""The commands that sample showers: from incident energies, or from coarse showers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import caloforge as cf
from caloforge.cli.choosing import (
    Choose,
    EnergySolver,
    Memory,
    Postprocess,
    Precision,
    Resample,
    Solver,
    choices_made,
)
from caloforge.cli.terminal import Device, Layout, Processes, Resume, Run, Seed, console, numbers

if TYPE_CHECKING:
    from caloforge.cascade import System
    from caloforge.showers import Floats, Particles
    from caloforge.training import RunFolder

__all__ = ["generate", "upsample"]

Output = Annotated[Path, typer.Option("-o", "--output", help="The file to write.")]
Number = Annotated[int | None, typer.Option("-n", help="Number of showers, before resampling.")]
Energy = Annotated[
    str | None, typer.Option(help="Spectrum as for simulate; by default the training sample's.")
]
Like = Annotated[Path | None, typer.Option(help="Take the incident particles of this file.")]
Direction = Annotated[
    str | None,
    typer.Option(
        help="Of the particles, x,y,z with z along the depth; by default that of --like or of the "
        "training.",
        metavar="X,Y,Z",
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Showers sampled at once.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse energies outside the range of the training.")
]


def generate(
    run: Run,
    output: Output,
    n: Number = None,
    energy: Energy = None,
    like: Like = None,
    direction: Direction = None,
    seed: Seed = 0,
    batch_size: BatchSize = 100,
    device: Device = "auto",
    postprocess: Postprocess = None,
    resample: Resample = None,
    memory: Memory = None,
    solver: Solver = None,
    energy_solver: EnergySolver = None,
    precision: Precision = None,
    choose: Choose = None,
    strict: Strict = False,
    processes: Processes = 1,
    resume: Resume = False,
    layout: Layout = "sparse",
) -> None:
    """Generate showers from a trained generator.

    Example: caloforge generate runs/l2l -n 100000 -o fake.h5

    Example: caloforge generate electrons-calochallenge-2 -n 1000 -o showers.h5
    """
    from caloforge.cli.progress import GenerationDisplay
    from caloforge.training import RunFolder, find_run

    made = choices_made(
        choose,
        postprocess=postprocess,
        resample=resample,
        memory=memory,
        solver=solver,
        energy_solver=energy_solver,
        precision=precision,
    )
    folder = RunFolder(find_run(run))
    system = cf.load(folder.path)
    times = system.chosen(made).get("resample", 1)
    particles = _particles(folder, system, n, energy, like, seed, direction)
    display = GenerationDisplay(console, "showers", len(particles) * times)
    with display.live():
        cf.generate(
            system,
            particles,
            seed=seed,
            output=output,
            layout=layout,
            attributes={"run": folder.path.name, **folder.effort()},
            batch_size=batch_size,
            device=device,
            options=made,
            strict=strict,
            processes=processes,
            resume=resume,
            progress=display,
        )
    _summary(output, len(particles) * times, system)


def upsample(
    run: Run,
    coarse: Annotated[
        Path,
        typer.Argument(
            help="A file of coarse showers (fine ones are made coarse), or the run folder or model "
            "of a generator that samples them."
        ),
    ],
    output: Output,
    n: Number = None,
    energy: Energy = None,
    like: Like = None,
    geometry: Annotated[
        str | None, typer.Option(help="Of the coarse showers, if their file does not state it.")
    ] = None,
    seed: Seed = 0,
    batch_size: BatchSize = 100,
    device: Device = "auto",
    postprocess: Postprocess = None,
    resample: Resample = None,
    memory: Memory = None,
    choose: Choose = None,
    strict: Strict = False,
    processes: Processes = 1,
    resume: Resume = False,
    layout: Layout = "sparse",
) -> None:
    """Sample the fine voxels of coarse showers from anywhere.

    Example: caloforge upsample runs/supercalo coarse.h5 --resample 5 -o fine.h5
    """
    from caloforge.cli.progress import GenerationDisplay
    from caloforge.training import RunFolder, find_run

    made = choices_made(choose, postprocess=postprocess, resample=resample, memory=memory)
    folder = RunFolder(find_run(run))
    system = cf.load(folder.path)
    times = system.chosen(made).get("resample", 1)
    source: System | cf.VoxelShowers
    if not coarse.is_file():
        drawing = RunFolder(find_run(coarse))
        source = cf.load(drawing.path)
        particles = _particles(drawing, source, n, energy, like, seed)
        n_coarse = len(particles)
    elif (n, energy, like) != (None, None, None):
        raise ValueError(
            "-n, --energy and --like are for the run folder of a coarse generator: the showers "
            f"of {coarse} have their energies"
        )
    else:
        particles = None
        source = showers = cf.read(coarse, geometry)
        n_coarse = len(showers)
    display = GenerationDisplay(console, "showers", n_coarse * times)
    with display.live():
        cf.upsample(
            system,
            source,
            particles,
            seed=seed,
            output=output,
            layout=layout,
            attributes={
                "run": folder.path.name,
                "coarse_showers": coarse.name,
                **folder.effort(),
            },
            batch_size=batch_size,
            device=device,
            options=made,
            strict=strict,
            processes=processes,
            resume=resume,
            progress=display,
        )
    _summary(output, n_coarse * times, system)


def _particles(
    folder: RunFolder,
    system: System,
    n: int | None,
    energy: str | None,
    like: Path | None,
    seed: int,
    direction: str | None = None,
) -> Particles:
    """Incident particles as the options ask.

    Those of a file come with their kind and, where the system reads it, their direction.
    """
    import numpy as np

    from caloforge.data import read_particles
    from caloforge.generation import training_energies
    from caloforge.simulation import EnergySpectrum

    if (like is None) == (n is None):
        raise ValueError("give either -n, a number of showers, or --like, a file of particles")
    if like is not None:
        asked = read_particles(like)
        along = asked.direction if system.is_directed else system.usual.direction
    else:
        if energy is not None:
            rng = np.random.default_rng(seed)
            energies = EnergySpectrum.parse(energy).sample(n or 0, rng).astype(np.float32)
        else:
            energies = training_energies(folder.config(), n or 0, seed)
        asked = cf.Particles(energies)
        along = system.usual.direction
    if direction is not None:
        along = _unit_vector(direction)
    return cf.Particles(asked.energy, np.asarray(along, np.float32), asked.pdg)


def _unit_vector(text: str) -> Floats:
    """The direction x,y,z, as a vector of length 1 if it has any length."""
    import numpy as np

    vector = np.array(numbers(text, 3))
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector


def _summary(output: Path, n: int, system: System) -> None:
    size = output.stat().st_size / 1e6
    console.print(f"{output}: {n} showers, {size:.1f} MB")
    if system.n_rejected:
        console.print(f"{system.n_rejected} unphysical samples were rejected and sampled again")
