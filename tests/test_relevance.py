"""Which of several articles answers a search best."""

from __future__ import annotations

import pytest

from feeder import relevance

PLAIN = (["one", "two", "three"], ["four", "five", "six", "seven"], ["daily"], ["news"])


def article(**columns: str) -> tuple[list[str], ...]:
    names = ("title", "excerpt", "provider", "topics")
    return tuple(
        columns[name].split() if name in columns else column for name, column in zip(names, PLAIN, strict=True)
    )


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (article(title="tea two three"), article(provider="tea")),
        (article(provider="tea"), article(topics="tea")),
        (article(topics="tea"), article(excerpt="tea five six seven")),
        (article(title="tea tea three"), article(title="tea two three")),
        (article(title="tea"), article(title="tea two three four five six")),
        (article(title="tea two three", excerpt="tea five six seven"), article(title="tea two three")),
    ],
)
def test_the_title_counts_most_and_often_in_a_short_text_more_than_once_in_a_long_one(better, worse):
    first, second = relevance.scores([better, worse], {"tea": 1.0})

    assert first > second > 0


def test_a_rare_term_counts_more_than_a_common_one():
    rarities = {"tea": relevance.rarity(3, 1000), "the": relevance.rarity(900, 1000)}
    first, second = relevance.scores(
        [article(title="tea two three", excerpt="the"), article(title="the two three", excerpt="tea")], rarities
    )

    assert first > second


def test_no_articles_and_empty_ones_have_scores():
    assert relevance.scores([], {"tea": 1.0}) == []
    assert relevance.scores([([], [], [], [])], {"tea": 1.0}) == [0]
