"""Gradients without going back: the influence of the parameters on the state, exact and as its approximations.

`rtrl` is exact, `uoro` right in the mean, `snap` keeps some entries of the influence matrix and `rflo` the leak alone.
All take a trace and a loss, and return gradients keyed like the parameters: of the recurrent ones by their method, of
the readout, which needs none, exactly. `measures.sensitivity` says how large the influence is.
"""
