from __future__ import annotations

import pytest

from feeder import selection
from feeder.models import Rules, Topic
from feeder.selection import PLAIN_FEEDS
from tests.articles import article, related, seed


def topic(label: str) -> Topic:
    return Topic(label=label, slug=label.lower())


@pytest.mark.parametrize(
    ("label", "tag"),
    [
        ("AI", "AI"),
        ("AI Ethics", "AIEthics"),
        ("machine learning", "MachineLearning"),
        ("machine", "machine"),
        ("iPhone", "iPhone"),
        ("C++", "C"),
        ("5G", "5G"),
        ("Web 2.0", "Web20"),
        ("e-mail", "EMail"),
        ("snake_case", "SnakeCase"),
        ("R&D", "RD"),
        ("машинное обучение", "МашинноеОбучение"),
        ("人工知能", "人工知能"),
        ("Zürich", "Zürich"),
        ("AI 🎉", "AI"),
        ("#AI", "AI"),
    ],
)
def test_a_hashtag_is_the_words_of_the_label(label, tag):
    assert tag == selection.hashtag(label)


@pytest.mark.parametrize("label", ["2023", "20 23", "3.14", "🎉", "👩‍🚀🚀", "++", "_", " ", ""])
def test_a_label_without_a_letter_gives_no_hashtag(label):
    assert not selection.hashtag(label)


def test_a_headline_has_the_hashtags_of_its_topics_once_and_in_their_order():
    told = article(topics=(topic("machine learning"), topic("2023"), topic("AI"), topic("Machine-Learning")))

    assert ("MachineLearning", "AI") == selection.headline(told, Rules(target="x"), "en").hashtags


@pytest.mark.parametrize(
    ("hashtags", "told"), [(False, ()), (("news", "feeder", "news"), ("news", "feeder")), ((), ())]
)
def test_a_target_may_have_hashtags_of_its_own_or_none(hashtags, told):
    rules = Rules(target="x", hashtags=hashtags)

    assert told == selection.headline(article(topics=(topic("AI"),)), rules, "en").hashtags


@pytest.mark.parametrize(("limit", "count"), [(0, 0), (1, 1), (3, 3), (4, 4), (20, 4)])
def test_as_many_related_links_go_along_as_the_target_wants_the_first_of_them(limit, count):
    links = tuple(related(url=f"https://other.example/{number}") for number in range(4))

    told = selection.headline(article(related=links), Rules(target="x", related=limit), "en")

    assert links[:count] == told.related


@pytest.mark.parametrize(("own", "site", "language"), [("", "en", "en"), ("de-AT", "en", "de-AT"), ("", "", "")])
def test_a_headline_speaks_the_articles_language_else_the_sites(own, site, language):
    assert language == selection.headline(article(language=own), Rules(target="x"), site).language


@pytest.mark.parametrize(
    ("labels", "feeds"),
    [
        ((), {"all"}),
        (("AI Ethics",), {"ai-ethics"}),
        (("AI Ethics", "ai  ethics"), {"ai-ethics"}),
        (("AI", "Robotics"), {"ai", "robotics"}),
    ],
)
def test_a_rules_topics_stand_for_their_feeds_and_none_for_all_articles(labels, feeds):
    assert feeds == PLAIN_FEEDS.names(labels)


def test_labels_that_differ_in_more_than_case_and_space_stand_for_different_feeds():
    assert len(PLAIN_FEEDS.names(["C", "C++", "C#"])) == 3


def test_a_topic_called_all_is_not_the_feed_of_all_articles():
    assert "all" not in PLAIN_FEEDS.names(["All"])


def test_a_seed_goes_out_with_its_topics_and_related_links():
    told = seed("as-actors-strike")

    headline = selection.headline(told, Rules(target="x", related=2), "en")

    assert ("AIEthics", "AI") == headline.hashtags
    assert [link.url for link in told.related[:2]] == [link.url for link in headline.related]


@pytest.mark.parametrize(
    ("label", "tag"), [("Zu\u0308rich", "Zürich"), ("हिन्दी", "हिन्दी"), ("#AI", "AI"), ("two words", "TwoWords")]
)
def test_marks_belong_to_their_letters_and_signs_to_nobody(label, tag):
    assert selection.hashtag(label) == tag
