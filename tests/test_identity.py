"""Which article is which, through changes of its link, its title, its file: real files, a real store."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeder import identity
from feeder.models import Rules
from feeder.store import open_store
from tests.house import House

HERE = "https://albawaba.example/pr/levtech-1429413"
THERE = "https://zawya.example/uae/story/Levtech-ZAWYA20210525"
TITLE = "Microsoft Announces Levtech As Power Apps Partner"


@pytest.fixture
def house(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    made = House(tmp_path, store)
    made.targets = [Rules(target="hook")]
    made.run()  # the target adopts an empty folder
    yield made
    store.close()


def items(house: House) -> list[dict]:
    """The feed of all articles."""
    return json.loads(house.document("feeds/all.json"))["items"]


def ids(house: House) -> list[str]:
    return [each["id"] for each in items(house)]


def links(house: House) -> list[str]:
    return [each["url"] for each in items(house)]


def subjects(house: House) -> list[str]:
    """The articles that the target is told."""
    return [each.subject for each in house.outbox()]


# --- titles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "alike"),
    [
        (TITLE, "Microsoft announces Levtech as Power Apps partner", True),
        (TITLE, f"{TITLE}!", True),
        (TITLE, "Microsoft Announces “Levtech” as Power Apps’ Partner", True),
        (TITLE, "Microsoft Announces Levtech As Partner", False),
        (TITLE, "Something else altogether", False),
        ("Briefing 11", "Briefing 12", False),  # 9 of 10 characters are the same
        ("Morning briefing, 25 November 2026", "Morning briefing, 26 November 2026", False),
        ("東京都庁の職員", "東京都庁の職員。", True),
        ("!!!", "???", False),
        ("!!!", "!!!", True),
        ("", "", True),
    ],
)
def test_titles_are_alike_that_differ_by_a_correction(before, after, alike):
    assert identity.is_alike(before, after) is alike
    assert identity.is_alike(after, before) is alike


@given(st.text(max_size=80))
def test_a_title_is_like_itself_in_any_case(title):
    assert identity.is_alike(title, title)


def test_endless_titles_are_compared_in_no_time():
    assert not identity.is_alike("ab" * 500_000, "cb" * 500_000)


# --- links ------------------------------------------------------------------------------------------------------------


def test_a_link_that_switches_between_partners_is_told_once_and_keeps_its_id(house):
    house.write("levtech", title=TITLE, originalUrl=HERE, webUrl=HERE)
    house.run()
    told, first = subjects(house), ids(house)

    for turn in range(7):
        link = (HERE, THERE, f"{THERE}?mena")[turn % 3]
        title = (TITLE, TITLE.lower())[turn % 2]
        house.write(
            "levtech", title=title, originalUrl=link, webUrl=link, publishedDateTime=f"2021-05-25T07:{turn:02}:00Z"
        )
        house.run()
        assert (subjects(house), ids(house), links(house)) == (told, first, [link])

    assert len(told) == 1


def test_links_that_an_article_once_had_are_its_names_in_other_files_too(house):
    house.write("levtech", title=TITLE, originalUrl=HERE)
    house.run()
    path = house.write("levtech", title=TITLE, originalUrl=THERE)
    house.run()
    first = ids(house)

    path.rename(house.source / "elsewhere.md")
    house.write("elsewhere", title="Another headline altogether", originalUrl=HERE)
    house.run()
    assert (ids(house), len(subjects(house))) == (first, 1)

    house.write("elsewhere", title="Yet another", originalUrl=THERE)
    house.run()
    assert (ids(house), len(subjects(house))) == (first, 1)


def test_a_path_that_is_used_for_another_title_holds_another_article(house):
    house.write("latest", title="The first story", webUrl="https://news.example/1")
    house.run()
    first = ids(house)
    house.write("latest", title="A wholly different one", webUrl="https://news.example/2")
    house.run()

    assert len(subjects(house)) == 2
    assert ids(house) != first
    assert house.titles() == ["A wholly different one"]


def test_files_that_change_places_keep_their_articles(house):
    house.write("a", title=TITLE, webUrl="https://news.example/1")
    house.write("b", title=TITLE, webUrl="https://news.example/2")
    house.run()
    before = sorted(ids(house))
    house.write("a", title=TITLE, webUrl="https://news.example/2")
    house.write("b", title=TITLE, webUrl="https://news.example/1")
    house.run()

    assert sorted(ids(house)) == before
    assert len(subjects(house)) == 2


def test_two_files_whose_link_becomes_the_same_hold_one_article_and_the_newer_speaks(house):
    house.write("a", title=TITLE, webUrl="https://news.example/1", publishedDateTime="2025-06-01T10:00:00Z")
    house.write("b", title=TITLE, webUrl="https://news.example/2", publishedDateTime="2025-06-02T10:00:00Z")
    house.run()
    house.write("a", title=TITLE, webUrl="https://news.example/2", publishedDateTime="2025-06-01T10:00:00Z")
    house.run()

    assert links(house) == ["https://news.example/2"]
    assert len(subjects(house)) == 2


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"webUrl": HERE}, {"webUrl": HERE, "id": "levtech"}, 1),  # an id is given
        ({"webUrl": HERE, "id": "levtech"}, {"webUrl": HERE}, 1),  # and taken away
        ({"webUrl": HERE, "id": "one"}, {"webUrl": HERE, "id": "two"}, 2),  # that is what an id is for
        ({"webUrl": HERE, "id": "one"}, {"webUrl": THERE, "id": "one"}, 1),
    ],
)
def test_who_gives_another_id_means_another_article(house, before, after, told):
    house.write("levtech", title=TITLE, **before)
    house.run()
    house.write("levtech", title=TITLE, **after)
    house.run()

    assert len(subjects(house)) == told


def test_an_id_that_is_taken_away_after_the_link_changed_changes_nothing(house):
    house.write("levtech", title=TITLE, webUrl=HERE)
    house.run()
    first = ids(house)
    for keys in ({"webUrl": THERE}, {"webUrl": THERE, "id": "x"}, {"webUrl": f"{THERE}/new"}):
        house.write("levtech", title=TITLE, **keys)
        house.run()

    assert (ids(house), len(subjects(house))) == (first, 1)


def test_a_moved_file_that_has_one_of_the_names_is_no_deletion(house):
    for number in range(3):
        house.write(f"{number}", title=f"{TITLE} {number}", webUrl=f"https://news.example/{number}")
    house.run()
    for number in range(3):
        house.write(f"{number}", title=f"{TITLE} {number}", webUrl=f"https://other.example/{number}")
    house.run()
    for number in range(3):
        (house.source / f"{number}.md").unlink()
        house.write(f"moved-{number}", title=f"{TITLE} {number}", webUrl=f"https://other.example/{number}")
    report = house.run()

    assert report.missing is None
    assert len(ids(house)) == 3


TITLES = ["The quick brown fox jumps over the dog", "A wholly different headline, of trains", "Zebras cross at noon"]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans(), st.integers(0, 59), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=25, deadline=None)  # each makes a store
def test_in_any_history_of_switched_links_each_article_is_told_once_and_keeps_its_id(tmp_path_factory, history):
    folder = tmp_path_factory.mktemp("history")
    store = open_store(f"sqlite:///{folder}/feeder.db")
    house = House(folder, store)
    house.targets = [Rules(target="hook")]
    house.run()
    ids_of: dict[int, str] = {}
    for story, partner, upper, minute, as_one_pass in history:
        title = TITLES[story].upper() if upper else TITLES[story]
        link = f"https://partner-{partner}.example/story-{story}"
        house.write(
            f"{story}",
            title=f'"{title}"',
            originalUrl=link,
            webUrl=link,
            publishedDateTime=f"2025-06-01T10:{minute:02}:00Z",
        )
        if as_one_pass:
            continue
        house.run()
        for item in items(house):
            number = int(item["url"][-1])
            assert ids_of.setdefault(number, item["id"]) == item["id"]
    house.run()

    assert len(subjects(house)) == len({story for story, *_ in history})
    store.close()


# --- tracking parameters ----------------------------------------------------------------------------------------------


def test_a_tracking_parameter_is_no_correction_and_is_in_nothing_that_is_published(house):
    house.write("levtech", title=TITLE, webUrl=HERE, originalUrl=HERE)
    house.run()
    before = {path: house.document(path) for path in house.paths("feeds")}
    tracked = f'"{HERE}?utm_source=rss&fbclid=x"'
    house.write("levtech", title=TITLE, webUrl=tracked, originalUrl=f'"{HERE}?gclid=1"')
    house.run()

    assert links(house) == [HERE]
    assert len(subjects(house)) == 1
    assert {path: house.document(path) for path in house.paths("feeds")} == before


def test_what_is_no_tracking_parameter_stays_in_the_link(house):
    house.write("levtech", title=TITLE, webUrl=f'"{HERE}?utm_source=a&story=1&utm_medium=b#part"')
    house.run()

    assert links(house) == [f"{HERE}?story=1#part"]
