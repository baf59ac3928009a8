"""The pages in a real browser: Chromium, at the width of a phone and of a desk, light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, sync_playwright

from tests.fakes import LIMIT
from tests.worker import House, Worker

pytestmark = pytest.mark.system

PAGES = ["/", "/topics/ai/", "/topics/all/", "/topics/space/archive/1/", "/search?q=netflix", "/search?q=", "/none"]
SIZES = [(390, 844), (1440, 900)]
SCHEMES = ["light", "dark"]
SETTINGS = """
title = "The Morning Wire"
description = "Headlines from artificial intelligence, with what others wrote about them."
rights = "Texts belong to their publishers."
limit = 5

[topics.Space]
description = "What happens above us."
"""


@dataclass
class Visit:
    """A browser at the door of a house."""

    worker: Worker
    browser: Browser
    elsewhere: list[Request] = field(default_factory=list)  # what was asked of other hosts

    def context(self, width: int = 1440, height: int = 900, scheme: str = "light", **options: object) -> BrowserContext:
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, base_url=self.worker.url, **options
        )
        context.set_default_timeout(LIMIT * 1000)
        context.route("**/*", self._only_here)
        return context

    def page(self, path: str, *size: int, scheme: str = "light", **options: object) -> Page:
        page = self.context(*size, scheme=scheme, **options).new_page()
        page.goto(path)
        return page

    def _only_here(self, route: Route) -> None:
        if route.request.url.startswith(self.worker.url):
            route.continue_()
        else:
            self.elsewhere.append(route.request)
            route.abort()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium")
    assert found, "this test needs Chromium: apt-get install chromium, or run .ci/run"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    house = House(tmp_path_factory.mktemp("house"), SETTINGS)
    for number in range(7):
        house.write_article(
            f"space-{number}",
            f"Number {number}: what a very long headline about a comet does to a column that is as narrow as a phone",
            excerpt='"Less than a column."',
            topics="[Space]",
            type="video" if number % 2 else "article",
            provider="{name: The Daily, images: [{url: https://images.example/icon.png}]}",
            images="[{url: https://images.example/comet.jpg, width: 1600, height: 900, title: A comet}]",
        )
    with house.worker() as worker:
        worker.wait_for("pass.done")
        yield worker


@pytest.fixture
def visit(worker: Worker, browser: Browser) -> Iterator[Visit]:
    visit = Visit(worker, browser)
    yield visit
    for context in browser.contexts:
        context.close()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_page_is_accessible_and_fits(visit, path, size, scheme, tmp_path):
    page = visit.page(path, *size, scheme=scheme)

    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert len(page.screenshot(path=tmp_path / "page.png", full_page=True)) > 5_000


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_other_hosts_for_pictures_alone(visit, path):
    page = visit.page(path)
    page.evaluate("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
    page.wait_for_load_state("networkidle")

    assert {request.resource_type for request in visit.elsewhere} <= {"image"}
    assert ("https://images.example/comet.jpg" in {each.url for each in visit.elsewhere}) is (
        path == "/" or "space" in path or "all" in path
    )


def test_light_is_light_and_dark_is_dark(visit):
    def paper(scheme: str) -> list[int]:
        colour = visit.page("/", scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        return [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]

    assert min(paper("light")) > 230
    assert max(paper("dark")) < 40


def test_the_index_shows_every_feed_with_its_newest_headlines(visit):
    page = visit.page("/")

    assert page.locator("h1").all_inner_texts() == ["The Morning Wire"]
    assert page.locator("h2").all_inner_texts() == ["Latest", "AI", "AI Ethics", "Machine Learning", "Space"]
    assert page.locator(".lead, .latest .headlines li").count() == 7
    assert [each.locator(".headlines li").count() for each in page.locator(".feeds section").all()] == [3, 1, 1, 3]
    assert page.locator("link[rel=alternate]").count() == 15
    assert page.locator("a[href='/feeds.opml']").count() == 1


def test_a_topics_page_shows_its_stories_with_their_coverage(visit):
    page = visit.page("/topics/ai-ethics/")
    story = page.locator("article.story")

    assert story.locator("h2").all_inner_texts() == [
        "As Actors Strike for AI Protections, Netflix Lists $900,000 AI Job"
    ]
    assert story.locator(".provider").inner_text() == "The Intercept"
    assert story.locator(".by time").inner_text() == "25 July 2023"
    assert story.locator(".coverage li a").count() == 3
    assert story.locator("img.picture").get_attribute("alt")
    assert story.locator(".topics a").all_inner_texts() == ["AI Ethics", "AI"]
    story.locator(".topics a", has_text="AI").last.click()
    assert page.url.endswith("/topics/ai/")


def test_older_pages_are_a_link_away_and_back(visit):
    page = visit.page("/topics/space/")
    page.get_by_role("link", name="Older headlines").click()
    assert page.url.endswith("/topics/space/archive/1/")
    page.get_by_role("link", name="Newer headlines").click()
    assert page.url.endswith("/topics/space/")


def test_every_subscribe_link_gives_a_reader_its_feed_and_a_person_a_page(visit):
    page = visit.page("/")
    links = {link.get_attribute("href"): link.get_attribute("type") for link in page.locator(".subscribe a").all()}
    assert len(links) == 15
    for href, kind in links.items():
        answer = page.request.get(href)
        assert (answer.status, answer.headers["content-type"]) == (200, f"{kind}; charset=utf-8")

    page.locator(".feeds .subscribe a", has_text="RSS").first.click()
    assert page.url.endswith("/topics/ai/#subscribe")
    assert page.locator("#subscribe code").first.inner_text().endswith("/feeds/ai.rss")


@pytest.mark.parametrize("address", ["/feeds/ai", "/feeds/ai.rss", "/feeds/ai.atom", "/feeds/ai.json"])
def test_a_feed_that_is_opened_in_a_browser_is_a_page(visit, address):
    page = visit.page(address)

    assert page.locator("h1").inner_text() == "AI"


def test_a_search_works_without_script(visit):
    page = visit.page("/", java_script_enabled=False)
    page.get_by_role("searchbox", name="Search articles").fill("NETFLIX $900,000")
    page.get_by_role("button", name="Search").click()

    assert page.locator("article.story h2").count() == 3
    assert page.get_by_role("searchbox").input_value() == "NETFLIX $900,000"


def test_the_keyboard_reaches_the_headlines_first(visit):
    page = visit.page("/topics/ai/")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the headlines"
    assert page.locator(":focus").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")

    assert page.locator("main :focus").count() == 1


def test_on_paper_there_are_the_stories_and_their_addresses_alone(visit):
    page = visit.page("/topics/ai/")
    page.emulate_media(media="print")

    assert page.locator("form.search").is_hidden()
    assert page.locator("article.story h2").first.is_visible()
    after = "getComputedStyle(document.querySelector('.story h2 a'), '::after').content"
    assert "https://" in page.evaluate(after)


def test_pictures_can_be_turned_off(browser, tmp_path):
    house = House(tmp_path, "show_images = false\n")
    with house.worker() as worker:
        worker.wait_for("pass.done")
        visit = Visit(worker, browser)
        page = visit.page("/topics/ai/")
        page.wait_for_load_state("networkidle")
        assert page.locator("img").count() == 0
        assert visit.elsewhere == []
