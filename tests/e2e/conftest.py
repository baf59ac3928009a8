"""What the tests against real servers have in common."""

from __future__ import annotations

import pytest

from feeder.store import open_store
from tests.test_delivery import Post, articles

__all__ = ["articles", "post"]  # fixtures; the articles are the seeds


@pytest.fixture
def post(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    yield Post(store)
    store.close()
