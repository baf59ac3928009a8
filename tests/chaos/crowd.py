"""Many targets and many articles, with one article that breaks a target and one target that is dead."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests import fakes
from tests.worker import House

POISON = "Poisoned"


@dataclass(kw_only=True)
class Found:
    """What was counted at the receivers."""

    missing: list[str] = field(default_factory=list)  # target and title
    doubled: list[str] = field(default_factory=list)
    dead_letters: int = 0
    delays: list[float] = field(default_factory=list)  # seconds from the file to the receiver, of the healthy targets


class Picky(fakes.SignedWebhook):
    """A receiver that notes when each message came, and refuses one article for ever."""

    def __init__(self, *, refuses: bool) -> None:
        super().__init__()
        self.refuses = refuses
        self.came: dict[str, list[float]] = {}

    def respond(self, request: fakes.Request) -> fakes.Answer:
        title = request.json()["data"]["title"]
        if self.refuses and title == POISON:
            return fakes.Answer(status=422, body="poison")
        answer = super().respond(request)
        self.came.setdefault(title, []).append(time.monotonic())
        return answer


def run(folder: Path, *, targets: int, articles: int) -> Found:
    """Tell so many articles, one after the other, to so many targets; one more target never answers."""
    found, put = Found(), {}
    with ExitStack() as stack:
        dead = stack.enter_context(socket.create_server(("127.0.0.1", 0)))  # takes connections and says nothing
        receivers = [stack.enter_context(fakes.serving(Picky(refuses=number == 0))) for number in range(targets)]
        sections = [
            f'[targets.t{number}]\nkind = "webhook"\nurl = "{each.url}/hook"\n{fakes.LOOPBACK_TOML}'
            for number, each in enumerate(receivers)
        ]
        sections.append(
            f'[targets.dead]\nkind = "webhook"\nurl = "http://127.0.0.1:{dead.getsockname()[1]}/"\n{fakes.LOOPBACK_TOML}'
        )
        names = [*(f"t{number}" for number in range(targets)), "dead"]
        secrets = {f"FEEDER_TARGETS__{name.upper()}__SECRET": fakes.SignedWebhook.secret for name in names}
        house = House(folder, "\n".join(sections), **secrets)
        for path in house.seeds.iterdir():
            path.unlink()
        house.feeder("once")
        with house.worker("run", "--serve", "--port", "0") as worker:
            titles = [f"Number {number}" for number in range(articles - 1)]
            titles.insert(articles // 2, POISON)
            for place, title in enumerate(titles):
                put[title] = time.monotonic()
                house.write_article(f"n-{place}", title)
                receivers[-1].ledger.wait_for(place + 1)
            for receiver in receivers:
                receiver.ledger.wait_for(articles - receiver.refuses)
            worker.process.kill()
            worker.stop()
        for number, receiver in enumerate(receivers):
            for title in titles:
                times = receiver.came.get(title, [])
                if receiver.refuses and title == POISON:
                    continue
                found.missing += [f"t{number} {title}"] if not times else []
                found.doubled += [f"t{number} {title}"] if len(times) > 1 else []
                found.delays += [moment - put[title] for moment in times[:1]]
        listed = house.feeder("deliveries", "--state", "dead", "-t", "t0").stdout.splitlines()
        found.dead_letters = len(listed) - 1
    found.delays.sort()
    return found
