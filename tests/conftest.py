"""What tests of more than one folder share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Give the folder with real recordings that the environment names."""
    named = os.environ.get("SOMNOFLOW_REAL_DATA")
    if not named:
        pytest.skip("SOMNOFLOW_REAL_DATA is not set")
    return Path(named).resolve()


@pytest.fixture
def common_user(tmp_path: Path) -> Iterator[None]:
    """Let file permissions bind the test, also where root runs it; ask for it as the last one."""
    if os.geteuid() != 0:
        yield
        return
    nobody = 65534
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o011 != 0o011:
            folder.chmod(folder.stat().st_mode | 0o055)
    os.seteuid(nobody)
    yield
    os.seteuid(0)
