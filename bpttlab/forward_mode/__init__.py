"""Gradients without going back: the influence of the parameters on the state, exact and as its approximations.

`rtrl` is exact, `uoro` right in the mean, `snap` keeps some entries of the influence matrix and `rflo` the leak alone.
All take a trace and a loss, and return gradients keyed like the parameters: of the recurrent ones by their method, of
the readout, which needs none, exactly. `forward_sensitivity` says how large the influence is.
"""

from bpttlab.forward_mode.exact import Influence, influence, rtrl
from bpttlab.forward_mode.local import rflo
from bpttlab.forward_mode.rank_one import uoro, uoro_draws, uoro_variance
from bpttlab.forward_mode.sensitivity import forward_sensitivity, measure_sensitivity
from bpttlab.forward_mode.sparse import snap, snap_cost

__all__ = [
    "Influence",
    "forward_sensitivity",
    "influence",
    "measure_sensitivity",
    "rflo",
    "rtrl",
    "snap",
    "snap_cost",
    "uoro",
    "uoro_draws",
    "uoro_variance",
]
