"""The page says what the result files say."""

import runpy

import pytest
from bundle_run import ROOT

SCRIPT = runpy.run_path(str(ROOT / "scripts" / "margin_update.py"))


@pytest.mark.parametrize("data", ["ecg", "fashion_mnist"])
def test_the_page_has_the_table_of_the_result_files(data):
    page = (ROOT / "docs" / "margin.md").read_text("utf-8")
    marker = f"<!-- {data} -->\n"

    assert page[page.index(marker) + len(marker) :].startswith(SCRIPT["table"](data) + "\n")


def test_the_interval_is_student_s():
    """Of 1, 2, 3: t(0.975, 2) = 4.303, standard error 1 / sqrt(3)."""
    assert SCRIPT["interval"]([1.0, 2.0, 3.0]) == pytest.approx((-0.484, 2, 4.484), abs=1e-3)
