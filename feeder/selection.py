"""Which article belongs where, and what goes along with it. Pure functions over records."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cached_property

from msgspec import Struct

from feeder import slugs, text
from feeder.models import ALL, Article, Channel, Headline, Provider, Rules, Topic

PROVIDER = "provider."  # what the names of providers' feeds begin with; no topic's has a dot


class TopicRules(Struct, frozen=True, kw_only=True):
    """What an operator says of one topic, over what its label says."""

    label: str
    slug: str = ""
    title: str = ""
    description: str = ""
    image: str = ""
    language: str = ""
    aliases: tuple[str, ...] = ()  # other labels of the same topic, and slugs that it once had


class FeedRules(Struct, frozen=True, kw_only=True):
    """A feed that an operator configured: what it is called, and which articles stand in it."""

    channel: Channel
    topics: tuple[str, ...] = ()  # labels: any of these; all articles without
    providers: tuple[str, ...] = ()  # names or domains: any of these
    types: tuple[str, ...] = ()
    min_quality: int | None = None
    exclude: tuple[str, ...] = ()  # words that neither title nor excerpt may hold


class Feeds(Struct, frozen=True, kw_only=True, dict=True):
    """Which feeds there are, and which of them an article stands in.

    Every article stands in the feed of all, in those of its topics, in those that are configured and want it, and, where
    `providers` says so, in that of its provider. A configured feed with the slug of a topic stands in that one's place.
    """

    limit: int = 50
    topics: tuple[TopicRules, ...] = ()
    configured: tuple[FeedRules, ...] = ()
    providers: bool = False

    def topic(self, label: str) -> Topic:
        """The topic that a label stands for."""
        rules = self._by_label.get(slugs.same(label))
        if rules is None:
            return Topic(label=label, slug=slugs.slug(label))
        own = slugs.same(label) == slugs.same(rules.label)
        return Topic(label=label if own else rules.label, slug=_slug(rules))

    def names(self, labels: Collection[str]) -> frozenset[str]:
        """The names of the feeds of these topics; that of the feed of all articles when there are none."""
        return frozenset(self.topic(label).slug for label in labels) or frozenset({ALL})

    def of(self, article: Article) -> dict[str, str]:
        """The feeds that `article` stands in: their titles by name."""
        found = {ALL: ""}
        topics = (self.topic(topic.label) for topic in article.topics)
        found |= {topic.slug: topic.label for topic in topics if topic.slug not in self._configured}
        if self.providers and article.provider:
            found[provider_feed(article.provider)] = article.provider.name
        found |= {rules.channel.name: rules.channel.title for rules in self.configured if self._wants(rules, article)}
        return found

    def channel(self, name: str, title: str) -> Channel:
        """What the feed called `name` says of itself; `title` is what its articles call it."""
        if (rules := self._configured.get(name)) is not None:
            return rules.channel
        topic = self._by_slug.get(name)
        if topic is None:
            return Channel(name=name, title=title, limit=self.limit)
        return Channel(
            name=name,
            title=topic.title or topic.label,
            description=topic.description,
            image=topic.image,
            language=topic.language,
            limit=self.limit,
        )

    def moved(self) -> dict[str, str]:
        """Names that feeds once had, or that their aliases would give, with the names that they have now."""
        found: dict[str, str] = {}
        for rules in self.topics:
            new = _slug(rules)
            for label in (rules.label, *rules.aliases):
                found |= {old: new for old in (slugs.slug(label), label) if slugs.is_slug(old) and old != new}
        return {old: new for old, new in found.items() if old not in self._configured and old not in self._by_slug}

    def offers(self, name: str, title: str, *, was_configured: bool) -> bool:
        """Whether there would be a feed called `name` if there were articles for it: no setting has taken it away.

        `title` is what it is called; `was_configured` says whether the settings had it when it last had articles.
        """
        if name == ALL or name in self._configured:
            return True
        if name.startswith(PROVIDER):
            return self.providers
        return bool(title) and not was_configured and self.topic(title).slug == name

    def now_called(self, name: str, title: str) -> str:
        """What a feed that was called `name`, with this title, is called now; empty when there is none any more."""
        new = self.moved().get(name) or (self.topic(title).slug if title else "")
        return new if new != name else ""

    @cached_property
    def _by_label(self) -> Mapping[str, TopicRules]:
        return {slugs.same(label): rules for rules in self.topics for label in (*rules.aliases, rules.label)}

    @cached_property
    def _by_slug(self) -> Mapping[str, TopicRules]:
        return {_slug(rules): rules for rules in self.topics}

    @cached_property
    def _configured(self) -> Mapping[str, FeedRules]:
        return {rules.channel.name: rules for rules in self.configured}

    def _wants(self, rules: FeedRules, article: Article) -> bool:
        topics = {self.topic(label).slug for label in rules.topics}
        provider = {name.casefold() for name in _names(article.provider)}
        return (
            (not topics or any(topic.slug in topics for topic in article.topics))
            and (not rules.providers or any(name.casefold() in provider for name in rules.providers))
            and (not rules.types or article.type in rules.types)
            and (rules.min_quality is None or (article.quality or 0) >= rules.min_quality)
            and not any(_holds(article, word) for word in rules.exclude)
        )


PLAIN_FEEDS = Feeds()  # where nothing is configured


def _slug(rules: TopicRules) -> str:
    return rules.slug or slugs.slug(rules.label)


def _names(provider: Provider | None) -> tuple[str, ...]:
    return (provider.name, provider.domain) if provider else ()


def _holds(article: Article, words: str) -> bool:
    """Whether title or excerpt hold `words` as whole words, in any case."""
    pattern = rf"(?<!\w){re.escape(words.casefold())}(?!\w)"
    return any(re.search(pattern, told.casefold()) for told in (article.title, article.excerpt))


def provider_feed(provider: Provider) -> str:
    """The name of the feed of a provider's articles."""
    return PROVIDER + slugs.slug(provider.name)


# --- what a target is told --------------------------------------------------------------------------------------------


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
