"""The command `simulate`: showers by Geant4."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

import caloforge as cf
from caloforge.cli.terminal import Processes, Resume, Seed, console, numbers
from caloforge.units import mm

__all__ = ["simulate"]

Vector = tuple[float, float, float]


def simulate(
    geometry: Annotated[
        str, typer.Option(help="Detector preset, such as calochallenge-2 or ild-ecal.")
    ],
    energy: Annotated[
        str, typer.Option(help="fixed:E, uniform:low:high or loguniform:low:high [MeV].")
    ],
    n: Annotated[int, typer.Option("-n", help="Number of showers.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")],
    particle: Annotated[
        str | None, typer.Option(help="e-, e+ or gamma; by default the official sample's.")
    ] = None,
    seed: Seed = 0,
    processes: Processes = 1,
    resume: Resume = False,
    points: Annotated[
        bool, typer.Option("--points", help="Keep clustered steps in place of voxels.")
    ] = False,
    pitch: Annotated[
        float,
        typer.Option(
            help="Of the grid of points [mm], 0 for every step.", show_default="5/6", min=0
        ),
    ] = 5 / 6 * mm,
    box: Annotated[
        float, typer.Option(help="Points lie within this of the impact point in x and y [mm].")
    ] = 200 * mm,
    random_grid: Annotated[
        bool,
        typer.Option("--random-grid", help="Move the grid by a random part of its pitch."),
    ] = False,
    shape: Annotated[
        Literal["planes", "cylinder"],
        typer.Option(help="Planes, or the CaloChallenge's 800 mm cylinder, half as fast."),
    ] = "planes",
    position: Annotated[str, typer.Option(help="Of the gun, x,y,z [mm], z <= 0.")] = "0,0,-1",
    direction: Annotated[str, typer.Option(help="Of the gun, x,y,z.")] = "0,0,1",
    physics: Annotated[str, typer.Option(help="Geant4's physics list.")] = "standard",
    cut: Annotated[float, typer.Option(help="Production cut [mm].")] = 0.7,
    chunk_size: Annotated[int | None, typer.Option(help="Showers of one chunk.")] = None,
    mantissa_bits: Annotated[
        int | None, typer.Option(help="Round energies to so many bits: a smaller file.")
    ] = None,
) -> None:
    """Simulate showers with Geant4: energies in voxels, or clouds of points.

    Example: caloforge simulate --geometry calochallenge-2 --particle e-
    --energy loguniform:1e3:1e5 -n 1000 -o train.h5
    """
    from caloforge.cli.progress import SimulationDisplay
    from caloforge.simulation import detector_preset

    display = SimulationDisplay(console, "showers", n)
    with display.live():
        path = cf.simulate(
            detector_preset(geometry, shape=shape),
            particle=particle,
            energy=energy,
            n=n,
            seed=seed,
            output=output,
            processes=processes,
            resume=resume,
            points=points,
            pitch=pitch or None,
            box=box,
            random_grid=random_grid,
            position=cast(Vector, numbers(position, 3)),
            direction=cast(Vector, numbers(direction, 3)),
            physics=physics,
            cut=cut,
            chunk_size=chunk_size,
            mantissa_bits=mantissa_bits,
            progress=display,
        )
    console.print(_summary(path))


def _summary(path: Path) -> str:
    from caloforge.data import open_file

    with open_file(path) as file:
        entries, deposited = 0, 0.0
        for batch in file.batches(1000):
            entries += int(batch.offset[-1])
            deposited += float(batch.total_energy().sum())
        ratio = deposited / file.energy_inc.sum(dtype="f8")
        words = [
            f"{path}: {len(file)} showers of {file.attributes['particle']}",
            f"{path.stat().st_size / 1e6:.1f} MB",
            f"deposited / incident energy {ratio:.3g}",
        ]
        volume = "its voxels"
        if (box := file.attributes.get("box_mm")) is not None:
            volume = f"the box of {box:g} mm"
            words.append(f"{entries / len(file):,.0f} points a shower")
        outside = file.column("outside")
        if outside is not None:  # files that were finished by an older version lack it
            words.append(
                f"{outside.mean():.2%} of the energy outside {volume}, at most {outside.max():.2%}"
            )
    return ", ".join(words)
