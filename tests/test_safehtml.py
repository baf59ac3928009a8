"""HTML that is safe in any reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from feeder.safehtml import sanitise


def test_relative_links_are_resolved():
    assert sanitise('<a href="b">x</a>', "https://news.example/a") == '<a href="https://news.example/b">x</a>'


@pytest.mark.parametrize("base", ["https://news.2/a", "https://xn--zz-.example/a"])
def test_what_is_relative_to_no_address_is_left_out_and_the_rest_stays(base):
    html = '<a href="b">x</a><a href="https://y.example/">y</a><script>z</script>'

    assert sanitise(html, base) == '<a>x</a><a href="https://y.example/">y</a>'


@pytest.mark.parametrize("code", ["&#1;", "&#x1f;", "&#xFFFE;", "&#xFFFF;", "&#x1FFFE;", "&#xFDD0;"])
@pytest.mark.parametrize("html", ["<p>a{}b</p>", '<a href="https://x.example/" title="{}">x</a>', '<img alt="{}">'])
def test_an_entity_is_no_way_to_what_xml_cannot_hold(html, code):
    etree.Element("content").text = sanitise(html.format(code), "https://x.example/")  # lxml raises for what it refuses


@given(
    st.lists(
        st.integers(0, 0x10FFFF).map("&#{};".format) | st.text() | st.sampled_from('<p> </p> <b title=" ">'.split())
    )
)
def test_what_comes_out_is_text_that_xml_can_hold(parts):
    html = "".join(parts).encode("utf-8", "replace").decode()

    etree.Element("content").text = sanitise(html, "https://x.example/")
