"""Figures for tests that look at what is drawn, and not at where."""

from __future__ import annotations

import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine


@pytest.fixture
def without_layout(monkeypatch) -> None:
    """Figures are drawn without making room for their texts, which takes half of the time."""
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda self, figure: None)
