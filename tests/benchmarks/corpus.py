"""Articles like the seeds, as many as are wanted. The same call makes the same bytes."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

TOPICS = [f"Topic {number}" for number in range(40)]
IN_A_FOLDER = 1_000
_WORDS = (
    "actors strike for protections netflix lists job writers studios machine learning platform product manager company "
    "executives say demands raising wages likenesses unrealistic future entertainment streaming giants investing money"
).split()
_NEWEST = datetime(2026, 1, 1, tzinfo=UTC)


def generate(folder: Path, number: int, seed: int = 1) -> None:
    """Write `number` articles below `folder`, at most 1,000 in a sub-folder, with dates over ten years."""
    chance = random.Random(seed)
    for index in range(number):
        below = folder / f"{index // IN_A_FOLDER:04}"
        if index % IN_A_FOLDER == 0:
            below.mkdir(parents=True, exist_ok=True)
        (below / f"article-{index:07}.md").write_text(article(index, chance), encoding="utf-8")


def article(index: int, chance: random.Random, published: datetime | None = None) -> str:
    """The text of one article, with the keys, sizes and links of the seeds."""
    published = published or _NEWEST - timedelta(minutes=chance.randrange(10 * 365 * 24 * 60))
    link = f"https://news-{index % 97}.example.com/{published:%Y/%m/%d}/article-{index}/"
    lines = [
        "category: news",
        f"title: {json.dumps(_sentence(chance, 10))}",
        f"excerpt: {json.dumps(_sentence(chance, 25))}",
        f"publishedDateTime: {published:%Y-%m-%dT%H:%M:%SZ}",
        f'originalUrl: "{link}"',
        f'webUrl: "{link}"',
        "type: article",
        f"quality: {chance.randrange(100)}",
        "heat: -1",
        "published: false",
        "",
        *_provider(index % 97, chance, ""),
        "",
        "topics:",
        *(f"  - {topic}" for topic in chance.sample(TOPICS, chance.randint(1, 3))),
        *(_image(link) if chance.random() < 0.6 else []),
        *_related(index, chance),
        f'secured: "{chance.randbytes(200).hex()}"',
    ]
    body = f"\n{_sentence(chance, 60)}\n\n- *one*\n- [two]({link})\n" if chance.random() < 0.1 else ""
    return "---\n" + "\n".join(lines) + f"\n---\n{body}"


def _sentence(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(_WORDS, k=words)).capitalize() + "."


def _provider(number: int, chance: random.Random, indent: str) -> list[str]:
    lines = ["provider:", f"  name: Paper {number}", f"  domain: news-{number}.example.com"]
    if chance.random() < 0.3:
        lines += [
            "  images:",
            f'    - url: "https://news-{number}.example.com/50x50.jpg"',
            "      width: 50",
            "      height: 50",
        ]
    return [indent + line for line in lines]


def _image(link: str) -> list[str]:
    return ["images:", f'  - url: "{link}image.jpg"', "    width: 2000", "    height: 1000", "    isCached: true"]


def _related(index: int, chance: random.Random) -> list[str]:
    number = chance.choice([0, 0, 2, 2, 3, 3, 7])
    lines = ["related:"] if number else []
    for _ in range(number):
        other = chance.randrange(index + 1_000)
        lines += [
            f"  - title: {json.dumps(_sentence(chance, 10))}",
            f"    excerpt: {json.dumps(_sentence(chance, 25))}",
            "    publishedDateTime: 2023-07-25T19:06:00Z",
            f'    webUrl: "https://other.example.com/{other}/"',
            "    type: article",
            *_provider(other % 97, chance, "    "),
            "    quality: 47",
        ]
    return lines
