from __future__ import annotations

from datetime import UTC, datetime

import pytest

from feeder import negotiation

FEEDS = ["application/rss+xml", "application/atom+xml", "application/feed+json"]
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", ""),
        ("gzip", "gzip"),
        ("gzip, deflate", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("GZIP;q=1.0, br;q=0.5", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("gzip;q=0", ""),
        ("gzip; q=0.2 , identity", ""),
        ("*", "br"),
        ("*;q=0", ""),
        ("gzip;q=much", ""),
        ("deflate", ""),
        ("gzip;q=0.5, identity;q=0", "gzip"),
        (",;q=1,", ""),
    ],
)
def test_the_encoding_that_a_client_prefers_is_chosen(header, chosen):
    assert negotiation.encoding(header, ("br", "gzip")) == chosen


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        (CHROME, "text/html"),
        ("text/html", "text/html"),
        ("application/xhtml+xml", "text/html"),
        ("", "application/rss+xml"),
        ("*/*", "application/rss+xml"),
        ("application/*", "application/rss+xml"),
        ("application/atom+xml, application/rss+xml;q=0.9, */*;q=0.1", "application/atom+xml"),
        ("application/feed+json, application/json", "application/feed+json"),
        ("application/rss+xml, text/html;q=0.5", "application/rss+xml"),
        ("text/html;q=0.5, application/rss+xml", "application/rss+xml"),
        ("text/html, application/atom+xml", "text/html"),
        ("text/html;q=0, */*", "application/rss+xml"),
        ("text/*", "application/rss+xml"),
        ("image/png", "application/rss+xml"),
    ],
)
def test_a_page_is_for_those_who_ask_for_one_and_a_feed_for_all_others(header, chosen):
    assert negotiation.media_type(header, negotiation.PAGE_TYPES, FEEDS) == chosen


def test_without_a_page_there_are_only_feeds():
    assert negotiation.media_type(CHROME, (), FEEDS) == FEEDS[0]


MODIFIED = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tags", "since", "has"),
    [
        ('"a"', None, True),
        ('"a-gz"', None, True),
        ('W/"a"', None, True),
        ('"b", W/"a-gz"', None, True),
        ("*", None, True),
        ('"b"', None, False),
        ("a", None, False),
        ("", None, False),
        ('"b"', "Thu, 01 Jan 2026 12:00:00 GMT", False),
        (None, "Thu, 01 Jan 2026 12:00:00 GMT", True),
        (None, "Thu, 01 Jan 2026 12:00:00", True),
        (None, "Thu, 01 Jan 2026 11:59:59 GMT", False),
        (None, "Thu, 01 Jan 2026 13:00:00 +0100", True),
        (None, "yesterday", False),
        (None, "", False),
        (None, None, False),
    ],
)
def test_a_client_holds_what_one_of_its_tags_or_its_date_names(tags, since, has):
    assert negotiation.holds(tags, since, held=["a", "a-gz"], modified=MODIFIED) is has


def test_a_document_without_a_time_is_never_held_by_date():
    assert not negotiation.holds(None, "Thu, 01 Jan 2026 12:00:00 GMT", held=["a"], modified=None)
