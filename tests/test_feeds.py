"""Which feeds there are: topics', those that are configured, providers'; what they are called, and where they moved."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import feedparser
import pytest
from lxml import etree

from feeder.models import Channel, Provider, Rules, Topic
from feeder.selection import PLAIN_FEEDS, FeedRules, Feeds, TopicRules
from feeder.store import open_store
from tests.articles import article
from tests.house import House

SPACE = TopicRules(
    label="Space", title="Outer space", description="Far away", image="https://x.example/s.png", language="fr"
)


@pytest.fixture
def house(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    yield House(tmp_path, store)
    store.close()


def top(**rules: object) -> FeedRules:
    return FeedRules(channel=Channel(name="top", title="Top stories"), **rules)


# --- the rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ({}, True),
        ({"topics": ("AI Ethics",)}, True),
        ({"topics": ("ai  ethics", "Space")}, True),
        ({"topics": ("Space",)}, False),
        ({"providers": ("the daily",)}, True),
        ({"providers": ("News.example",)}, True),
        ({"providers": ("The", "example")}, False),
        ({"types": ("article",)}, True),
        ({"types": ("video",)}, False),
        ({"min_quality": 50}, True),
        ({"min_quality": 51}, False),
        ({"exclude": ("QUIET",)}, False),
        ({"exclude": ("quiet day",)}, False),
        ({"exclude": ("why",)}, False),
        ({"exclude": ("qui", "et", ".*", "happened and")}, True),
        ({"topics": ("AI Ethics",), "providers": ("Other",)}, False),
    ],
)
def test_a_configured_feed_wants_what_all_its_rules_want(rules, wanted):
    told = article(quality=50)

    assert ("top" in Feeds(configured=(top(**rules),)).of(told)) is wanted


@pytest.mark.parametrize("rules", [{"min_quality": 1}, {"providers": ("x",)}])
def test_an_article_of_unknown_quality_or_provider_is_not_wanted_by_those_who_ask_for_one(rules):
    assert "top" not in Feeds(configured=(top(**rules),)).of(article(provider=None))


def test_every_article_stands_in_the_feeds_of_all_of_its_topics_and_of_its_provider_when_asked():
    told = article(provider=Provider(name="The Daily"), topics=(Topic(label="AI", slug="ai"),))

    assert PLAIN_FEEDS.of(told) == {"all": "", "ai": "AI"}
    assert Feeds(providers=True).of(told) == {"all": "", "ai": "AI", "provider.the-daily": "The Daily"}
    assert Feeds(providers=True).of(article(provider=None)) == {"all": "", "ai-ethics": "AI Ethics"}


def test_a_topic_may_be_called_otherwise_and_other_labels_may_mean_it():
    feeds = Feeds(topics=(TopicRules(label="Machine Learning", slug="ml", aliases=("Deep Learning", "old-slug")),))

    assert [feeds.topic(label) for label in ("machine learning", "DEEP  learning", "AI")] == [
        Topic(label="machine learning", slug="ml"),
        Topic(label="Machine Learning", slug="ml"),
        Topic(label="AI", slug="ai"),
    ]
    assert {"machine-learning": "ml", "deep-learning": "ml", "old-slug": "ml"}.items() <= feeds.moved().items()
    assert feeds.names(["Deep Learning", "AI"]) == {"ml", "ai"}


def test_what_has_moved_never_stands_in_the_way_of_a_feed_that_is_there():
    feeds = Feeds(
        topics=(TopicRules(label="ML", slug="learning", aliases=("top", "space")), TopicRules(label="Space")),
        configured=(top(),),
    )

    assert feeds.moved() == {"ml": "learning"}


# --- through the house ----------------------------------------------------------------------------------------------------


def test_a_configured_feed_is_published_with_what_it_says_of_itself(house):
    channel = Channel(
        name="top",
        title="Top stories",
        description="The best",
        image="https://x.example/t.png",
        language="de",
        formats=("atom", "json"),
        limit=2,
    )
    house.feeds = Feeds(configured=(FeedRules(channel=channel, min_quality=5),))
    for number in range(1, 5):
        house.write(f"n-{number}", quality=str(number * 3), publishedDateTime=f"2025-06-0{number}T10:00:00Z")
    house.run()

    assert house.paths("feeds/top.") == ["feeds/top.atom", "feeds/top.json"]
    found = feedparser.parse(house.document("feeds/top.atom"))
    assert [entry.title for entry in found.entries] == ["Title of n-4", "Title of n-3"]
    assert (found.feed.title, found.feed.subtitle, found.feed.language) == ("Top stories · Feeder", "The best", "de")
    assert found.feed.logo == "https://x.example/t.png"
    assert json.loads(house.document("feeds/top.json"))["icon"] == "https://x.example/t.png"
    assert b'lang="de"' in house.document("topics/top/index.html")


def test_a_feed_that_is_no_longer_configured_or_has_fewer_formats_is_taken_away(house):
    house.feeds = Feeds(limit=1, configured=(top(),))
    house.write("one")
    house.write("two")
    house.run()
    channel = Channel(name="top", title="Top stories", formats=("rss",), limit=1)
    house.feeds = Feeds(limit=1, configured=(FeedRules(channel=channel),))
    house.run()
    assert {path.rpartition(".")[2] for path in house.paths("feeds/top")} == {"rss"}
    assert house.paths("feeds/top/archive/1.") == ["feeds/top/archive/1.rss"]
    assert house.gone("feeds/top.atom") == ""

    house.feeds = Feeds(limit=1)
    house.run()
    assert (house.paths("feeds/top"), house.paths("topics/top"), house.gone("feeds/top.rss")) == ([], [], "")


def test_a_configured_feed_with_a_topics_name_is_taken_away_with_its_setting_too(house):
    rules = FeedRules(channel=Channel(name="security", title="Security"), exclude=("gone",))
    house.feeds = Feeds(configured=(rules,))
    house.write("one")
    house.run()
    house.feeds = Feeds()
    house.run()

    assert (house.paths("feeds/security"), house.gone("feeds/security.rss")) == ([], "")


def test_a_configured_feed_that_wants_no_article_any_more_stays_published_without(house):
    house.feeds = Feeds(configured=(top(),))
    house.write("one")
    house.run()
    house.feeds = Feeds(configured=(FeedRules(channel=top().channel, topics=("Nothing",)),))
    house.run()

    assert (house.titles("top"), house.gone("feeds/top.rss")) == ([], None)


def test_a_retagged_articles_old_topic_stays_published_without_it(house):
    house.write("one", topics="[Space]")
    house.run()
    house.write("one", topics="[AI]")
    house.run()

    assert (house.titles("space"), house.titles("ai")) == ([], ["Title of one"])
    assert house.gone("feeds/space.rss") is None


def test_the_feeds_of_providers_are_taken_away_when_they_are_switched_off(house):
    house.feeds = Feeds(providers=True)
    house.write("one", provider="{name: The Daily, domain: daily.example}")
    house.run()
    house.feeds = Feeds()
    house.run()

    assert (house.paths("feeds/provider"), house.gone("feeds/provider.the-daily.rss")) == ([], "")


def test_a_configured_feed_stands_in_the_place_of_a_topic_of_its_name(house):
    house.feeds = Feeds(configured=(FeedRules(channel=Channel(name="ai", title="AI, the best"), min_quality=5),))
    house.write("one", quality="3")
    house.write("two", quality="7")
    house.run()

    found = feedparser.parse(house.document("feeds/ai.rss"))
    assert (found.feed.title, len(found.entries)) == ("AI, the best · Feeder", 1)


def test_a_topic_says_what_it_is_set_to_say(house):
    house.feeds = Feeds(topics=(SPACE,))
    house.write("one", topics="[space]")
    house.run()

    found = feedparser.parse(house.document("feeds/space.atom")).feed
    assert (found.title, found.subtitle, found.logo, found.language) == (
        "Outer space · Feeder",
        "Far away",
        "https://x.example/s.png",
        "fr",
    )


def test_each_provider_has_feeds_when_that_is_set(house):
    house.feeds = Feeds(providers=True)
    house.write("one", provider="{name: The Daily, domain: daily.example}")
    house.write("two", provider="{name: The Weekly, domain: weekly.example}")
    house.run()

    assert house.titles("provider.the-daily") == ["Title of one"]
    assert feedparser.parse(house.document("feeds/provider.the-weekly.atom")).feed.title == "The Weekly · Feeder"


def test_a_renamed_topic_answers_at_its_old_address_and_readers_see_no_new_entry(house):
    house.targets = [Rules(target="t", feeds=PLAIN_FEEDS.names(["Machine Learning"]))]
    house.run()
    house.write("one", topics="[Machine Learning]")
    house.run()
    before = feedparser.parse(house.document("feeds/machine-learning.atom")).entries
    house.feeds = Feeds(topics=(TopicRules(label="Machine Learning", slug="ml"),))
    house.targets = [Rules(target="t", feeds=house.feeds.names(["Machine Learning"]))]

    report = house.run()

    after = feedparser.parse(house.document("feeds/ml.atom")).entries
    assert [(each.id, each.updated) for each in after] == [(each.id, each.updated) for each in before]
    assert report.planned == ()
    for extension in ("rss", "atom", "json"):
        assert house.gone(f"feeds/machine-learning.{extension}") == f"feeds/ml.{extension}"
        assert not (house.public / f"feeds/machine-learning.{extension}").exists()
    assert house.gone("topics/machine-learning/index.html") == "topics/ml/index.html"
    assert b"machine-learning" not in house.document("feeds.opml")

    house.feeds = PLAIN_FEEDS
    house.run()
    assert house.titles("machine-learning") == ["Title of one"]
    assert house.gone("feeds/ml.rss") == "feeds/machine-learning.rss"


def test_merged_topics_are_one_feed_and_the_others_lead_to_it(house):
    house.write("one", topics="[ML]")
    house.write("two", topics="[Machine Learning, ML]")
    house.run()
    house.feeds = Feeds(topics=(TopicRules(label="Machine Learning", aliases=("ML",)),))
    house.run()

    assert sorted(house.titles("machine-learning")) == ["Title of one", "Title of two"]
    assert house.gone("feeds/ml.json") == "feeds/machine-learning.json"
    found = json.loads(house.document("feeds/machine-learning.json"))
    assert [item["tags"] for item in found["items"]] == [["Machine Learning"]] * 2


def test_a_slug_that_a_topic_once_had_elsewhere_leads_to_it(house):
    house.feeds = Feeds(topics=(TopicRules(label="AI", aliases=("artificial-intelligence",)),))
    house.write("one")
    house.run()

    assert house.gone("feeds/artificial-intelligence.rss") == "feeds/ai.rss"
    assert house.gone("feeds/intelligence.rss") is None


# --- the list of all feeds ---------------------------------------------------------------------------------------------------


def outlines(house: House) -> list[tuple[str, str, str]]:
    tree = etree.fromstring(house.document("feeds.opml"))
    return [(each.get("title"), each.get("xmlUrl"), each.get("htmlUrl")) for each in tree.findall("body/outline")]


def test_the_opml_lists_every_feed_that_can_be_read_in_order(house):
    only_json = Channel(name="data", title="Data", formats=("json",))
    only_rss = Channel(name="top", title="Top stories", formats=("rss",))
    house.feeds = Feeds(providers=True, configured=(FeedRules(channel=only_rss), FeedRules(channel=only_json)))
    house.write("one", topics="[Space, AI]", provider="{name: A Paper}")
    house.run()
    base = "https://feeds.example.org"

    assert outlines(house) == [
        ("Feeder", f"{base}/feeds/all.atom", f"{base}/topics/all/"),
        ("Top stories · Feeder", f"{base}/feeds/top.rss", f"{base}/topics/top/"),
        ("AI · Feeder", f"{base}/feeds/ai.atom", f"{base}/topics/ai/"),
        ("Space · Feeder", f"{base}/feeds/space.atom", f"{base}/topics/space/"),
        ("A Paper · Feeder", f"{base}/feeds/provider.a-paper.atom", f"{base}/topics/provider.a-paper/"),
    ]


def test_the_opml_changes_with_the_feeds_and_not_with_their_articles(house):
    house.write("one")
    house.run()
    before = house.document("feeds.opml")
    house.write("two")
    assert "feeds.opml" not in house.run().documents

    house.write("three", topics="[Space]")
    house.run()
    assert house.document("feeds.opml") != before


# --- what goes and comes ------------------------------------------------------------------------------------------------------


def test_the_articles_of_deleted_files_stay_when_that_is_set_and_go_when_it_no_longer_is(house):
    house.keep_deleted = True
    house.targets = [Rules(target="t")]
    house.run()
    path = house.write("one")
    written = path.read_text()
    house.run()
    path.unlink()
    house.run()
    assert house.titles() == ["Title of one"]

    house.run()
    assert house.titles("ai") == ["Title of one"]

    house.keep_deleted = False
    house.run()
    assert (house.titles(), house.titles("ai")) == ([], [])

    path.write_text(written)
    assert house.run().planned == ()
    assert (house.titles(), house.told("t")) == (["Title of one"], ["one"])


def test_a_kept_article_of_a_renamed_topic_moves_with_it(house):
    house.keep_deleted = True
    path = house.write("one", topics="[Machine Learning]")
    house.run()
    path.unlink()
    house.run()
    house.feeds = Feeds(topics=(TopicRules(label="Machine Learning", slug="ml"),))
    house.run()

    assert (house.titles("ml"), house.titles("machine-learning")) == (["Title of one"], [])


def test_an_embargo_ends_with_a_pass_that_looks_at_no_file(house):
    house.targets = [Rules(target="t")]
    house.run()
    house.write("later", publishedDateTime="2026-01-01T13:00:00Z")
    house.write("much-later", publishedDateTime="2026-01-01T14:00:00Z")
    report = house.run()
    assert (report.embargo, house.titles()) == (datetime(2026, 1, 1, 13, tzinfo=UTC), [])

    house.time = report.embargo
    report = house.pipeline().run(frozenset())

    assert (report.changed, house.titles("ai"), house.told("t")) == (0, ["Title of later"], ["later"])
    assert report.embargo == datetime(2026, 1, 1, 14, tzinfo=UTC)
    house.time = report.embargo
    assert house.pipeline().run(frozenset()).embargo is None


def test_an_article_that_is_put_off_leaves_the_feeds_and_comes_back_untold(house):
    house.targets = [Rules(target="t")]
    house.run()
    house.write("one")
    house.run()
    house.write("one", publishedDateTime="2026-02-01T10:00:00Z")
    report = house.run()
    assert (house.titles(), report.embargo) == ([], datetime(2026, 2, 1, 10, tzinfo=UTC))

    house.time = report.embargo + timedelta(seconds=1)
    report = house.pipeline().run(frozenset())

    assert (house.titles(), report.planned, house.told("t")) == (["Title of one"], (), ["one"])


def test_an_article_of_the_same_second_changes_nothing_of_those_that_are_there(house):
    seen: dict[str, str] = {}
    for name in ("e", "a", "d", "b", "c", "f"):
        house.write(name)
        house.run()
        now = {entry.id: entry.updated for entry in feedparser.parse(house.document("feeds/ai.atom")).entries}
        assert {key: now[key] for key in seen} == seen
        seen = now


def test_two_articles_of_one_second_keep_their_order_and_have_different_times(house, tmp_path):
    for name in ("b", "a", "c"):
        house.write(name)
    house.run()
    order = house.titles()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    store = open_store(f"sqlite:///{elsewhere}/feeder.db")
    other = House(elsewhere, store)
    for name in ("c", "a", "b"):
        other.write(name)
        other.run()
    entries = feedparser.parse(house.document("feeds/ai.atom")).entries
    again = feedparser.parse(other.document("feeds/ai.atom")).entries
    store.close()

    assert [entry.title for entry in again] == order
    assert len({entry.updated for entry in entries}) == 3
    assert [(each.id, each.updated) for each in again] == [(each.id, each.updated) for each in entries]
