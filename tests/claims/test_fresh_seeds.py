"""Claims hold for the question, not for the seeds that an experiment is shipped with (experiments/README.md)."""

import pytest

from bpttlab.claims import analyses
from bpttlab.verification.experiments import sweep_experiment


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "seeds"), [("vanishing_exploding", "range(200,208)"), ("gates_remember", "range(500,512)")]
)
def test_claims_hold_on_fresh_seeds(name, seeds, tmp_path):
    study = sweep_experiment(name, str(tmp_path), f"seed={seeds}")
    claims = analyses.check_claims(analyses.find_analysis(name), study)
    assert claims["held"].all(), claims.loc[
        ~claims["held"], ["claim", "verdict", "measured", "low", "high"]
    ].to_string()
