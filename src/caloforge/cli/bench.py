"""The command `bench`: how fast a trained generator is, and how much memory it takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from caloforge.cli.choosing import Choose, EnergySolver, Precision, Solver, choices_made
from caloforge.cli.terminal import Quiet, Run, Seed, console, out

if TYPE_CHECKING:
    from caloforge.generation import Timing

__all__ = ["bench"]


def bench(
    run: Run,
    batch_sizes: Annotated[
        str, typer.Option(help="Showers sampled at once, comma-separated.")
    ] = "1,100,10000",
    device: Annotated[
        list[str] | None,
        typer.Option(help="auto, cpu or cuda; twice to time both.", show_default="auto"),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of the CPU.")] = 1,
    runs: Annotated[int, typer.Option(help="Runs, whose mean and spread are taken.")] = 10,
    n: Annotated[
        int | None, typer.Option("-n", help="Showers of a run; by default those of 5 seconds.")
    ] = None,
    limit: Annotated[
        float, typer.Option(help="Seconds for one batch size; what takes longer is left out.")
    ] = 600,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write it as JSON.")
    ] = None,
    seed: Seed = 0,
    solver: Solver = None,
    energy_solver: EnergySolver = None,
    precision: Precision = None,
    choose: Choose = None,
    as_json: Quiet = False,
) -> None:
    """Time a trained generator by the protocol of the CaloChallenge.

    Example: caloforge bench runs/l2l --batch-sizes 1,100,10000 -o timing.json
    """
    from caloforge.cli.progress import TimingDisplay
    from caloforge.data import check_target, write_files
    from caloforge.generation import time_generation

    made = choices_made(choose, solver=solver, energy_solver=energy_solver, precision=precision)
    sizes, devices = _sizes(batch_sizes), device or ["auto"]
    display = TimingDisplay(console, "runs", len(sizes) * len(devices) * runs)
    if output is not None:
        check_target(output)
    with display.live():
        timing = time_generation(
            run,
            batch_sizes=sizes,
            devices=devices,
            threads=threads,
            runs=runs,
            n_showers=n,
            seed=seed,
            limit=limit,
            options=made,
            progress=display,
        )
    if output is not None:
        write_files({output: timing.to_json()})
    if as_json:
        out.print_json(timing.to_json())
    else:
        _print_table(timing)


def _sizes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(
            f"expected comma-separated batch sizes, such as 1,100,10000, got {text!r}"
        ) from error


def _print_table(timing: Timing) -> None:
    from caloforge.evaluation.digits import format_number, format_value
    from caloforge.generation.timing import BUSY

    machine = timing.hardware
    out.print(
        f"{timing.run}: {timing.preset or timing.system} for {timing.geometry}, "
        f"{sum(timing.parameters.values()):,} parameters"
        + (f", {timing.sequential_passes:,} passes in a row" if timing.sequential_passes else "")
        + "".join(f", {choice} {name}" for choice, name in timing.choices.items())
    )
    table = Table(
        caption=f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_GB']:.0f} GB"
        + (f"; {machine['gpu']}" if machine["gpu"] else "")
        + f"; PyTorch {timing.software['torch']}\n"
        f"mean and standard deviation of {timing.rows[0].runs} runs",
    )
    table.add_column("device", no_wrap=True)
    for heading in ("batch", "ms per shower", "showers/s", "peak MB", "showers/run"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in timing.rows:
        device = f"cpu, {row.threads} thread{'s' * (row.threads > 1)}"
        values = ["–"] * 4
        if row.ms_per_shower is not None:
            values = [
                format_value(row.ms_per_shower, row.ms_per_shower_std),
                format_number(1e3 / row.ms_per_shower),
                f"{row.peak_memory_MB:,.0f}",
                f"{row.n_showers:,}",
            ]
        table.add_row(device if row.device == "cpu" else row.device, f"{row.batch_size:,}", *values)
    out.print(table)
    for row in timing.rows:
        which = f"{row.device}, batches of {row.batch_size:,}"
        if row.reason:
            out.print(f"{which}: not timed, {row.reason}")
        elif row.device == "cpu" and row.cpu_share is not None and row.cpu_share < BUSY:
            out.print(
                f"{which}: timed too long, "
                f"other programs left it {100 * row.cpu_share:.0f} % of a core"
            )
