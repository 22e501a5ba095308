"""Small training runs for monitors: weights of NumPy that are moved by hand, and a probe; made-up runs."""

import numpy as np
import pandas as pd

import bpttlab as lab

N, T, B = 4, 6, 3
PROBE = np.random.default_rng(7).standard_normal((T, B, 2))


def make_network(seed=0, cell=None):
    """A cell and its weights."""
    cell = cell or lab.Elman(input_size=2, hidden_size=N, output_size=1)
    return cell, cell.init(np.random.default_rng(seed), spectral_radius=0.8)


def make_monitor(folder, study="mine", probe=PROBE, **chosen):
    """A monitor of every update; nothing is compiled."""
    return lab.Monitor(study, probe, results=folder, **{"every": 1, "engine": "numpy", **chosen})


def train(monitor, updates=4, seed=0, first=0, factor=1.1):
    """A loop in which W grows by a factor at every update; the network after it."""
    cell, params = make_network(seed)
    for update in range(first, updates + 1):
        params["W"] = params["W"] if update == first else factor * params["W"]
        monitor(update, (cell, params), loss=1.0 / (1 + update))
    return cell, params


def load(folder, study="mine", **chosen):
    return lab.load(study, folder, **chosen)


def training_runs(networks=6, updates=(0, 50, 100), rate=None, **changes):
    """Runs of a label at some updates; a network's rate rises by 0.1 with its number, and by 0.01 an update."""
    rate = rate or (lambda network, update: -1.0 + 0.1 * network + 0.01 * update)
    rows = [
        {
            "run_id": f"{network:02d}{update:05d}",
            "network_id": f"n{network}",
            "status": "done",
            "seed": network,
            "task": "probe",
            "cell": "elman",
            "initializer": "none",
            "sequence_length": 20,
            "cell_label": "small",
            "network_order": 1,
            "update": update,
            "network_weights": f"w{network}{update}",
            "growth_rate": rate(network, update),
            "log_growth": 20 * rate(network, update),
            "training_loss": 1.0 / (1 + update),
            **dict.fromkeys(("growing_horizon", "horizon_censored", "lyapunov_exponent", "rho", "loss"), np.nan),
            **dict.fromkeys(("asymptote_rate", "bound_rate", "mean_field_rate", "training_log_gradient_norm"), np.nan),
            "vanishing_horizon": 3,
            **changes,
        }
        for network in range(networks)
        for update in updates
    ]
    return pd.DataFrame(rows)


def trained_runs(solved=(), censored=(), diverged=(), **changes):
    """Runs of networks that a sweep trained, each before and after: solved at these updates, never solved up to these,
    or diverged at these."""
    ends = [
        *(("solved", at) for at in solved),
        *(("done", at) for at in censored),
        *(("diverged", at) for at in diverged),
    ]
    runs = training_runs(networks=len(ends), updates=(0, 1000), **changes)
    last, ends = runs["update"] > 0, pd.DataFrame(ends, columns=["status", "at"]).iloc[runs["seed"]].reset_index()
    is_solved = last & (ends["status"] == "solved")
    return runs.drop(columns=["cell_label", "network_order"]).assign(
        training_scheme="full",
        training_truncation="full",
        training_status=ends["status"].where(last, "done"),
        trained_updates=ends["at"].where(last, 0),
        solved_at=ends["at"].where(is_solved).astype("Int64"),
    )
