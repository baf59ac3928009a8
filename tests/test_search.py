"""What a search finds, in which order, and when: real files, a real index."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from feeder import text
from feeder.articles.scan import Stamp
from feeder.errors import SearchTooLong
from feeder.models import Article
from feeder.records import record, to_text
from feeder.selection import PLAIN_FEEDS
from feeder.store import catalog, open_store, search
from feeder.store.search import Searcher
from tests.articles import article
from tests.house import START, House, in_memory

PROVIDER = "{name: The Guardian, domain: guardian.example}"


@pytest.fixture
def house(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    yield House(tmp_path, store)
    store.close()


def found(house: House, asked: str, page: int = 1, now: datetime | None = None) -> search.Results:
    engine = house.store.reader(1)
    try:
        return Searcher(engine).find(text.query_terms(asked), page, now or house.time)
    finally:
        engine.dispose()


def titles_found(house: House, asked: str, page: int = 1, now: datetime | None = None) -> list[str]:
    return [article.title for article in found(house, asked, page, now).articles]


def entry(key: str, moment: datetime, title: str = "tea") -> search.Entry:
    return search.Entry(id=key, published=moment, record=to_text(article(id=key, published=moment, title=title)))


# --- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "is_found"),
    [
        ("ai", False),  # part of a word
        ("availability", True),
        ("AVAILABILITY of", True),
        ("availability zzz", False),
        ("avail", False),
        ("guardian", True),
        ("The Guardian", True),
        ("robotics", True),  # a topic
        ("café", True),
        ("cafe", True),
        ("Strasse", True),
        ("guardian robotics cafe availability", True),
        ("東京都庁", True),
        ("京都", True),
        ("東京の", False),
        ("京", True),
        ('"availability" OR zzz', False),
        ("title:availability", False),
        ("avail*", False),
        ("availability -cafe", True),  # a dash is no operator
    ],
)
def test_a_search_looks_for_whole_words_in_title_excerpt_provider_and_topics(house, asked, is_found):
    house.write(
        "one",
        title='"Availability of trains 東京都庁"',
        excerpt='"A CAFE\u0301 in the Straße"',
        provider=PROVIDER,
        topics="[Robotics, Rail]",
    )
    house.write("two", title="Something else", provider="{name: Other}", topics="[Else]")
    house.run()

    assert bool(titles_found(house, asked)) is is_found


@given(
    asked=st.text(st.characters(exclude_categories=())) | st.text(st.sampled_from("\"'*():^-+{}ANDORNEAR a\0東 \ud83d"))
)
@settings(max_examples=300)
def test_any_text_can_be_searched_for(shelf, asked):
    results = found(shelf, asked)

    assert results.total == len(results.articles) <= 3


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    store = open_store(f"sqlite:///{folder}/feeder.db")
    shelf = House(folder, store)
    for name, title in (("one", "AND OR NOT NEAR a"), ("two", "東京 and a"), ("three", "Nothing")):
        shelf.write(name, title=title)
    shelf.run()
    yield shelf
    store.close()


def test_a_long_search_looks_for_its_first_terms(house):
    house.write("one", title=" ".join(f"w{number}" for number in range(search.TERMS)))
    house.run()

    assert found(house, " ".join(f"w{number}" for number in range(500))).total == 1


# --- order, pages, total --------------------------------------------------------------------------------------------


def test_the_best_comes_first_and_among_equals_the_newest(house):
    old, new = "2024-06-01T10:00:00Z", "2025-06-01T10:00:00Z"
    house.write("excerpt", title="One two three", excerpt="Tea at last", publishedDateTime=new)
    house.write("title", title="Tea two three", excerpt="Four at last", publishedDateTime=old)
    house.write("title again", title="Tea one three", excerpt="Five at last", publishedDateTime=new)
    house.run()

    assert titles_found(house, "tea") == ["Tea one three", "Tea two three", "One two three"]


def test_an_old_headline_comes_before_any_number_of_newer_mentions(house):
    house.write("old", title="Green tea", publishedDateTime="2001-01-01T10:00:00Z")
    for number in range(search._RANKED + 10):
        house.write(
            f"{number}", excerpt="Green or tea", publishedDateTime=f"2025-06-01T{number // 60:02}:{number % 60:02}:00Z"
        )
    house.run()

    assert titles_found(house, "green tea")[0] == "Green tea"


def test_pages_hold_each_article_once_whether_ranked_or_not(house):
    number = 2 * search._RANKED + 2 * search.PAGE + 3
    for index in range(number):
        title, excerpt = ("Tea", "none") if index % 5 == 0 else ("Else", "tea")
        minute = f"{index // 60:02}:{index % 60:02}"
        house.write(f"{index}", title=f"{title} {index}", excerpt=excerpt, publishedDateTime=f"2025-06-01T{minute}:00Z")
    house.run()

    pages = [found(house, "tea", page) for page in range(1, 9)]
    shown = [article.title for page in pages for article in page.articles]
    assert {(page.total, page.more, page.pages) for page in pages} == {(number, False, -(-number // search.PAGE))}
    assert sorted(shown) == sorted(f"{'Tea' if index % 5 == 0 else 'Else'} {index}" for index in range(number))
    assert shown[0].startswith("Tea")
    rest = [int(title.split()[1]) for title in shown[-search.PAGE :]]
    assert rest == sorted(rest, reverse=True)


def test_what_is_too_much_to_count_is_said_to_be_more(house, monkeypatch):
    monkeypatch.setattr(search, "MOST", search.PAGE + 1)
    for index in range(search.PAGE + 5):
        house.write(f"{index}", title="Tea")
    house.run()

    results = [found(house, "tea", page) for page in (1, 2, 3)]
    assert [(each.total, each.more, each.pages) for each in results] == [(search.PAGE + 1, True, 2)] * 3
    assert [len(each.articles) for each in results] == [search.PAGE, 5, 0]
    assert (found(house, "nothing").total, found(house, "nothing").pages, found(house, "").total) == (0, 0, 0)


# --- what is published, and as it is now -----------------------------------------------------------------------------


def test_an_embargoed_article_is_found_from_its_time_on(house):
    house.write("one", title="Tea", publishedDateTime="2025-06-01T10:00:00Z")
    house.run()
    time = datetime(2025, 6, 1, 10, tzinfo=UTC)

    for seconds, titles in ((-3600, []), (-0.1, []), (0, ["Tea"]), (0.4, ["Tea"]), (3600, ["Tea"])):
        assert titles_found(house, "tea", now=time + timedelta(seconds=seconds)) == titles


def test_what_comes_out_within_a_second_is_not_found_before(house):
    with house.store.write() as connection:
        search.add(connection, [entry("f" * 32, START + timedelta(seconds=0.5))])

    totals = [found(house, "tea", now=START + timedelta(seconds=seconds)).total for seconds in (0, 0.4, 1)]
    assert totals == [0, 0, 1]


def test_dates_from_the_first_year_to_the_last_have_an_order(house):
    dates = ("0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59.9Z")
    with house.store.write() as connection:
        moments = {f"{key:032x}": datetime.fromisoformat(date) for key, date in enumerate(dates)}
        numbers = [*search.add(connection, [entry(key, moment) for key, moment in moments.items()]).values()]

    assert numbers == sorted(numbers, reverse=True)
    assert all(0 < number < 2**63 for number in numbers)


def test_a_corrected_article_is_found_by_its_new_words_alone(house):
    house.write("one", title="Tea", excerpt="cups", provider=PROVIDER, topics="[Drinks]")
    house.run()
    house.write("one", title="Coffee", excerpt="mugs", provider="{name: The Times}", topics="[Drinks, Beans]")
    house.run()

    for gone in ("tea", "cups", "guardian"):
        assert found(house, gone).total == 0
    for there in ("coffee", "mugs", "times", "drinks", "beans", "coffee mugs times beans"):
        assert titles_found(house, there) == ["Coffee"]


def test_an_article_whose_date_is_corrected_moves_to_its_place(house):
    house.write("one", title="Tea one", publishedDateTime="2025-06-01T10:00:00Z")
    house.write("two", title="Tea two", publishedDateTime="2025-06-02T10:00:00Z")
    house.run()
    assert titles_found(house, "tea") == ["Tea two", "Tea one"]

    house.write("one", title="Tea one", publishedDateTime="2025-06-03T10:00:00Z")
    house.run()
    assert titles_found(house, "tea") == ["Tea one", "Tea two"]

    house.write("one", title="Tea one", publishedDateTime="2999-06-03T10:00:00Z")
    house.run()
    assert titles_found(house, "tea") == ["Tea two"]


def test_a_withdrawn_article_is_not_found_until_it_comes_back(house):
    path = house.write("one", title="Tea")
    house.write("two", title="Else")
    house.run()
    path.rename(house.folder / "aside.md")
    house.run()
    assert found(house, "tea").total == 0

    (house.folder / "aside.md").rename(path)
    house.run()
    assert titles_found(house, "tea") == ["Tea"]


def test_a_draft_that_is_kept_out_is_not_found(house):
    house.include_drafts = False
    house.write("one", title="Tea", published="false")
    house.write("two", title="Tea two", published="true")
    house.run()
    assert titles_found(house, "tea") == ["Tea two"]

    house.write("one", title="Tea", published="true")
    house.run()
    assert found(house, "tea").total == 2


def test_articles_of_one_moment_with_like_ids_have_numbers_of_their_own(house):
    moment, ids = START, [f"abcdef{number:026x}" for number in range(5)]
    with house.store.write() as connection:
        numbers = search.add(connection, [entry(key, moment) for key in ids[:3]])
        numbers |= search.add(connection, [entry(key, moment) for key in ids[3:]])
        search.remove(connection, [(numbers[ids[0]], entry(ids[0], moment))])
        numbers |= search.add(connection, [entry(ids[0], moment, "coffee")])

    assert len({*numbers.values()}) == 5
    assert {number // search._TIES for number in numbers.values()} == {search._first(moment) // search._TIES}


def test_numbers_go_round_within_their_second(house):
    ids = [f"000000{number:026x}" for number in range(3)]
    with house.store.write() as connection:
        numbers = search.add(connection, [entry(key, START) for key in ids])

    assert {number // search._TIES for number in numbers.values()} == {search._first(START) // search._TIES}
    assert len({*numbers.values()}) == 3


@contextmanager
def even_few_wait():
    """One first article is many, and they are taken in one at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_MANY", 1)
        patch.setattr(search, "_FILLED_AT_ONCE", 1)
        yield


@pytest.fixture
def few_wait():
    with even_few_wait():
        yield


WORDS = ["tea", "milk", "sugar"]
CHANGES = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.one_of(st.none(), st.lists(st.sampled_from(WORDS), min_size=1, max_size=3)),  # None: the file goes away
    st.sampled_from(["2025-06-01", "2025-06-02", "2025-12-31", "2030-01-01"]),
    st.booleans(),
)


@given(st.lists(CHANGES, min_size=1, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
@settings(max_examples=60)  # each makes a store
def test_whatever_changes_a_search_finds_what_is_published_and_holds_the_word(changes, fills):
    with even_few_wait():
        _check_what_is_found(changes, fills)


def _check_what_is_found(changes, fills) -> None:
    store = in_memory()
    there: dict[str, Article] = {}
    for (name, words, date, draft), fills_next in zip(changes, fills, strict=False):
        known = there.pop(name, None)
        if words is not None:
            moment = datetime.fromisoformat(f"{date}T10:00:00Z")
            there[name] = article(id=name * 32, title=" ".join(words), published=moment, draft=draft)
        with store.write() as connection:
            take_in(
                connection, [(name, there[name])] if name in there else [], [name] if known and words is None else []
            )
            if fills_next:
                search.fill(connection)
    with store.write() as connection:
        while search.fill(connection):
            pass

    for word, now in itertools.product(WORDS, (START, datetime(2031, 1, 1, tzinfo=UTC))):
        titles = [each.title for each in there.values() if not each.draft and each.published <= now]
        results = Searcher(store._engine).find([word], 1, now)
        assert sorted(each.title for each in results.articles) == sorted(title for title in titles if word in title)
    with store.read() as connection:
        rows = connection.exec_driver_sql("SELECT number, article FROM search_numbers ORDER BY 1").all()
        numbered = connection.exec_driver_sql("SELECT number, id FROM articles WHERE number IS NOT NULL ORDER BY 1")
        assert rows == numbered.all()
    store.close()


def take_in(connection: sa.Connection, files: list[tuple[str, Article]], gone: list[str]) -> None:
    """What a pass does with files that were read, and with those that are gone."""
    catalog.apply(
        connection,
        [catalog.Reading(path=path, stamp=Stamp(1, 1, 1), record=record(each, {"all": ""})) for path, each in files],
        gone,
        now=START,
        include_drafts=False,
        keep_deleted=False,
        announced=False,
        feeds_of=PLAIN_FEEDS,
        reread=lambda _: None,
    )


def test_many_first_articles_are_found_when_nothing_else_is_to_be_done_the_newest_first(house, few_wait):
    for day in (1, 2, 3):
        house.write(f"{day}", title=f"Tea {day}", publishedDateTime=f"2025-06-0{day}T10:00:00Z")
    house.pipeline().run()
    assert titles_found(house, "tea") == []

    steps = []
    while house.pipeline().catch_up():
        steps.append(titles_found(house, "tea"))
    assert steps[:3] == [["Tea 3"], ["Tea 3", "Tea 2"], ["Tea 3", "Tea 2", "Tea 1"]]


def test_what_comes_while_others_wait_is_found_at_once_where_it_is_newer(house, few_wait):
    house.write("old", title="Tea old", publishedDateTime="2025-06-01T10:00:00Z")
    house.write("older", title="Tea older", publishedDateTime="2025-05-01T10:00:00Z")
    house.pipeline().run()
    house.pipeline().catch_up()
    house.write("new", title="Tea new", publishedDateTime="2025-06-02T10:00:00Z")
    house.write("oldest", title="Tea oldest", publishedDateTime="2025-04-02T10:00:00Z")
    house.pipeline().run()
    assert titles_found(house, "tea") == ["Tea new", "Tea old"]

    while house.pipeline().catch_up():
        pass
    assert titles_found(house, "tea") == ["Tea new", "Tea old", "Tea older", "Tea oldest"]


def test_an_index_that_is_filled_anew_finds_the_same(house, monkeypatch):
    monkeypatch.setattr(search, "_AT_ONCE", 2)
    for number in range(5):
        house.write(f"{number}", title=f"Tea {number}")
    gone = house.write("gone", title="Tea gone")
    house.run()
    gone.unlink()
    house.run()
    before = titles_found(house, "tea")

    with house.store.write() as connection:
        search.rebuild(connection)

    assert titles_found(house, "tea") == before
    assert len(before) == 5
    house.write("0", title="Coffee")
    house.run()
    assert found(house, "tea").total == 4


def test_nothing_waits_for_an_index_that_was_filled_anew(house):
    house.write("one", title="Tea")
    with even_few_wait():
        house.pipeline().run()

    with house.store.write() as connection:
        search.rebuild(connection)

    assert titles_found(house, "tea") == ["Tea"]


def test_what_is_not_committed_is_in_neither_the_articles_nor_the_index(house):
    house.write("one", title="Tea")
    house.run()

    def break_off() -> None:
        with house.store.write() as connection:
            search.add(connection, [entry("f" * 32, START, "tea more")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()

    assert (found(house, "tea").total, found(house, "more").total) == (1, 0)


# --- limits ---------------------------------------------------------------------------------------------------------


def test_a_search_ends_when_its_time_is_over_and_the_next_one_works(house):
    with house.store.write() as connection:
        more = " ".join(f"w{number}" for number in range(50))
        for start in range(0, 3_000, 500):
            ids = [f"{number:06x}{0:026x}" for number in range(start, start + 500)]
            search.add(connection, [entry(key, START, f"tea {more}") for key in ids])
    engine = house.store.reader(1)
    clock = itertools.count(step=2 * search.SECONDS)

    with pytest.raises(SearchTooLong, match="takes too long"):
        Searcher(engine, clock=lambda: next(clock)).find(["tea"], 1, house.time)

    assert Searcher(engine).find(["tea"], 1, house.time).total == 3_000
    engine.dispose()


def test_a_search_can_only_read(house):
    engine = house.store.reader(1)
    with engine.connect() as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("DELETE FROM articles")
    engine.dispose()


def test_many_additions_are_merged_until_searches_have_few_pieces_to_look_through(house):
    def pieces() -> int:
        with sqlite3.connect(house.folder / "feeder.db") as connection:
            found = connection.execute("SELECT count(DISTINCT segid) FROM search_index_idx").fetchone()[0]
        connection.close()
        return found

    for batch in range(40):
        with house.store.write() as connection:
            terms = " ".join(f"w{batch % 7}x{number}" for number in range(400))
            search.add(connection, [entry(f"{batch:06x}{'0' * 26}", START, f"tea {terms}")])

    while True:
        with house.store.write() as connection:
            if not search.merge(connection):
                break
    assert pieces() <= search._PIECES
