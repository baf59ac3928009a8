"""The terminal: a card for each headline. The default, so that a first run shows something."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from feeder.models import Headline
from feeder.targets.base import Hashtags, Steps, Target, outcome_of, request

URL = "console://stdout"  # what the terminal is called among the places that requests go


class Console(Target):
    """The worker's own standard output."""

    shows_itself: ClassVar[bool] = True

    kind: Literal["console"]
    related: int = Field(5, ge=0, le=20, description="How many related links go along with a headline.")
    hashtags: Hashtags = Field(True, description="true: the topics' own; or a list of its own.")

    def deliver(self, headline: Headline, key: str) -> Steps:
        """The card as data; the terminal draws it."""
        article = headline.article
        card = {
            "title": article.title,
            "url": article.url,
            "provider": article.provider.name if article.provider else "",
            "published": article.published.isoformat(),
            "excerpt": article.excerpt,
            "hashtags": list(headline.hashtags),
            "related": [
                {"title": link.title, "url": link.url, "provider": link.provider.name if link.provider else ""}
                for link in headline.related
            ],
        }
        response = yield request("POST", URL, json=card)
        return outcome_of(response)
