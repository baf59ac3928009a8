"""The URLs of articles: which are allowed, how they are written, and when two of them name one page. Pure functions."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit, urlunsplit

MAX_LENGTH = 2048  # the shortest limit among the services that take a link (Discord)

# Parameters that say where a reader came from, not what is read.
_TRACKING = re.compile(
    r"^(utm_.*|fbclid|gclid|gclsrc|dclid|gbraid|wbraid|msclkid|yclid|ttclid|twclid|igshid|mc_cid|mc_eid|mkt_tok|_hsenc|_hsmi)$",
    re.IGNORECASE,
)
_PORTS = {"http": 80, "https": 443}
_RESERVED = "!#$%&'()*+,/:;=?@[]~"  # RFC 3986, section 2.2, with '%' so that what is encoded stays as it is
_PLAIN = re.compile(
    r"https?://[a-z0-9_-]+(\.[a-z0-9_-]+)+(/[A-Za-z0-9._~!$&'()*+,;=:@/-]*)?(\?[A-Za-z0-9._~!$&'()*+,;=:@/?-]+)?"
)
_NUMBERED = re.compile(
    r"(^|\.)([0-9]+|0x[0-9a-f]*)\.?$"
)  # what browsers take for an IPv4 address (WHATWG, "ends in a number")
_IPV4 = re.compile(r"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\.(?!$)|$)){4}")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def http_url(value: str) -> str:
    """`value` as an absolute http(s) URI of RFC 3986: IDNA host, everything else that is not ASCII percent-encoded.

    ValueError says why it is none.
    """
    if (
        (found := _PLAIN.fullmatch(value)) and not found[1][1].isdigit() and len(value) <= MAX_LENGTH
    ):  # as most are: nothing to be done
        return value
    return _normalised(value)


def _normalised(value: str) -> str:
    text = value.strip()
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) <= 0xDFFF for char in text):
        raise ValueError("holds a control character")
    parts = urlsplit(text)  # its own ValueErrors say what is wrong with an IPv6 host
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise ValueError(
            "is not an http or https address" if scheme else "is not a whole address; begin it with https://"
        )
    if not parts.hostname:
        raise ValueError("names no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user name or password")
    if "[" in parts.netloc and ":" not in parts.hostname:
        raise ValueError("has an address in brackets that is not IPv6")
    host = _host(parts.hostname)
    if (port := _port(parts)) is not None and port != _PORTS[scheme]:
        host = f"{host}:{port}"
    encoded = (_encode(part) for part in (parts.path, parts.query, parts.fragment))
    url = urlunsplit((scheme, host, *encoded))
    if len(url) > MAX_LENGTH:
        raise ValueError(f"is {len(url)} characters long; at most {MAX_LENGTH} reach every service")
    return url


def canonical(url: str) -> str:
    """What `url` (one that `http_url` gave) has in common with every other way to write the same page.

    Tracking parameters, the fragment, a default port, a trailing slash and the case of scheme and host are left out.
    """
    if "?" not in url and "#" not in url:
        return url.rstrip("/")
    parts = urlsplit(untracked(url))
    query = "&".join(filter(None, parts.query.split("&")))
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), query, ""))


def untracked(url: str) -> str:
    """`url` (one that `http_url` gave) without its tracking parameters; else as it is."""
    if "?" not in url:
        return url
    parts = urlsplit(url)
    pairs = parts.query.split("&")
    kept = [pair for pair in pairs if not _TRACKING.match(_name(pair))]
    return url if len(kept) == len(pairs) else urlunsplit(parts._replace(query="&".join(kept)))


def _name(pair: str) -> str:
    parsed = parse_qsl(pair, keep_blank_values=True, max_num_fields=2)
    return parsed[0][0] if parsed else ""


def _host(host: str) -> str:
    if ":" in host:
        return f"[{host}]"
    if _NUMBERED.search(host) and not _IPV4.fullmatch(host):
        raise ValueError("has a host name that ends in a number and is no IPv4 address")
    if host.isascii():
        if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", host):
            raise ValueError("has characters in its host name that no host can have")
        return host
    import idna  # noqa: PLC0415 - few addresses want it

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError("has a host name that no host can have") from error


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError as error:
        raise ValueError("has a port that is no number from 0 to 65535") from error


def _encode(part: str) -> str:
    return quote(_STRAY_PERCENT.sub("%25", part), safe=_RESERVED, errors="replace")
