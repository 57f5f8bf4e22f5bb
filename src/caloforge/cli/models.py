"""The commands `models` and `pack`: trained models, and how a run becomes one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from caloforge.cli.terminal import Quiet, Run, console, out

__all__ = ["models", "pack"]

MOST_CARD = 1 << 24  # bytes


def models(as_json: Quiet = False) -> None:
    """Show the models that are installed: showers without training.

    Worth in Geant4 showers, AUC of a classifier and time are from the card of each model.

    Example: caloforge models
    """
    from caloforge.training import best_models, model_folders

    rows = [_model(name, folder) for name, folder in model_folders().items()]
    best = best_models()
    if as_json:
        out.print_json(json.dumps({"models": rows, "best": best}))
        return
    if not rows:
        out.print("no models are installed: pip install 'caloforge[models]'")
        return
    table = Table()
    for heading in ("model", "detector", "particles", "energies [MeV]"):
        table.add_column(heading, overflow="fold")
    for heading in ("showers", "worth", "AUC", "ms", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row["name"], row["geometry"], row["particles"], *_numbers(row))
    out.print(table)
    for short, name in best.items():
        out.print(f"{short} is {name}")


def _numbers(row: dict[str, Any]) -> list[str]:
    span = row["energy_inc_MeV"]
    energies = "–" if span is None else f"{span[0]:.4g} to {span[1]:.4g}"
    written = {"n_showers": ",.0f", "worth": ",.0f", "auc": ".3f", "ms_per_shower": ".2g"}
    values = ["–" if row[key] is None else f"{row[key]:{form}}" for key, form in written.items()]
    return [energies, *values, f"{row['bytes'] / 1e6:.1f}"]


def _model(name: str, folder: Path) -> dict[str, Any]:
    """The facts about a model; None is not known."""
    from caloforge.pdg import kinds_of
    from caloforge.training import RunFolder

    run = RunFolder(folder)
    trained, config = run.trained_range(), run.config()
    return {
        "name": name,
        "folder": str(folder),
        "system": config["system"],
        "geometry": config["geometry"]["name"],
        "particles": kinds_of([run.usual_particle().pdg]),
        "energy_inc_MeV": None if trained is None else list(trained.energy_inc),
        "n_showers": None if trained is None else trained.n_showers,
        **_judged(folder),
        "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }


def _judged(folder: Path) -> dict[str, float | None]:
    """Worth, AUC and time of a model by its card, as far as they were measured.

    The AUC is that of the classifier that separates best, the time that of the fastest row.
    """
    from caloforge.training.enclosed import Enclosed

    files, path = Enclosed(folder), folder / "card.json"
    card = files.json(path, MOST_CARD) if files.holds(path) else {}
    try:
        scores = (card.get("evaluation") or {}).get("scores", [])
        worth = [s["value"] for s in scores if (s["metric"], s["observable"]) == ("worth", "all")]
        auc = [s["value"] for s in scores if s["observable"] == "auc"]
        rows = [row for timing in card.get("timing", []) for row in timing["rows"]]
        times = [row["ms_per_shower"] for row in rows]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no card of a model ({error}): write it again") from error
    return {
        "worth": max(_known(worth), default=None),
        "auc": max(_known(auc), default=None),
        "ms_per_shower": min(_known(times), default=None),
    }


def _known(values: list[Any]) -> list[float]:
    return [float(value) for value in values if value is not None]


def pack(
    run: Run,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder of the model.")],
    half: Annotated[
        bool, typer.Option("--half", help="Keep the weights of networks in half precision.")
    ] = False,
) -> None:
    """Make a model of a trained run: what generation needs, and no more.

    Example: caloforge pack runs/l2l --half -o models/electrons-mine-l2lflows
    """
    import caloforge.training as training

    folder = training.pack(run, output, half=half)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    console.print(f"{output}: {size / 1e6:.1f} MB")
