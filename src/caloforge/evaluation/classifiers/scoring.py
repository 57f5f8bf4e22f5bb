"""Scores of a classifier's outputs: calibration, AUC, JSD, weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss, roc_auc_score

__all__ = ["calibrate", "classifier_weights", "score"]

MARGIN = 1e-6


def calibrate(
    known_output: ArrayLike,
    known_labels: ArrayLike,
    output: ArrayLike,
    margin: float | None = MARGIN,
) -> NDArray[np.float64]:
    """Map a classifier's outputs to probabilities of Geant4 by isotonic regression.

    Args:
        known_output: outputs that the regression is fitted on, shape (n,).
        known_labels: 1 for Geant4, 0 for generated, shape (n,).
        output: outputs to be mapped, shape (m,).
        margin: distance that probabilities keep from 0 and 1; None: 1 / (n + 2).

    Returns:
        Probabilities, shape (m,).

    Source: CaloChallenge, ``evaluate.py``, with a margin of 1e-6.
    """
    known = np.asarray(known_output)
    edge = 1 / (len(known) + 2) if margin is None else margin
    regression = IsotonicRegression(out_of_bounds="clip", y_min=edge, y_max=1 - edge)
    fitted = regression.fit(known, np.asarray(known_labels))
    return np.asarray(fitted.predict(np.asarray(output)), np.float64)


def score(probability: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    r"""AUC and JSD of probabilities p of being Geant4.

    ``auc`` is the area under the ROC curve of p, ``jsd`` the Jensen-Shannon divergence in bits that
    the cross entropy bounds from below,

    .. math:: \mathrm{JSD} = 1 + \frac{1}{N \ln 2} \sum_i [y_i \ln p_i + (1 - y_i) \ln(1 - p_i)]

    0.5 and 0 for samples that the classifier cannot distinguish (the JSD may fall a little below),
    1 and 1 for separated ones.

    Args:
        probability: shape (n,).
        labels: 1 for Geant4, 0 for generated, equally many, shape (n,).

    Source: CaloChallenge, ``evaluate.py``; Convolutional L2LFlows, section 4.2.
    """
    return {
        "auc": float(roc_auc_score(labels, probability)),
        "jsd": float(1 - log_loss(labels, probability) / np.log(2)),
    }


def classifier_weights(probability: ArrayLike, margin: float = MARGIN) -> NDArray[np.float64]:
    r"""Weights that a classifier sees between Geant4 and a generator.

    .. math:: w(x) = \frac{C(x)}{1 - C(x)} \approx \frac{p_\mathrm{Geant4}(x)}{p_\mathrm{model}(x)}

    with C the calibrated probability of Geant4. A generated shower of large weight is one that the
    generator makes too rarely. Failures show as tails: of small weights in generated showers, of
    large ones in Geant4's, so both have to be examined.

    Args:
        probability: C, shape (n,).
        margin: distance that C keeps from 0 and 1, so that weights lie between about this and its
            inverse; outputs of a calibrated protocol keep it already.

    Returns:
        Weights, shape (n,).

    Source: CaloDREAM (arXiv:2405.09629), equation 21.
    """
    c = np.clip(np.asarray(probability, np.float64), margin, 1 - margin)
    return c / (1 - c)
