"""The command line: the only module that prints."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
import yaml
from rich.table import Table
from rich.text import Text

import caloforge as cf
from caloforge.cli.bench import bench
from caloforge.cli.check import check
from caloforge.cli.evaluate import evaluate
from caloforge.cli.generate import generate, upsample
from caloforge.cli.info import info
from caloforge.cli.models import models, pack
from caloforge.cli.options import Commands, in_options
from caloforge.cli.project import project
from caloforge.cli.share import card, pull, push
from caloforge.cli.simulate import simulate
from caloforge.cli.terminal import (
    Device,
    Layout,
    Processes,
    Resume,
    Seed,
    console,
    named_value,
    out,
)
from caloforge.processes import WorkerDiedError

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # a unit such as [mm] is no markup
    context_settings={"max_content_width": 100},
    cls=Commands,
    pretty_exceptions_enable=False,
)

STOPPED = {number: 128 + number for number in (signal.SIGINT, signal.SIGTERM)}  # exit codes


def _print_version(asked: bool) -> None:
    if asked:
        out.print(f"caloforge {cf.__version__}")
        raise typer.Exit


@app.callback()
def caloforge(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Simulate, learn, generate and judge calorimeter showers."""


def _factors(text: str) -> tuple[int, int, int]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(map(str.isdecimal, parts)):
        raise ValueError(f"expected three whole numbers such as 5,2,1, got {text!r}")
    return int(parts[0]), int(parts[1]), int(parts[2])


app.command()(simulate)


@app.command()
def coarsen(
    showers: Annotated[Path, typer.Argument(help="A file of showers.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")],
    factors: Annotated[
        str, typer.Option(help="Voxels in a coarse one: layers, then alpha,r or x,y.")
    ] = "5,2,1",
    geometry: Annotated[str | None, typer.Option(help="If the file does not state it.")] = None,
    layout: Layout = "sparse",
) -> None:
    """Sum neighbouring voxels into coarse ones, to train a generator of coarse showers.

    Example: caloforge coarsen train.h5 --factors 5,2,1 -o coarse.h5
    """
    from caloforge.data import create
    from caloforge.geometry import Coarsening

    with cf.open_showers(showers, geometry) as file:
        coarsening = Coarsening(file.geometry, _factors(factors))
        outside = file.column("outside")  # is the same in coarse voxels
        with create(
            output,
            coarsening.geometry,
            layout=layout,
            attributes=file.passed_on,
            columns={} if outside is None else {"outside": outside},
            n_expected=len(file),
        ) as writer:
            for batch in file.batches(1000):
                writer.append(batch.coarsen(coarsening))
    console.print(
        f"{output}: {coarsening.n_coarse} voxels of {coarsening.n_fine}, {coarsening.geometry.name}"
    )


@app.command()
def train(
    preset: Annotated[str, typer.Argument(help="System and preset, such as l2lflows/small.")],
    data: Annotated[
        list[str], typer.Option(help='The training sample: a file, or "train_*.h5"; repeatable.')
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The run folder.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Settings that differ, such as layers.recipe.epochs=3."),
    ] = None,
    stage: Annotated[list[str] | None, typer.Option(help="Train only this stage.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of settings that differ from the preset.")
    ] = None,
    geometry: Annotated[str | None, typer.Option(help="If the file does not state it.")] = None,
    seed: Seed = 0,
    processes: Processes = 1,
    device: Device = "auto",
    resume: Resume = False,
) -> None:
    """Train a generator.

    Example: caloforge train l2lflows/small --data train.h5 -o runs/l2l --processes 2
    """
    from caloforge.cli.progress import TrainingDisplay
    from caloforge.data import check_folder, open_source
    from caloforge.training import RunFolder

    check_folder(output)
    showers = open_source(data, geometry)
    settings = {**_settings(config), **dict(_setting(text) for text in overrides or ())}
    system = cf.build(preset, showers.geometry, seed=seed, overrides=settings)
    untrained = [n for n in stage or system.stages if not RunFolder(output).stage(n).is_trained]
    display = TrainingDisplay(console, len(untrained))
    with display.live():
        cf.train(
            system,
            showers,
            run=output,
            stages=stage,
            seed=seed,
            processes=processes,
            device=device,
            resume=resume,
            progress=display,
        )
    _training_summary(output, list(system.stages))


def _setting(text: str) -> tuple[str, Any]:
    if "=" not in text and Path(text).is_file():
        raise ValueError(
            f"a setting is written name=value, got {text!r}: give each file its own --data, or a "
            "pattern in quotes"
        )
    return named_value(text, "setting")


def _settings(path: Path | None, values: Any = None, prefix: str = "") -> dict[str, Any]:
    """Settings of a YAML file by dotted name."""
    if path is not None and values is None:
        values = yaml.safe_load(path.read_text())
        if not isinstance(values, dict):
            raise ValueError(f"{path} must hold settings by name, got {values!r}")
    flat: dict[str, Any] = {}
    for key, value in (values or {}).items():
        name = f"{prefix}{key}"
        flat.update(
            _settings(path, value, f"{name}.") if isinstance(value, dict) else {name: value}
        )
    return flat


def _training_summary(run: Path, stages: list[str]) -> None:
    from caloforge.training import RunFolder

    table = Table("stage", "epochs", "held-out loss", "time [s]")
    folders = {name: RunFolder(run).stage(name) for name in stages}
    trained = {name: f.summary() for name, f in folders.items() if f.is_trained}
    for name, summary in trained.items():
        learned = "validation" in summary  # others are fitted alone
        values = (str(summary["epochs"]), f"{summary['validation']:.4f}") if learned else ("–", "–")
        table.add_row(name, *values, f"{summary['seconds']:.0f}")
    console.print(f"{run}:", table)
    seconds = sum(summary["seconds"] for summary in trained.values())
    console.print(f"{seconds:.0f} s of training, all processes together")
    for name, summary in trained.items():
        for what, share in summary.get("changed", {}).items():
            console.print(f"{name}: {what} moves {share:.2g} of what the training sample holds")
    if len(trained) < len(stages):
        console.print(
            f"{len(stages) - len(trained)} of {len(stages)} stages are still to be trained"
        )


app.command()(generate)
app.command()(upsample)
app.command()(project)
app.command()(evaluate)
app.command()(bench)
app.command()(info)
app.command()(card)
app.command()(push)
app.command()(pull)
app.command()(models)
app.command()(check)
app.command()(pack)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")] = Path(
        "caloforge-demo"
    ),
    processes: Processes = 2,
    seed: Seed = 0,
) -> None:
    """Judge showers of a ready model and of a generator trained here beside Geant4, in one page.

    Example: caloforge demo -o caloforge-demo
    """
    from caloforge.cli.demo import run_demo

    page = run_demo(output, processes=processes, seed=seed, console=console)
    out.print(f"{page.resolve()}")


def main() -> None:
    """Run the command line.

    Bad input and a full disk are one line and exit code 2, a process that died is one line and exit
    code 1, Ctrl-C one line and 130, SIGTERM one line and 143.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr does: a path need not be text
    with warnings.catch_warnings(), _stopped_once():
        warnings.showwarning = _one_line
        _run()


def _run() -> None:
    try:
        app()
    except (ValueError, OSError, ImportError, FloatingPointError, WorkerDiedError) as error:
        console.print(Text("error", "bold red"), in_options(str(error)))
        sys.exit(1 if isinstance(error, WorkerDiedError) else 2)
    except SystemExit as stop:
        if stop.code in STOPPED.values():
            console.print("stopped; a command that has --resume continues from what is finished")
        raise


@contextmanager
def _stopped_once() -> Iterator[None]:
    """SIGTERM stops a command as Ctrl-C does; once it stops, neither disturbs it any more."""

    def stop(number: int, frame: object) -> None:
        for each in STOPPED:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(STOPPED[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in STOPPED}
    heard = {number: old for number, old in before.items() if old != signal.SIG_IGN}  # not by nohup
    for number in heard:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, old in heard.items():
            if signal.getsignal(number) is stop:  # else the process is ending
                signal.signal(number, old)


def _one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    console.print(Text(category.__name__, "yellow"), in_options(str(message)))
