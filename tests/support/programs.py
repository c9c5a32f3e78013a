"""Programs that are no Python packages, and what becomes of a test that needs one."""

from __future__ import annotations

import os
import shutil

import pytest

PATH = f"{os.environ['PATH']}:/usr/sbin"
"""Debian has servers where only root looks."""


def program(package: str, *names: str) -> str:
    """Path of the first that is here. Without one the test is skipped and says so at the end of the run, or with
    TEST_PROGRAMS=required, as in CI, it fails."""
    for name in names or (package,):
        if found := shutil.which(name, path=PATH):
            return found
    said = f"{package} is not here: this is NOT tested; `apt-get install {package}` brings it, and .ci/run does that"
    if os.environ.get("TEST_PROGRAMS") == "required":
        pytest.fail(said)
    pytest.skip(said)
