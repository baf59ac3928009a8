from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeder import urls

hosts = st.sampled_from(
    ["a.example", "A.Example:443", "münchen.example", "[::1]", "[2001:DB8::1]:8080", "127.0.0.1:80"]
)
rests = st.text(st.sampled_from('abZ059-._~/?#&=%+:@!ä人 \\"<>{}|^`utm_'), max_size=30)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("https://news.example/a", "https://news.example/a"),
        ("  https://news.example/a\n", "https://news.example/a"),
        ("HTTPS://News.Example/Path?Query=Yes", "https://news.example/Path?Query=Yes"),
        ("https://news.example", "https://news.example"),
        ("http://news.example:80/a", "http://news.example/a"),
        ("https://news.example:443/a", "https://news.example/a"),
        ("http://news.example:443/a", "http://news.example:443/a"),
        ("https://news.example:8443/a", "https://news.example:8443/a"),
        ("https://münchen.example/ä?q=ü#é", "https://xn--mnchen-3ya.example/%C3%A4?q=%C3%BC#%C3%A9"),
        ("https://xn--mnchen-3ya.example/", "https://xn--mnchen-3ya.example/"),
        ("https://MÜNCHEN.example/", "https://xn--mnchen-3ya.example/"),
        ("https://ｍu\u0308nchen.example/", "https://xn--mnchen-3ya.example/"),
        ("https://日本。jp/", "https://xn--wgv71a.jp/"),
        ("https://[2001:DB8::1]:8080/a", "https://[2001:db8::1]:8080/a"),
        ("https://news.example/100%", "https://news.example/100%25"),
        ("https://news.example/%zz%41%c3%a4", "https://news.example/%25zz%41%c3%a4"),
        ("https://news.example/two words", "https://news.example/two%20words"),
        ('https://news.example/"<>\\^`{|}', "https://news.example/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("https://news.example/a;b,c:d@e!$&'()*+=~", "https://news.example/a;b,c:d@e!$&'()*+=~"),
        ("https://under_score.example/", "https://under_score.example/"),
        ("https://192.0.2.7/a", "https://192.0.2.7/a"),
        ("https://news2.example/a", "https://news2.example/a"),
        ("https://2.news.example/a", "https://2.news.example/a"),
    ],
)
def test_an_address_is_written_as_rfc_3986_has_it(written, told):
    assert told == urls.http_url(written)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("javascript:alert(1)", "is not an http or https address"),
        ("JavaScript://news.example/%0aalert(1)", "is not an http or https address"),
        ("data:text/html,x", "is not an http or https address"),
        ("ftp://news.example/a", "is not an http or https address"),
        ("mailto:a@news.example", "is not an http or https address"),
        ("", "is not a whole address; begin it with https://"),
        ("news.example/a", "is not a whole address; begin it with https://"),
        ("//news.example/a", "is not a whole address; begin it with https://"),
        ("/a", "is not a whole address; begin it with https://"),
        ("https://", "names no host"),
        ("https:///a", "names no host"),
        ("https:news.example", "names no host"),
        ("https://ada@news.example/", "holds a user name or password"),
        ("https://ada:pass@news.example/", "holds a user name or password"),
        ("https://:@news.example/", "holds a user name or password"),
        ("https://news.example:65536/", "has a port that is no number from 0 to 65535"),
        ("https://news.example:http/", "has a port that is no number from 0 to 65535"),
        ("https://two words.example/", "has characters in its host name that no host can have"),
        ("https://%61.example/", "has characters in its host name that no host can have"),
        ("https://news.example.2/a", "has a host name that ends in a number and is no IPv4 address"),
        ("https://news.0x1f/a", "has a host name that ends in a number and is no IPv4 address"),
        ("https://2130706433/a", "has a host name that ends in a number and is no IPv4 address"),
        ("https://256.1.1.1/a", "has a host name that ends in a number and is no IPv4 address"),
        ("https://☃.example/", "has a host name that no host can have"),
        ("https://\u200b.example/", "has a host name that no host can have"),
        ("https://[::1/", "Invalid IPv6 URL"),
        ("https://news.example/a\nb", "holds a control character"),
        ("java\tscript:alert(1)", "holds a control character"),
        ("https://news.example/\x00", "holds a control character"),
        ("https://news.example/\x7f", "holds a control character"),
        (f"https://news.example/{'x' * 2028}", "is 2049 characters long; at most 2048 reach every service"),
        (f"https://news.example/{'ä' * 400}", "is 2421 characters long; at most 2048 reach every service"),
    ],
)
def test_what_is_no_address_of_an_article_is_told(written, reason):
    with pytest.raises(ValueError) as caught:
        urls.http_url(written)

    assert reason == str(caught.value)


def test_an_address_may_be_2048_characters_long():
    longest = f"https://news.example/{'x' * 2027}"

    assert (2048, longest) == (len(longest), urls.http_url(longest))


@given(hosts, rests)
def test_an_address_that_is_written_well_stays_as_it_is(host, rest):
    written = urls.http_url(f"https://{host}/{rest}")

    assert written == urls.http_url(written)
    assert re.fullmatch(r"[!-~]+", written)


@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=100))
def test_whatever_the_path_holds_the_address_is_one_that_stays_as_it_is(path):
    written = urls.http_url(f"https://news.example/{path}")

    assert written == urls.http_url(written)
    assert re.fullmatch(r"[!-~]+", written)


@pytest.mark.parametrize(
    "written",
    [
        "https://news.example/a",
        "https://news.example/a/",
        "https://news.example/a//",
        "https://news.example/a#top",
        "https://news.example/a?",
        "https://news.example/a/?",
        "https://news.example:443/a",
        "HTTPS://NEWS.Example/a",
        "https://news.example/a?utm_source=x&utm_medium=y",
        "https://news.example/a/?UTM_Campaign=x#top",
        "https://news.example/a?utm_source",
        "https://news.example/a?utm%5Fsource=x",
        "https://news.example/a?fbclid=1&gclid=2&dclid=3&msclkid=4&igshid=5&mc_cid=6&mc_eid=7&mkt_tok=8&_hsenc=9&yclid=0",
    ],
)
def test_ways_to_write_one_page_are_one(written):
    assert "https://news.example/a" == urls.canonical(urls.http_url(written))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("https://news.example", "https://news.example"),
        ("https://news.example/", "https://news.example"),
        ("http://news.example/a", "http://news.example/a"),
        ("https://news.example:8443/a", "https://news.example:8443/a"),
        ("https://news.example/A", "https://news.example/A"),
        ("https://news.example/a?b=2&a=1", "https://news.example/a?b=2&a=1"),
        ("https://news.example/a?page=2&utm_source=x", "https://news.example/a?page=2"),
        ("https://news.example/a?&&page=2&", "https://news.example/a?page=2"),
        ("https://news.example/a/?page=2", "https://news.example/a?page=2"),
        ("https://news.example/a?utm=1&autm_x=2&ref=3", "https://news.example/a?utm=1&autm_x=2&ref=3"),
        ("https://news.example/a?page&empty=", "https://news.example/a?page&empty="),
        ("https://news.example/a?q=x;utm_source=y", "https://news.example/a?q=x;utm_source=y"),
        ("https://news.example/a?q=%26+b", "https://news.example/a?q=%26+b"),
    ],
)
def test_what_tells_pages_apart_is_kept(written, told):
    assert told == urls.canonical(written)


@given(hosts, rests)
def test_a_canonical_address_stays_as_it_is(host, rest):
    told = urls.canonical(urls.http_url(f"https://{host}/{rest}"))

    assert told == urls.canonical(told)
    assert told == urls.http_url(told)


@given(
    hosts, st.text(st.sampled_from("abc/-."), max_size=10), st.sampled_from(["", "/", "?utm_source=x", "/?fbclid=1#y"])
)
def test_what_says_where_a_reader_came_from_names_no_other_page(host, path, tail):
    plain = urls.http_url(f"https://{host}/{path}")

    assert urls.canonical(plain) == urls.canonical(plain + tail)


@given(st.from_regex(urls._PLAIN, fullmatch=True))
def test_an_address_with_nothing_to_be_done_is_left_as_the_long_way_leaves_it(url):
    try:
        expected = urls._normalised(url)
    except ValueError:
        expected = None
    if expected is not None:
        assert urls.http_url(url) == expected
    else:
        with pytest.raises(ValueError, match=r"long|number"):
            urls.http_url(url)
