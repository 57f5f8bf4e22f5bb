"""Flow matching: the path from noise to data, the velocity's loss, and solvers of its ODE."""

from caloforge.matching.adaptive import Adaptive
from caloforge.matching.bespoke import Bespoke, global_error, local_error
from caloforge.matching.catalogue import make_solver, solver_names
from caloforge.matching.flowmap import FlowMap, Jumps, MeanVelocity, flow_map_loss, jumps
from caloforge.matching.hits import DrawnHits, hit_spread
from caloforge.matching.nonstationary import NonStationary
from caloforge.matching.path import LinearPath, Velocity, matching_loss
from caloforge.matching.reference import Batch, Reference, follow
from caloforge.matching.rungekutta import EULER, MIDPOINT, RK4, RungeKutta, Tableau
from caloforge.matching.solver import Solver
from caloforge.matching.training import (
    BespokeTraining,
    CurvePoint,
    TrainedSolver,
    Truncation,
    train_bespoke,
)

__all__ = [
    "EULER",
    "MIDPOINT",
    "RK4",
    "Adaptive",
    "Batch",
    "Bespoke",
    "BespokeTraining",
    "CurvePoint",
    "DrawnHits",
    "FlowMap",
    "Jumps",
    "LinearPath",
    "MeanVelocity",
    "NonStationary",
    "Reference",
    "RungeKutta",
    "Solver",
    "Tableau",
    "TrainedSolver",
    "Truncation",
    "Velocity",
    "flow_map_loss",
    "follow",
    "global_error",
    "hit_spread",
    "jumps",
    "local_error",
    "make_solver",
    "matching_loss",
    "solver_names",
    "train_bespoke",
]
