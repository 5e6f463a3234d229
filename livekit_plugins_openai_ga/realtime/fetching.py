"""Fetches an image from a link, without letting the link reach where it should not.

A link may come from a user or a model. So its host must have public addresses only, unless it was named as trusted; the
connection goes to the very addresses that were checked, also when the name gives others a moment later; and each
redirect is checked as the first link was. What comes is an image by its first bytes, and not longer than allowed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver

from ..images import Images, kind_of
from ..version import __version__
from ..wire.codec import b64encode

MAX_REDIRECTS = 3
_CHUNK = 64 * 1024
_ODD = re.compile(r"[\x00-\x20\x7f\\]")
_NETLOC = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d+)?", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV6 = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is given out for the public internet. What is private in it, `ipaddress` knows, but for:"""
_NOT_PUBLIC = (
    ipaddress.ip_network("3fff::/20"),  # for documentation (RFC 9637); older Pythons do not know it
    ipaddress.ip_network("168.63.129.16/32"),  # the host under every machine on Azure
)
_NO_LINK = ("it is no http(s) link", "pass a frame, a data: URL or a link")
TYPES = "use PNG or JPEG, which is all that GA takes"


class NotFetched(Exception):
    """An image cannot be had: `why`, and what to do (`remedy`). The link itself is in neither: it may be a secret."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(f"{why}; {remedy}")
        self.why = why
        self.remedy = remedy


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also in the forms in which IPv6 holds an IPv4 address.

    What IPv6 has set aside for other purposes is not, also where this Python has not heard of the purpose.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _IPV6:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_PUBLIC)


class _Resolver(AbstractResolver):
    """Gives only addresses that may be connected to. `trusted`: also private ones."""

    def __init__(self) -> None:
        self.trusted = False
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, *args: Any, **kwargs: Any) -> list[Any]:
        """The addresses of `host`. Raises NotFetched when one of them is private."""
        found = await self._resolver.resolve(host, *args, **kwargs)
        if not self.trusted:
            for entry in found:
                _check_address(host, entry["host"])
        return found

    async def close(self) -> None:
        """Nothing to close."""


def _check_address(host: str, address: str) -> None:
    if not is_public(address):
        raise NotFetched(f"{host} is not on the public internet", "name it in images.trusted_hosts if that is meant")


def _check(url: str, trusted: bool) -> None:
    """Raises NotFetched for a link that may not be followed.

    An address is told from a name here, and what aiohttp might read in another way is no link: of what looks like an
    address to aiohttp, the resolver, which knows the private ones, is never asked.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in ("http", "https") or not host or _ODD.search(url):
        raise NotFetched(*_NO_LINK)
    if parts.username is not None or parts.password is not None:
        raise NotFetched("the link has a user name in it", "pass one without")
    if not _NETLOC.fullmatch(parts.netloc):
        raise NotFetched("the link has a host that is not ASCII", "pass one whose host begins with xn--")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]):  # 127.1, 0x7f000001, 127.0.0.01
            raise NotFetched(*_NO_LINK) from None
        return  # a name: the resolver checks what it stands for
    if not trusted:
        _check_address(host, host)


def redirected(url: str, location: str) -> str:
    """Where a redirect of `url` leads. Raises NotFetched when that is not as safe from listeners."""
    target = urljoin(url, location)
    if url.startswith("https:") and not target.startswith("https:"):
        host = urlsplit(url).hostname
        raise NotFetched(f"{host} sends to a link that is not https", "pass the one it leads to")
    return target


async def fetch(url: str, images: Images) -> str:
    """The image as a `data:` URL. Raises NotFetched."""
    try:
        host = urlsplit(url).hostname or "its host"
    except ValueError:
        raise NotFetched(*_NO_LINK) from None
    try:
        return await asyncio.wait_for(_fetch(url, images), images.timeout)
    except asyncio.TimeoutError:
        raise NotFetched(
            f"{host} did not give it within {images.timeout:g} s", "try again, or raise the limit"
        ) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NotFetched(f"{host} could not be asked for it ({type(error).__name__})", "check the link") from None


async def _fetch(url: str, images: Images) -> str:
    resolver = _Resolver()
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"Accept": "image/png, image/jpeg", "User-Agent": f"livekit-plugins-openai-ga/{__version__}"},
        skip_auto_headers=("Accept-Encoding",),
    ) as http:
        trusted = True
        for _ in range(MAX_REDIRECTS + 1):
            host = (urlsplit(url).hostname or "").lower()
            trusted = trusted and host in images.trusted_hosts  # a stranger's redirect does not reach a trusted host
            resolver.trusted = trusted
            _check(url, trusted)
            async with http.get(url, allow_redirects=False) as answer:
                if answer.status not in (301, 302, 303, 307, 308):
                    return await _read(answer, host, images.max_bytes)
                url = redirected(url, answer.headers.get("Location", ""))
    raise NotFetched(f"it was redirected more than {MAX_REDIRECTS} times", "pass the link where it ends")


async def _read(answer: aiohttp.ClientResponse, host: str, max_bytes: int) -> str:
    if answer.status != 200:
        raise NotFetched(f"{host} answered with HTTP {answer.status}", "check the link")
    data = bytearray()
    async for piece in answer.content.iter_chunked(_CHUNK):
        data += piece
        if len(data) > max_bytes:
            raise NotFetched(f"it is larger than {max_bytes} bytes", "use a smaller one, or raise images.max_bytes")
    kind = kind_of(data)
    if kind is None:
        raise NotFetched(f"what {host} gave is no image of a known type", TYPES)
    return f"data:{kind};base64,{b64encode(bytes(data)).decode()}"
