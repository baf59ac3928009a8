"""Which article belongs where, and what goes along with it. Pure functions."""

from __future__ import annotations

from collections.abc import Collection

from feeder import slugs, text
from feeder.models import ALL, Article, Headline, Rules


def feeds_of(labels: Collection[str]) -> frozenset[str]:
    """The names of the feeds that a rule's topics stand for; the feed of all articles when there are none."""
    return frozenset(slugs.slug(label) for label in labels) or frozenset({ALL})


def headline(article: Article, rules: Rules, language: str) -> Headline:
    """What the target of `rules` is given to tell about `article`. `language` is the site's."""
    return Headline(
        article=article,
        related=article.related[: rules.related],
        hashtags=_hashtags(article, rules),
        language=article.language or language,
    )


def _hashtags(article: Article, rules: Rules) -> tuple[str, ...]:
    own = [topic.label for topic in article.topics]
    labels = own if rules.hashtags is True else rules.hashtags or ()
    return tuple(dict.fromkeys(tag for tag in map(hashtag, labels) if tag))


def hashtag(label: str) -> str:
    """The hashtag of a label without its '#': "AI Ethics" gives AIEthics, "machine learning" MachineLearning.

    Empty where the label has no letter: services take no hashtag of digits alone.
    """
    words = text.words(label)
    tag = words[0] if len(words) == 1 else "".join(word[0].upper() + word[1:] for word in words)
    return tag if any(char.isalpha() for char in tag) else ""
