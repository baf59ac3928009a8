"""HTML that is safe in any reader."""

from __future__ import annotations

import pytest

from feeder.safehtml import sanitise


def test_relative_links_are_resolved():
    assert sanitise('<a href="b">x</a>', "https://news.example/a") == '<a href="https://news.example/b">x</a>'


@pytest.mark.parametrize("base", ["https://news.2/a", "https://xn--zz-.example/a"])
def test_what_is_relative_to_no_address_is_left_out_and_the_rest_stays(base):
    html = '<a href="b">x</a><a href="https://y.example/">y</a><script>z</script>'

    assert sanitise(html, base) == '<a>x</a><a href="https://y.example/">y</a>'
