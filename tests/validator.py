"""What the W3C's feed validator, and OPML's and JSON Feed's specifications, find wrong with a document.

https://validator.w3.org/feed/docs/ lists its errors and warnings; both are problems here. It cannot run without its host,
so these are its rules as far as they can meet what feeder publishes, and a few that it does not look for: live script, and
links that are no web pages.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
from lxml import etree

ATOM = "http://www.w3.org/2005/Atom"
NAMESPACES = {
    "atom": ATOM,
    "dc": "http://purl.org/dc/elements/1.1/",
    "media": "http://search.yahoo.com/mrss/",
    "content": "http://purl.org/rss/1.0/modules/content/",
    "fh": "http://purl.org/syndication/history/1.0",
}
TYPES = {
    "rss": "application/rss+xml; charset=utf-8",
    "atom": "application/atom+xml; charset=utf-8",
    "json": "application/feed+json; charset=utf-8",
    "opml": "text/x-opml; charset=utf-8",
}
SCHEMA = json.loads((Path(__file__).parent / "jsonfeed-1.1.schema.json").read_text())

_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_TAG = re.compile(r"</?[a-z][a-z0-9]*(\s[^<>]*)?/?>|<!--|<[!?]", re.IGNORECASE)
_IRI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:[^\s<>\"{}|\\^`\x00-\x20]+")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_FORBIDDEN = {
    "script",
    "iframe",
    "object",
    "embed",
    "style",
    "form",
    "input",
    "meta",
    "link",
    "base",
    "svg",
    "math",
    "frame",
}
_CHANNEL_ONCE = ["title", "link", "description", "language", "lastBuildDate", "generator", "docs", "ttl"]
_CHANNEL = {*_CHANNEL_ONCE, "copyright", "image", "item", f"{{{ATOM}}}link", f"{{{NAMESPACES['fh']}}}archive"}
_ITEM = {
    *("title", "link", "description", "guid", "category", "pubDate", f"{{{ATOM}}}link"),
    f"{{{NAMESPACES['content']}}}encoded",
    f"{{{NAMESPACES['dc']}}}creator",
    f"{{{NAMESPACES['dc']}}}language",
    f"{{{NAMESPACES['media']}}}content",
}
_FEED_RELS = {"self", "alternate", "hub", "current", "prev-archive", "next-archive"}
_ENTRY_RELS = {"alternate", "via", "related"}


def problems(path: str, content_type: str, body: bytes) -> list[str]:
    """All that is wrong with the document at `path`."""
    extension = path.rpartition(".")[2]
    found = [] if content_type == TYPES[extension] else [f"is sent as {content_type}"]
    if extension == "json":
        return [*found, *_json(body)]
    if not body.startswith(b"<?xml version='1.0' encoding='UTF-8'?>\n"):
        found.append("does not say that it is UTF-8")
    root = etree.fromstring(body, etree.XMLParser(resolve_entities=False))
    known = {*NAMESPACES.values(), "http://www.w3.org/XML/1998/namespace", ""}
    found += [f"{node.tag}: an unknown namespace" for node in root.iter("*") if _space(node.tag) not in known]
    return [*found, *{"rss": _rss, "atom": _atom, "opml": _opml}[extension](root)]


def _space(tag: str) -> str:
    return etree.QName(tag).namespace or ""


# --- RSS 2.0 ------------------------------------------------------------------------------------------------------------


def _rss(root: Any) -> list[str]:
    (channel,) = root.findall("channel")
    found = [f"channel: {tag}: not once" for tag in _CHANNEL_ONCE if len(channel.findall(tag)) != 1]
    found += [f"channel: {node.tag}: unknown" for node in channel if node.tag not in _CHANNEL]
    found += _text(channel.findtext("title"), "channel title") + _web(channel.findtext("link"), "channel link")
    found += _html(channel.findtext("description"), "channel description")
    found += _rfc822(channel.findtext("lastBuildDate"), "lastBuildDate")
    if not _LANGUAGE.fullmatch(channel.findtext("language")):
        found.append("language")
    if not re.fullmatch("[1-9][0-9]*", channel.findtext("ttl") or ""):
        found.append("ttl")
    found += _links(channel.findall(f"{{{ATOM}}}link"), _FEED_RELS - {"alternate"})
    for image in channel.findall("image"):
        found += _web(image.findtext("url"), "image url")
        if image.findtext("link") != channel.findtext("link") or not image.findtext("title"):
            found.append("image: its link and title are not the channel's")
        if urlsplit(image.findtext("url")).path.lower().endswith((".svg", ".svgz")):
            found.append("image: SVG")
        if int(image.findtext("width") or 88) > 144 or int(image.findtext("height") or 31) > 400:
            found.append("image: larger than 144 × 400")
    items = channel.findall("item")
    if tags := [node.tag for node in channel][-len(items) :] if items else []:
        found += [f"channel: {tag}: after an item" for tag in tags if tag != "item"]
    found += _once([item.findtext("guid") for item in items], "guid")
    for item in items:
        found += _item(item)
    return found


def _item(item: Any) -> list[str]:
    found = [f"item: {node.tag}: unknown" for node in item if node.tag not in _ITEM]
    tags = Counter(node.tag for node in item)
    repeated = {"category", f"{{{ATOM}}}link"}
    found += [f"item: {tag}: more than once" for tag, number in tags.items() if number > 1 and tag not in repeated]
    found += [f"item: no {tag}" for tag in ("title", "link", "guid", "pubDate") if tag not in tags]
    encoded = f"{{{NAMESPACES['content']}}}encoded"
    if encoded in tags and "description" not in tags:
        found.append("item: content:encoded without description")
    found += _text(item.findtext("title"), "item title") + _web(item.findtext("link"), "item link")
    found += _html(item.findtext("description") or "", "item description")
    found += _html(item.findtext(encoded) or "", "content:encoded")
    guid = item.find("guid")
    if guid.get("isPermaLink") != "false" or not _IRI.fullmatch(guid.text):
        found.append(f"guid: {guid.text}")
    found += _rfc822(item.findtext("pubDate"), "pubDate")
    found += [f"category: {node.text!r}" for node in item.findall("category") if not (node.text or "").strip()]
    for node in item.findall("category"):
        found += _web(node.get("domain"), "category domain")
    found += _text(item.findtext(f"{{{NAMESPACES['dc']}}}creator") or "x", "dc:creator")
    found += _links(item.findall(f"{{{ATOM}}}link"), _ENTRY_RELS - {"alternate"})
    return found + _media(item)


# --- Atom 1.0 -----------------------------------------------------------------------------------------------------------

_ENTRY_ONCE = ["id", "title", "updated", "published", "content"]
_ENTRY = {*_ENTRY_ONCE, "summary", "category", "link", "author"}


def _a(name: str) -> str:
    return f"{{{ATOM}}}{name}"


def _atom(root: Any) -> list[str]:
    found = [f"feed: {name}: not once" for name in ("id", "title", "updated") if len(root.findall(_a(name))) != 1]
    if not _LANGUAGE.fullmatch(root.get(_LANG, "")):
        found.append("feed: no xml:lang")
    if not root.findtext(f"{_a('author')}/{_a('name')}"):
        found.append("feed: no author")
    found += _constructs(root, "title", "subtitle", "rights")
    for name in ("icon", "logo"):
        found += [problem for node in root.findall(_a(name)) for problem in _web(node.text, name)]
    found += _iri(root.findtext(_a("id")), "feed id") + _rfc3339(root.findtext(_a("updated")), "feed updated")
    found += _links(root.findall(_a("link")), _FEED_RELS)
    entries = root.findall(_a("entry"))
    found += _once([entry.findtext(_a("id")) for entry in entries], "entry id")
    found += _once([datetime.fromisoformat(entry.findtext(_a("updated"))) for entry in entries], "entry updated")
    return found + [problem for entry in entries for problem in _entry(entry)]


def _entry(entry: Any) -> list[str]:
    tags = Counter(node.tag for node in entry)
    found = [f"entry: {tag}" for tag in tags if _space(tag) == ATOM and etree.QName(tag).localname not in _ENTRY]
    found += [f"entry: {name}: not once" for name in _ENTRY_ONCE if tags[_a(name)] != 1]
    found += _iri(entry.findtext(_a("id")), "entry id") + _constructs(entry, "title", "summary")
    found += _rfc3339(entry.findtext(_a("updated")), "updated") + _rfc3339(entry.findtext(_a("published")), "published")
    content = entry.find(_a("content"))
    if content.get("type") != "html":
        found.append(f"content: type {content.get('type')}")
    found += _html(content.text or "", "content")
    for category in entry.findall(_a("category")):
        found += _web(category.get("scheme"), "category scheme")
        if not category.get("term", "").strip() or not category.get("label", "").strip():
            found.append("category: no term or label")
    for author in entry.findall(_a("author")):
        found += _text(author.findtext(_a("name")), "author name")
        found += [problem for uri in author.findall(_a("uri")) for problem in _web(uri.text, "author uri")]
    return found + _links(entry.findall(_a("link")), _ENTRY_RELS) + _media(entry)


def _constructs(parent: Any, *names: str) -> list[str]:
    return [problem for name in names for node in parent.findall(_a(name)) for problem in _construct(node)]


def _construct(node: Any) -> list[str]:
    """A text construct: of type html, or one that says the same when it is taken for HTML."""
    if node.get("type") == "html":
        return _html(node.text or "", node.tag)
    return _text(node.text, node.tag)


# --- OPML 2.0 -----------------------------------------------------------------------------------------------------------


def _opml(root: Any) -> list[str]:
    found = [] if (root.tag, root.get("version")) == ("opml", "2.0") else ["opml: version"]
    if [node.tag for node in root] != ["head", "body"] or not root.findtext("head/title"):
        found.append("opml: head, title, body")
    outlines = root.findall("body/outline")
    if not outlines:
        found.append("body: empty")
    for outline in outlines:
        found += [
            f"outline: no {name}" for name in ("type", "text", "title", "xmlUrl", "htmlUrl") if not outline.get(name)
        ]
        if outline.get("type") != "rss":
            found.append("outline: type")
        found += _web(outline.get("xmlUrl"), "xmlUrl") + _web(outline.get("htmlUrl"), "htmlUrl")
    return found


# --- JSON Feed 1.1 --------------------------------------------------------------------------------------------------------


def _json(body: bytes) -> list[str]:
    feed = json.loads(body.decode())
    checker = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
    found = [f"{error.json_path}: {error.message[:200]}" for error in checker.iter_errors(feed)]
    found += _once([item["id"] for item in feed["items"]], "item id")
    for item in feed["items"]:
        found += _html(item["content_html"], "content_html") + _rfc3339(item["date_modified"], "date_modified")
    return found


# --- what all have in common ------------------------------------------------------------------------------------------------


def _text(text: str | None, name: str) -> list[str]:
    """Text that a reader may take for HTML."""
    if not text or not text.strip():
        return [f"{name}: empty"]
    if _TAG.search(text) or html.unescape(text) != text:
        return [f"{name}: holds HTML: {text!r}"]
    return []


def _html(text: str, name: str) -> list[str]:
    """HTML: nothing live, no relative address."""
    if not text.strip():
        return []
    found = []
    for node in etree.HTML(f"<div>{text}</div>").iter("*"):
        if node.tag in _FORBIDDEN:
            found.append(f"{name}: <{node.tag}>")
        for attribute, value in node.attrib.items():
            if attribute.startswith("on") or attribute == "style":
                found.append(f"{name}: {attribute}={value!r}")
            if attribute in ("href", "src", "cite", "action", "srcset"):
                found += _web(value, f"{name}: {attribute}")
    return found


def _web(url: str | None, name: str) -> list[str]:
    """An absolute address of the web."""
    if _iri(url, name):
        return _iri(url, name)
    parts = urlsplit(url or "")
    return [] if parts.scheme in ("http", "https") and parts.hostname else [f"{name}: {url!r} is no web address"]


def _iri(iri: str | None, name: str) -> list[str]:
    return [] if iri and _IRI.fullmatch(iri) else [f"{name}: {iri!r} is no absolute IRI"]


def _links(links: list[Any], allowed: set[str]) -> list[str]:
    found = []
    for link in links:
        if link.get("rel") not in allowed:
            found.append(f"link: rel {link.get('rel')}")
        found += _web(link.get("href"), f"link {link.get('rel')}")
        if link.get("title") is not None and not link.get("title").strip():
            found.append("link: an empty title")
    rels = Counter(link.get("rel") for link in links)
    found += [f"link: {rel} more than once" for rel in {*allowed} - {"hub", "related"} if rels[rel] > 1]
    if "self" in allowed and not rels["self"]:
        found.append("no self link")
    return found


def _media(parent: Any) -> list[str]:
    found = []
    for node in parent.findall(f"{{{NAMESPACES['media']}}}content"):
        found += _web(node.get("url"), "media:content")
        found += [f"media:content {side}" for side in ("width", "height") if not node.get(side, "1").isdigit()]
    return found


def _rfc822(date: str | None, name: str) -> list[str]:
    if not re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000", date or ""):
        return [f"{name}: {date!r} is no date of RFC 822"]
    moment = parsedate_to_datetime(date or "")
    return [] if moment.strftime("%a") == (date or "")[:3] else [f"{name}: the wrong day of the week"]


def _rfc3339(date: str | None, name: str) -> list[str]:
    return [] if _RFC3339.fullmatch(date or "") else [f"{name}: {date!r} is no date of RFC 3339"]


def _once(values: list[Any], name: str) -> list[str]:
    return [f"{name}: {value!r} stands twice" for value, number in Counter(values).items() if number > 1]
