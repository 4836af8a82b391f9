"""Tables in Markdown, and names in them."""

from __future__ import annotations

import pytest

from monai_ima.report import markdown_table, markdown_text


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("A|B", r"A\|B"),
        ("*bold* `x` <b>y</b>", r"\*bold\* \`x\` \<b>y\</b>"),
        ("ima_linf_1, 0.5 [a]", "ima_linf_1, 0.5 [a]"),
        ("_x_", r"\_x\_"),
        ("5$ to ~10~", r"5\$ to \~10\~"),
        ("a\\|b", r"a\\\|b"),
        ("[a](b)", r"[a]\(b)"),
        ("&lt; & R&D", r"\&lt; & R&D"),
        ("two\r\nlines\tand  blanks ", "two lines and blanks"),
    ],
)
def test_a_name_is_shown_as_it_is(name, written):
    assert markdown_text(name) == written


def test_a_name_with_a_bar_and_a_line_break_stays_one_cell():
    table = markdown_table([("run", "n"), (markdown_text("a|b\nc"), "1")])
    assert table.splitlines()[2:] == [r"| a\|b c | 1 |"]
