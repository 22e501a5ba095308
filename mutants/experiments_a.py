"""Wrong engines of four experiments' own subjects as data, and reduced sweeps on which a claim fails for each of them.

A wrong engine is a line of the package that is changed: `before` occurs exactly once in `file`, and `after` takes its
place. On the sweeps of REDUCED no claim of the experiment fails with the right engine, and at least one fails with a
wrong one. (Claims about medians are undecided there: one or two networks have no interval.)
"""

from __future__ import annotations

REDUCED: dict[str, tuple[str, ...]] = {
    "vanishing_exploding": (
        "experiment=vanishing_exploding task=noise,digits_rows spectral_radius=0.5,0.9,1.0,2.5 "
        "sequence_length=10,50 truncation=full,5 seed=0",
    ),
    "spectral_radius_is_not_gain": (
        "experiment=spectral_radius_is_not_gain_rest seed=0",
        "experiment=spectral_radius_is_not_gain_rest_non_normal seed=0",
        "experiment=spectral_radius_is_not_gain_driven spectral_radius=1.2,2.4 seed=0",
        "experiment=spectral_radius_is_not_gain_driven_non_normal spectral_radius=0.6,1.8 seed=0",
        "experiment=spectral_radius_is_not_gain_powers cell.hidden_size=100 seed=0",
        "experiment=spectral_radius_is_not_gain_values seed=0",
    ),
    "edge_of_chaos": (
        "experiment=edge_of_chaos_autonomous cell.hidden_size=64,128 initializer.gain=0.6,1.5,3.0 sequence_length=500 "
        "seed=0",
        "experiment=edge_of_chaos_driven cell.hidden_size=64 task.input_size=64 scales.V=0.223606797749979,1.0 "
        "sequence_length=500 initializer.gain=1.2,1.4 seed=0",
        "experiment=edge_of_chaos_spectrum cell.hidden_size=64 sequence_length=300 seed=0",
        "experiment=edge_of_chaos_rest sequence_length=500 seed=0",
        "experiment=edge_of_chaos_gradients initializer.gain=0.6,3.0 sequence_length=200 seed=0",
    ),
    "gates_remember": (
        "experiment=gates_remember_path cell.chrono=null,100 seed=0",
        "experiment=gates_remember_bias cell.forget_bias=0,1,4 seed=0",
        "experiment=gates_remember_chrono cell.chrono=10,30,300,1000 seed=0",
        "experiment=gates_remember_cells spectral_radius=0.5,1.0,1.5 seed=0",
        "experiment=gates_remember_control seed=0",
    ),
}
"""The lines of `bpttlab sweep` of each experiment, all into one study."""

FIT_FROM_0 = ("bpttlab/jacobians.py", "first = max(1, int(fit_from * last))", "first = 0")
JACOBIAN_TRANSPOSED = (
    "bpttlab/cells/elman.py",
    'return slope_t[..., :, None] * params["W"]',
    'return slope_t[..., :, None] * params["W"].T',
)

MUTANTS: tuple[tuple[str, str, str, str, str], ...] = (
    ("growth-fitted-from-lag-0", *FIT_FROM_0, "vanishing_exploding"),
    ("elman-jacobian-transposed", *JACOBIAN_TRANSPOSED, "vanishing_exploding"),
    (
        "elman-pull-transposed",
        "bpttlab/cells/elman.py",
        '(rows(da_t) @ params["W"]).reshape(da_t.shape)',
        '(rows(da_t) @ params["W"].T).reshape(da_t.shape)',
        "vanishing_exploding",
    ),
    (
        "bias-relative-to-what-is-kept",
        "bpttlab/truncations.py",
        "bias = log_relative(norm(found.tail[name]), log_full) if",
        "bias = log_relative(norm(found.tail[name]), norm(found.mean[name])) if",
        "vanishing_exploding",
    ),
    (
        "per-loss-one-lag-more",
        "bpttlab/truncation.py",
        "(max(0, t - self.truncation), t, t - 1)",
        "(max(0, t - self.truncation - 1), t, t - 1)",
        "vanishing_exploding",
    ),
    (
        "typical-norm-over-N",
        "bpttlab/jacobians.py",
        "width = 0.5 * math.log(size)\n    for step",
        "width = math.log(size)\n    for step",
        "vanishing_exploding",
    ),
    (
        "gradient-of-W-with-the-state-after",
        "bpttlab/cells/elman.py",
        '"W": da.T @ h_prev, "b_h": da.sum(axis=0)}',
        '"W": da.T @ np.roll(h_prev, -1, axis=0), "b_h": da.sum(axis=0)}',
        "vanishing_exploding",
    ),
    ("growth-fitted-from-lag-0", *FIT_FROM_0, "spectral_radius_is_not_gain"),
    ("elman-jacobian-transposed", *JACOBIAN_TRANSPOSED, "spectral_radius_is_not_gain"),
    (
        "singular-values-of-transposed-jacobians",
        "bpttlab/singular_values.py",
        "held.append(J[0])",
        "held.append(J[0].T)",
        "spectral_radius_is_not_gain",
    ),
    (
        "gain-over-N",
        "bpttlab/matrices.py",
        "whole.exponent.item()) / math.sqrt(len(whole))",
        "whole.exponent.item()) / len(whole)",
        "spectral_radius_is_not_gain",
    ),
    (
        "departure-over-the-square",
        "bpttlab/matrices.py",
        "return departure / float(np.linalg.norm(matrix))",
        "return departure / float(np.linalg.norm(matrix)) ** 2",
        "spectral_radius_is_not_gain",
    ),
    (
        "peak-at-a-wrong-lag",
        "bpttlab/matrices.py",
        "peak, peak_lag = log_norm, first_lag + place",
        "peak, peak_lag = log_norm, place",
        "spectral_radius_is_not_gain",
    ),
    (
        "qr-of-transposed-jacobians",
        "bpttlab/spectra.py",
        "        return J @ Y\n",
        "        return np.swapaxes(J, -2, -1) @ Y\n",
        "edge_of_chaos",
    ),
    (
        "exponents-count-the-transient",
        "bpttlab/spectra.py",
        "return self.logs.sum(axis=0) / (self.ends[-1] - self.ends[0])",
        "return self.logs.sum(axis=0) / self.ends[-1]",
        "edge_of_chaos",
    ),
    (
        "exponents-with-the-sign-turned",
        "bpttlab/spectra.py",
        "return self.logs.sum(axis=0) / (self.ends[-1] - self.ends[0])",
        "return -self.logs.sum(axis=0) / (self.ends[-1] - self.ends[0])",
        "edge_of_chaos",
    ),
    (
        "dimension-divided-by-the-exponent-before",
        "bpttlab/spectra.py",
        "sums[j - 1] / -ordered[j] if",
        "sums[j - 1] / abs(ordered[j - 1]) if",
        "edge_of_chaos",
    ),
    (
        "entropy-of-all-exponents",
        "bpttlab/spectra.py",
        "return float(values[values > 0].sum())",
        "return float(values.sum())",
        "edge_of_chaos",
    ),
    (
        "s_f-takes-c_t",
        "bpttlab/cells/lstm.py",
        "logistic_slope(a_f) * c_prev,",
        "logistic_slope(a_f) * c_t,",
        "gates_remember",
    ),
    (
        "input-gradient-doubled",
        "bpttlab/jacobians.py",
        "dx = trace.cell.pull_input(trace.params, trace.slopes[at], da.mantissa)",
        "dx = 2.0 * trace.cell.pull_input(trace.params, trace.slopes[at], da.mantissa)",
        "gates_remember",
    ),
    (
        "input-gradient-a-step-early",
        "bpttlab/jacobians.py",
        "at = checked_steps(trace, steps) - 1,",
        "at = np.maximum(checked_steps(trace, steps) - 2, 0),",
        "gates_remember",
    ),
    (
        "gru-reset-path-of-u",
        "bpttlab/cells/gru.py",
        "            da_r = s_r * da_n\n",
        "            da_r = s_r * da_u\n",
        "gates_remember",
    ),
    (
        "gru-candidate-without-reset",
        "bpttlab/cells/gru.py",
        "sent_back(side_by_side(da_r, da_u, r * da_n), params",
        "sent_back(side_by_side(da_r, da_u, da_n), params",
        "gates_remember",
    ),
    (
        "lstm-cell-path-without-h",
        "bpttlab/cells/lstm.py",
        "dc = dc + k * dh  # both ways",
        "dc = dc + 0.0 * dh  # both ways",
        "gates_remember",
    ),
    (
        "vanishing-horizon-at-e-2",
        "bpttlab/jacobians.py",
        "vanishing = lag if least >= -1.0 else vanishing",
        "vanishing = lag if least >= -2.0 else vanishing",
        "gates_remember",
    ),
)
"""(name, file, before, after, experiment)."""
