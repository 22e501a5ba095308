"""Derivatives along directions in parameter space: of a scale, or of one number that several parameters share.

    dL/dtheta = sum_p <dL/dp, dp/dtheta>

A truncation can leave the sign of every large gradient right and that of dL/dtheta wrong (Tallec & Ollivier 2018a).
"""

from __future__ import annotations

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.numerics.array import Array
from bpttlab.numerics.scaled import Scaled, dot

Directions = dict[str, Params]
"""Name of theta -> dp/dtheta of the parameters that it moves."""

LOG_SCALE, SIGNED_BIAS = "log scale of W", "signed b_h"


def log_scale(cell: Cell, params: Params) -> Params:
    """theta = the logarithm of a factor on all recurrent matrices: dW/dtheta = W; so on spectral radius and gain.

    Raises:
        ConfigurationError: the cell has no W.
    """
    names = weight_names(cell)
    return {name: params[name] for name in names}


def weight_names(cell: Cell) -> list[str]:
    """W, or W_1, W_2, ... of a stack."""
    names = [name for name in cell.recurrent_parameters if name.split("_")[0] == "W" and name != "W_z"]
    if not names:
        raise ConfigurationError(f"measure.log_scale=true: the cell '{cell.name}' has no recurrent matrix W to scale")
    return names


def signed_bias(cell: Cell, positive: int) -> Params:
    """theta in b_h = (+theta, ..., +theta, -theta, ..., -theta), as in influence balancing.

    Args:
        positive: how many units, the first, have the plus sign.

    Raises:
        ConfigurationError: the cell has no b_h of one number a unit, or fewer units.
    """
    shape = cell.shapes().get("b_h")
    if shape != (cell.hidden_size,):
        raise ConfigurationError(
            f"measure.signed_bias={positive}: the cell '{cell.name}' has no b_h with one number a unit"
        )
    if positive > cell.hidden_size:
        raise ConfigurationError(f"measure.signed_bias={positive}: must be at most {cell.hidden_size} units")
    signs: Array = np.where(np.arange(cell.hidden_size) < positive, 1.0, -1.0)
    return {"b_h": signs}


def with_directions(gradients: dict[str, Scaled], directions: Directions) -> dict[str, Scaled]:
    """Gradients, and beside them the derivative along each direction, (1,); nothing beside no gradients."""
    if not gradients:
        return gradients
    return gradients | {name: _directional_derivative(gradients, direction) for name, direction in directions.items()}


def _directional_derivative(gradients: dict[str, Scaled], direction: Params) -> Scaled:
    """sum_p <dL/dp, dp/dtheta>.  -> (1,)"""
    terms = [dot(Scaled.whole(g.mantissa, g.exponent.item()), Scaled.whole(direction[name].astype(g.mantissa.dtype)))
             for name, g in gradients.items() if name in direction]  # fmt: skip
    exponent = max(int(term.exponent.item()) for term in terms)
    return Scaled.whole(np.sum([term.at(exponent) for term in terms], axis=0), exponent)
