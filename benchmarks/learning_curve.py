"""Learning curve of a run: what each further epoch gains, from the logs of the run folder.

    python benchmarks/learning_curve.py runs/l2l -o benchmarks/results/learning_curve.json

Validation losses are those of the stages (nats a layer, or a voxel), averaged over the layers.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.training import RunFolder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    rows = curve(arguments.run)
    for row in rows:
        print(json.dumps(row))
    if arguments.output:
        config = RunFolder(arguments.run).config()
        result = {
            "system": config["system"],
            "geometry": config["geometry"]["name"],
            "n_showers": config["data"]["n_showers"],
            "rows": rows,
        }
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


def curve(run: Path) -> list[dict[str, Any]]:
    """A row an epoch of the stages that are trained alike; the first of a warm start has more."""
    logs = {}
    for path in sorted((run / "stages").glob("*/log.csv")):
        with path.open() as file:
            logs[path.parent.name] = list(csv.DictReader(file))
    lengths = [len(log) for log in logs.values()]
    common = int(np.median(lengths))
    layers = [log for log in logs.values() if len(log) == common]
    rows = []
    for epoch in range(common):
        validation = [float(log[epoch]["validation"]) for log in layers]
        training = [float(log[epoch]["loss"]) for log in layers]
        rows.append(
            {
                "epoch": epoch + 1,
                "stages": len(layers),
                "seconds": round(sum(float(log[epoch]["seconds"]) for log in layers)),
                "training": round(float(np.mean(training)), 4),
                "validation": round(float(np.mean(validation)), 4),
            }
        )
    return rows


if __name__ == "__main__":
    main()
