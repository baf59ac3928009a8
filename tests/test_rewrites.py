"""A live archive rewrites its files all day. What no reader sees changes no byte and tells nobody."""

from __future__ import annotations

import random
import re
import shutil

import pytest

from feeder.models import Rules
from feeder.store import documents, open_store
from tests.house import House
from tests.worker import SEEDS

KEY = re.compile(r"^(?=[A-Za-z]+:)", re.MULTILINE)  # where a key of the front matter begins


def rewritten(text: str, chance: random.Random) -> bytes:
    """The article as its archive may write it the next time: other heat, other blob, keys in another order, other space."""
    _, front, body = text.split("---\n", 2)
    blocks = [block.rstrip("\n") for block in KEY.split(front) if block.strip()]
    blocks = [block for block in blocks if not block.startswith(("heat:", "secured:"))]
    if chance.random() < 0.9:
        blocks.append(f"heat: {chance.randint(-1, 100)}")
    if chance.random() < 0.9:
        blob = "".join(chance.choices("abcXYZ0189+/", k=chance.randint(1, 400)))
        blocks.append(f'secured: "{blob};{blob[:20]}=="')
    chance.shuffle(blocks)
    gap = "\n" * chance.randint(1, 3)
    made = f"---\n{gap.join(blocks)}\n{gap}---\n{body}" + "\n" * chance.randint(0, 2)
    made = re.sub(r"\n", lambda _: chance.choice(["\n", "\n", "\n", " \n"]), made) if chance.random() < 0.3 else made
    made = made.replace(" ---", "---").replace("--- \n", "---\n")
    if chance.random() < 0.3:
        made = made.replace("\n", "\r\n")
    return made.encode("utf-8-sig" if chance.random() < 0.1 else "utf-8")


@pytest.fixture
def house(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/feeder.db")
    yield House(tmp_path, store)
    store.close()


def published(house: House) -> dict[str, object]:
    with house.store.read() as connection:
        rows = {path: documents.tag(connection, path) for path in documents.paths(connection)}
    return {**rows, **{path: path.read_bytes() for path in house.public.rglob("*.*")}}


def test_a_thousand_rewrites_change_no_byte_and_tell_nobody(house):
    house.targets = [Rules(target="t")]
    shutil.copytree(SEEDS, house.source, dirs_exist_ok=True)
    texts = {path: path.read_text() for path in sorted(house.source.iterdir())}
    house.settle()
    before = published(house)
    chance = random.Random(3)

    read = 0
    for _ in range(200):
        for path, text in texts.items():
            path.write_bytes(rewritten(text, chance))
        report = house.pipeline().run({path.name for path in texts})
        assert (report.problems, report.documents, report.planned) == ((), (), ())
        read += report.changed

    assert read == 1000
    assert published(house) == before
    assert house.outbox() == []
