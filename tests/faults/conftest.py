"""The sweeps of the reduced faults use NumPy's loops: nothing is compiled for them."""

import pytest

from faults import studies


@pytest.fixture(autouse=True, scope="session")
def numpy_engine():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "ENGINE", ["engine=numpy"])
        yield
