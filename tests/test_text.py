from __future__ import annotations

import html
import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from feeder import text

EVERY_CHARACTER = "".join(map(chr, range(0x110000)))
FAMILY = "👨‍👩‍👧‍👦"  # one grapheme of seven code points, eleven UTF-16 units
PIECES = [
    "a",
    "word ",
    " ",
    ", ",
    ".",
    "–",
    "é",
    "e\u0301",
    "\u0301",
    "🎉",
    FAMILY,
    "👍🏽",
    "🇩🇪",
    "각",
    "\r\n",
    "नि",
    "人",
]

texts = st.lists(st.sampled_from(PIECES), max_size=20).map("".join)


def as_xml(content: str) -> str:
    """`content` after a way through an XML document."""
    element = etree.Element("text")
    element.text = content
    return etree.fromstring(etree.tostring(element)).text or ""


@given(st.text(st.characters(exclude_categories=())))
def test_legal_text_comes_through_xml_as_it_is(written):
    legal = text.legal(written)

    assert legal == as_xml(legal)


def test_every_character_that_is_kept_is_one_that_xml_takes():
    assert text.legal(EVERY_CHARACTER) == as_xml(text.legal(EVERY_CHARACTER))


def test_only_controls_surrogates_noncharacters_and_byte_order_marks_are_removed():
    controls = {*range(0x20), *range(0x7F, 0xA0)} - {ord("\t"), ord("\n"), ord("\r"), 0x85}
    noncharacters = {*range(0xFDD0, 0xFDF0), *(plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF))}
    removed = controls | noncharacters | {*range(0xD800, 0xE000), 0xFEFF}

    assert removed == set(map(ord, EVERY_CHARACTER)) - set(map(ord, text.legal(EVERY_CHARACTER)))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("plain", "plain"),
        ("", ""),
        ("  two   words\t", "two words"),
        ("one\r\ntwo\rthree\nfour", "one two three four"),
        ("one\u2028two\u2029three\x0bfour\x85five", "one two threefour five"),
        ("no&nbsp;break", "no break"),
        ("It&#8217;s &quot;here&quot;", 'It’s "here"'),
        ("Q&amp;A", "Q&A"),
        ("&amp;amp;", "&amp;"),
        ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
        ("a\x00b\x1fc\x7f", "abc"),
        ("a&#x1;b&#x1F;c", "abc"),
        ("a&#xFEFF;b&#x81;c", "abc"),
        ("\ufeffmark", "mark"),
        ("\ud83d", ""),
        ("&#xD800;", "\ufffd"),
        (" &nbsp; ", ""),
        ("AT&T", "AT&T"),
        (FAMILY, FAMILY),
    ],
)
def test_a_line_is_clean_and_its_entities_are_decoded_once(written, told):
    assert told == text.line(written)


@given(st.text(st.characters(exclude_categories=())))
def test_a_line_is_one_line_that_xml_takes(written):
    told = text.line(written)

    assert told == as_xml(told)
    assert told == " ".join(told.split())


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("", []),
        ("AI Ethics", ["AI", "Ethics"]),
        ("machine-learning/2.0", ["machine", "learning", "2", "0"]),
        ("snake_case", ["snake", "case"]),
        ("C++ 🎉", ["C"]),
        ("Zu\u0308rich", ["Zürich"]),
        ("नि", ["नि"]),
        ("人工 知能", ["人工", "知能"]),
    ],
)
def test_words_are_runs_of_letters_digits_and_their_marks(written, words):
    assert words == text.words(written)


@pytest.mark.parametrize(
    ("written", "terms"),
    [
        ("", []),
        ("AI Ethics, 2.0: don't", ["ai", "ethics", "2", "0", "don", "t"]),
        ("Äpfel in ZÜRICH, Straße", ["apfel", "in", "zurich", "strasse"]),
        ("e\u0301te\u0301 ＡＩ ﬁn ℡ İstanbul", ["ete", "ai", "fin", "tel", "istanbul"]),
        ("Ёлка Ελλάδα", ["елка", "ελλαδα"]),
        ("مُحَمَّد שָׁלוֹם", ["محمد", "שלום"]),
        ("हिन्दी", ["हिन्दी"]),
        ("東京都", ["東", "京", "都", "東京", "京都"]),
        ("が か", ["が", "か"]),
        ("GPTで東", ["gpt", "で", "東", "で東"]),
        ("한국어", ["한", "국", "어", "한국", "국어"]),
        ("ไทย", ["ไ", "ท", "ย", "ไท", "ทย"]),
        ("🎉 % _ ' \" * \x00 \ud83d", []),
    ],
)
def test_the_terms_of_a_text_are_its_words_without_case_and_accents(written, terms):
    assert terms == text.index_terms(written)


@pytest.mark.parametrize(
    ("written", "terms"),
    [("ai AI", ["ai"]), ("東京都", ["東京", "京都"]), ("東", ["東"]), ("AI東京 x", ["ai", "東京", "x"]), ("…", [])],
)
def test_a_search_asks_for_each_term_once_and_for_pairs_where_there_are_no_spaces(written, terms):
    assert terms == text.query_terms(written)


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_found_by_itself_and_its_terms_mean_nothing_to_a_query_language(written):
    assert {*text.query_terms(written)} <= {*text.index_terms(written)}
    assert all(regex.fullmatch(r"[\p{L}\p{N}\p{M}]+", term) for term in text.index_terms(written))


@given(st.text(st.characters(exclude_categories=())))
def test_terms_are_the_same_whatever_the_form_and_case_of_a_text(written):
    for form in ("NFC", "NFD", "NFKC"):
        assert text.index_terms(unicodedata.normalize(form, written)) == text.index_terms(written)
    assert text.index_terms(" ".join(text.index_terms(written))) or not text.index_terms(written)


@pytest.mark.parametrize(
    ("written", "graphemes", "units"),
    [
        ("", 0, 0),
        ("abc", 3, 3),
        ("e\u0301", 1, 2),
        ("🎉", 1, 2),
        (FAMILY, 1, 11),
        ("🇩🇪🇫🇷", 2, 8),
        ("👍🏽", 1, 4),
        ("\r\n", 1, 2),
        ("각", 1, 1),
        ("人工", 2, 2),
    ],
)
def test_what_a_reader_counts_and_what_a_service_counts(written, graphemes, units):
    assert (graphemes, units) == (text.graphemes(written), text.utf16_units(written))


@pytest.mark.parametrize(
    ("written", "limit", "told"),
    [
        ("hello world", 11, "hello world"),
        ("hello world", 10, "hello wor…"),
        ("hello world", 8, "hello…"),
        ("hello world", 5, "hell…"),
        ("the quick brown fox", 14, "the quick…"),
        ("the incomprehensible", 14, "the incompreh…"),
        ("one, two", 5, "one…"),
        ("one – two", 6, "one…"),
        ("end. More", 6, "end…"),
        ("aaaaaaaaaa", 4, "aaa…"),
        ("🎉🎉", 4, "🎉🎉"),
        ("🎉🎉", 3, "🎉…"),
        ("🎉🎉", 2, "…"),
        (f"{FAMILY} family", 12, f"{FAMILY}…"),
        (f"{FAMILY} family", 11, "…"),
        ("e\u0301e\u0301", 3, "e\u0301…"),
        ("e\u0301e\u0301", 2, "…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("abc", -1, ""),
        ("", 0, ""),
    ],
)
def test_shortened_text_ends_between_graphemes_and_at_a_word_where_one_is_near(written, limit, told):
    assert told == text.shorten(written, limit)


@given(texts, st.integers(-1, 60))
def test_shortened_text_never_exceeds_its_limit(written, limit):
    assert text.utf16_units(text.shorten(written, limit)) <= max(limit, 0)


@given(texts, st.integers(1, 60))
def test_shortened_text_is_whole_graphemes_of_the_beginning_and_an_ellipsis(written, limit):
    told = text.shorten(written, limit)
    ends = {0, *(found.end() for found in regex.finditer(r"\X", written))}
    beginnings = {written[:end] for end in ends}

    assert told == written or (told.endswith("…") and told[:-1] in beginnings)


@given(texts)
def test_text_that_fits_stays_as_it_is(written):
    assert written == text.shorten(written, text.utf16_units(written))


@given(texts | st.text(st.characters(exclude_categories=()), max_size=6))
def test_a_line_that_is_left_as_it_is_is_what_the_long_way_gives(written):
    assert regex.sub(r"\s+", " ", text.legal(html.unescape(written))).strip() == text.line(written)


# --- what a terminal may show ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a plain ünïcode 漢字 👩‍👧 line", "a plain ünïcode 漢字 👩‍👧 line"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("c1 \x9b31m", r"c1 \x9b31m"),
        ("turned \u202egnp.exe", r"turned \u202egnp.exe"),
        ("two\u2028lines", r"two\u2028lines"),
    ],
)
def test_what_would_move_the_cursor_is_shown_as_it_is_written(written, shown):
    assert shown == text.visible(written)


@given(st.text())
def test_what_is_visible_is_one_line_that_stays_where_it_is(written):
    assert all(char.isprintable() or char in "\u200c\u200d\u200e\u200f" for char in text.visible(written))


@pytest.mark.parametrize("turn", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
def test_a_line_turns_nothing_that_stands_beside_it(turn):
    assert text.line(f"a{turn}b") == text.line(f"a&#{ord(turn)};b") == "ab"


def test_a_line_keeps_the_marks_that_right_to_left_languages_need():
    assert text.line("שלום\u200f, עולם") == "שלום\u200f, עולם"


@pytest.mark.parametrize("digits", [7, 8, 4_300, 4_301, 100_000])
def test_a_reference_with_any_number_is_decoded(digits):
    assert text.line(f"a &#{'9' * digits}; b") == "a \ufffd b"


def test_zeros_before_a_number_do_not_count():
    assert text.line(f"a&#{'0' * 5_000}66;c") == "aBc"


@given(st.text("&#x;0123456789abcAB<> ampltgquo"))
def test_references_are_decoded_as_the_standard_library_does(written):
    assert text.unescape(written) == html.unescape(written)
