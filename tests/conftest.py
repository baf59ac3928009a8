from __future__ import annotations

import os
import sys

import feedparser_sgmllib
import pytest
from hypothesis import HealthCheck, settings

sys.modules.setdefault("sgmllib", feedparser_sgmllib)  # the copy of feedparser within `reader` knows it by its old name

# Machines differ in speed, and no test depends on it.
settings.register_profile("feeder", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("feeder")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not see the FEEDER_ variables that somebody has set."""
    for name in [name for name in os.environ if name.startswith("FEEDER_")]:
        monkeypatch.delenv(name)
