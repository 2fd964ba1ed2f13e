"""Makes `tests/oracles.py` importable from every folder of tests, and keeps each test on one thread."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """As in the engine: small products gain nothing from more, and results must not depend on it."""
    torch.set_num_threads(1)
