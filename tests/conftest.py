"""What tests of more than one folder share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Give the folder with real recordings that the environment names."""
    named = os.environ.get("SOMNOFLOW_REAL_DATA")
    if not named:
        pytest.skip("SOMNOFLOW_REAL_DATA is not set")
    return Path(named).resolve()
