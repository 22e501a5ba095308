"""A scheme of one's own: one class with a name and one method."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from bpttlab import plugins
from bpttlab.errors import ConfigurationError
from bpttlab.gradients.backward import backward
from bpttlab.gradients.plan import Plan
from bpttlab.measures.gradient_bias import truncation_bias
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.cost_estimate import expected_rows, scheme_costs
from bpttlab.sweeps.run import run
from bpttlab.truncation.averaged import ChunkedMean, Random
from bpttlab.truncation.forward import UORO, SnAp
from bpttlab.truncation.scheme import Scheme
from bpttlab.truncation.segmented import Full, PerLoss
from bpttlab.verification.gradient_check import assert_agree
from tests.support.networks import case

PAGE = Path(__file__).resolve().parents[2] / "docs" / "truncation.md"


def damped_of_the_page(folder):
    """The file of docs/truncation.md, as it stands there."""
    (code,) = re.findall(r"`damped\.py`\n\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    path = folder / "damped.py"
    path.write_text(code, encoding="utf-8")
    return path


with TemporaryDirectory() as folder, plugins.use(str(damped_of_the_page(Path(folder)))):
    Damped = plugins.find("scheme", "damped")


def test_one_method_is_all_that_a_scheme_has_to_say():
    assert Scheme.__abstractmethods__ == {"one_gradient"}


def test_its_bias_is_the_difference_from_the_full_gradient():
    network = case(T=7)
    frame = truncation_bias(network.trace, network.loss, Damped(7, factor=0.25)).set_index("parameter")
    full = backward(network.trace, network.loss)
    own = Damped(7, factor=0.25).one_gradient(network.trace, network.loss, None)
    for name in ("W", "V", "b_h"):
        expected = np.linalg.norm(full[name] - own[name]) / np.linalg.norm(full[name])
        assert frame.loc[name, "log_relative_bias"] == pytest.approx(np.log(expected), rel=1e-9)
        assert frame.loc[name, "steps_computed"] == 7 and frame.loc[name, "scheme"] == "damped"


def test_that_of_the_undamped_one_is_rounding():
    network = case(T=7)
    frame = truncation_bias(network.trace, network.loss, Damped(7, factor=1.0))
    assert (frame["log_relative_bias"] < np.log(1e-12)).all()


def configured(**changes):
    plain = {"sequence_length": 8, "batch_size": 2, "truncation": 3, "engine": "numpy", "cell.hidden_size": 4}
    with plugins.use(Damped):
        return Configuration.parse({**plain, **changes})


def test_a_configuration_takes_its_fields_and_its_truncation():
    one = configured(scheme={"name": "damped", "factor": 0.75})
    assert one.scheme == Damped(3, factor=0.75)
    assert configured(scheme={"name": "damped"}, truncation="full").scheme == Full()
    with pytest.raises(ConfigurationError, match="scheme.facter"):
        configured(scheme={"name": "damped", "facter": 0.75})


def test_a_run_stores_its_rows_and_the_cost_is_estimated():
    one = configured(scheme={"name": "damped", "factor": 0.75}, measure={"scheme_seconds": True})
    records = run(one)
    own = records.truncations[records.truncations["origin"] == "scheme"]
    assert set(own["scheme"]) == {"damped"} and set(own["parameter"]) == {"V", "W", "b_h"}
    assert records.provenance["scheme_seconds"] > 0.0
    assert expected_rows([one])["bias_bounds"] == 0
    (cost,) = scheme_costs([one]).values()
    assert cost >= 0.0


@pytest.mark.parametrize(("scheme", "members"), [(PerLoss(3), 0), (Random(3, draws=5), 5), (UORO(draws=7), 7),
                                                 (ChunkedMean(4), 4), (ChunkedMean(90), 20), (SnAp(2), 0)])  # fmt: skip
def test_a_scheme_knows_how_many_gradients_it_takes(scheme, members):
    assert scheme.members(20) == members
    assert scheme.with_members(6).members(20) == (6 if members else 0)


def test_what_has_no_plan_is_no_scheme_for_backward():
    network = case(T=5)
    with pytest.raises(ConfigurationError, match="scheme=damped: has no one plan"):
        backward(network.trace, network.loss, Damped(3))


def test_a_plan_is_walked_as_it_is():
    network = case(T=5)
    plan = Plan(np.array([[0, 5, 0]]), np.full(5, 0.25))
    assert_agree(
        backward(network.trace, network.loss, plan), Damped(5, 0.25).one_gradient(network.trace, network.loss, None)
    )
