import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from exported import KINDS, exported


@pytest.fixture(scope="session", params=KINDS)
def bundle(request, tmp_path_factory):
    """A bundle of each kind: its kind, its folder, and the folder with run and data."""
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, exported(request.param, folder), folder
