"""Whatever a person wrote, MONAI's parser hands it back."""

from hypothesis import given, strategies as st
from monai.bundle import ConfigParser

from monai_ima.bundle.config_text import plain_text

SIGNS = st.text(alphabet="@$%#:'\"\\ax4", max_size=6) | st.text(max_size=6)


@given(start=st.sampled_from(["", "@", "$", "%"]), rest=SIGNS)
def test_a_text_comes_back(start, rest):
    text = start + rest
    parser = ConfigParser({"names": [plain_text(text)], "a": "another"})
    assert parser.get_parsed_content("names") == [text]
