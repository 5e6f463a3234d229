"""Images from links: what is fetched, and above all what is not."""

from __future__ import annotations

import asyncio
import base64
import functools
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from livekit_plugins_openai_ga.images import Images
from livekit_plugins_openai_ga.realtime.fetching import MAX_REDIRECTS, NotFetched, fetch, is_public, redirected

from .web import JPEG, PNG, Web, serving

HERE = Images(trusted_hosts=("127.0.0.1",))


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with serving() as served:
        yield served


def data_url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(("path", "url"), [("image.png", data_url("png", PNG)), ("image.jpg", data_url("jpeg", JPEG))])
async def test_an_image_comes_inline_with_the_type_it_really_has(web: Web, path: str, url: str) -> None:
    assert await fetch(web.url(path), HERE) == url
    ((_, headers),) = web.asked
    assert headers["Accept"] == "image/png, image/jpeg"
    assert "Authorization" not in headers
    assert "Accept-Encoding" not in headers


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("127.0.0.1", "is not on the public internet; name it in images.trusted_hosts"),
        ("localhost", "is not on the public internet"),
        ("127.0.0.1.", "is not on the public internet"),
        ("[::ffff:127.0.0.1]", "is not on the public internet"),
        *((host, "no http") for host in ("0x7f.1", "2130706433", "127.1", "127.0.0.01", "0177.0.0.1", "0x7f000001")),
    ],
)
async def test_a_link_into_this_machine_is_not_followed_however_it_is_written(web: Web, host: str, told: str) -> None:
    with pytest.raises(NotFetched, match=told):
        await fetch(web.url("image.png", host), Images())
    assert web.asked == []


async def test_trust_is_in_the_name_that_was_given_and_no_other(web: Web) -> None:
    assert await fetch(web.url("image.png", "LOCALHOST"), Images(trusted_hosts=("localhost",)))
    with pytest.raises(NotFetched, match="localhost is not on the public internet"):
        await fetch(web.url("image.png", "localhost"), HERE)


@pytest.mark.parametrize("to", ["http://localhost:{port}/image.png", "http://[::1]:{port}/", "http://169.254.169.254/"])
async def test_a_redirect_leads_to_no_private_address(web: Web, to: str) -> None:
    with pytest.raises(NotFetched, match="is not on the public internet"):
        await fetch(web.url(f"redirect?to={to.format(port=web.port)}"), HERE)
    assert len(web.asked) == 1


async def test_a_stranger_leads_to_no_trusted_host(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, ["8.8.8.8"])
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect
    # The stranger's public address is this machine, so that there is one who answers.
    monkeypatch.setattr(loop, "sock_connect", lambda sock, address: connect(sock, ("127.0.0.1", *address[1:])))
    stranger, trusted = web.url("redirect", "stranger.example"), web.url("image.png")
    assert await fetch(f"{stranger}?to={web.url('image.png', 'stranger.example')}", HERE)
    for way in (f"{stranger}?to={trusted}", web.url(f"redirect?to={stranger}%3Fto={trusted}")):
        web.asked.clear()
        with pytest.raises(NotFetched, match=r"127\.0\.0\.1 is not on the public internet"):
            await fetch(way, HERE)
        assert {path for path, _ in web.asked} == {"/redirect"}


async def test_a_redirect_from_https_to_http_is_not_followed(
    web: Web, monkeypatch: pytest.MonkeyPatch, certificates: dict[str, Path]
) -> None:
    monkeypatch.setattr(aiohttp, "TCPConnector", functools.partial(aiohttp.TCPConnector, ssl=False))
    proof = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    proof.load_cert_chain(certificates["localhost"])
    async with serving(proof) as safe:
        assert await fetch(safe.url("image.png"), HERE)
        with pytest.raises(NotFetched, match=r"^127\.0\.0\.1 sends to a link that is not https"):
            await fetch(safe.url(f"redirect?to={web.url('image.png')}"), HERE)
    assert web.asked == []


async def test_a_redirect_within_what_may_be_reached_is_followed_a_few_times(web: Web) -> None:
    url = web.url("image.png")
    for _ in range(MAX_REDIRECTS):
        url = web.url("redirect") + f"?to={url.replace('?', '%3F').replace('&', '%26')}"
    assert await fetch(web.url("redirect?to=/image.png"), HERE)
    with pytest.raises(NotFetched, match=f"redirected more than {MAX_REDIRECTS} times"):
        await fetch(web.url(f"redirect?to=/redirect?to={'/redirect%3Fto%3D' * 4}"), HERE)


@pytest.mark.parametrize(
    ("path", "options", "told"),
    [
        ("nothing.png", {}, r"^127\.0\.0\.1 answered with HTTP 404; check the link$"),
        ("page.png", {}, r"^what 127\.0\.0\.1 gave is no image of a known type; use PNG or JPEG"),
        (
            "large.png",
            {"max_bytes": 5000},
            "^it is larger than 5000 bytes; use a smaller one, or raise images.max_bytes$",
        ),
        ("endless.png", {}, "^it is larger than 8388608 bytes"),
        ("slow.png", {"timeout": 0.2}, r"^127\.0\.0\.1 did not give it within 0\.2 s; try again"),
        ("redirect?to=ftp://127.0.0.1/", {}, r"^it is no http\(s\) link"),
        ("redirect?to=http://a:b@127.0.0.1/", {}, r"^the link has a user name in it"),
    ],
)
async def test_what_cannot_be_had_says_why_and_what_to_do(
    web: Web, path: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(NotFetched, match=told):
        await fetch(web.url(path), Images(trusted_hosts=("127.0.0.1",), **options))


async def test_a_host_that_is_not_there_is_named_without_the_rest_of_the_link() -> None:
    async with serving() as gone:
        pass
    with pytest.raises(NotFetched, match=r"^127\.0\.0\.1 could not be asked for it \(\w+\); check the link$") as raised:
        await fetch(gone.url("secret-token.png"), HERE)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://", "no http"),
        ("http://[::1", "no http"),
        ("https://exa mple.com/", "no http"),
        ("http://images.example\\@127.0.0.1/", "no http"),
        ("http://images.example\t/", "no http"),
        ("http://127%2e0.0.1/", "not ASCII"),
        ("http://①②⑦.⓪.⓪.①/", "not ASCII"),  # which some read as 127.0.0.1
        ("http://bücher.example/", "not ASCII; pass one whose host begins with xn--"),
        ("http://[fe80::1%25eth0]/", "not ASCII"),
    ],
)
async def test_what_could_be_read_in_two_ways_is_not_followed(url: str, told: str) -> None:
    with pytest.raises(NotFetched, match=told):
        await fetch(url, Images(timeout=1))


def test_a_redirect_does_not_give_up_what_keeps_listeners_out() -> None:
    assert redirected("https://a.example/b", "/c") == "https://a.example/c"
    assert redirected("http://a.example/b", "https://c.example/") == "https://c.example/"
    with pytest.raises(NotFetched, match=r"^a\.example sends to a link that is not https; pass the one it leads to$"):
        redirected("https://a.example/b", "http://a.example/c")


class Names:
    """What names stand for, by turns; the last one for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self.answer)

    async def answer(self, host: str, port: int, **_: Any) -> list[Any]:
        addresses = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


async def test_a_name_with_one_private_address_among_public_ones_is_not_followed(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    Names(monkeypatch, ["8.8.8.8", "127.0.0.1"])
    with pytest.raises(NotFetched, match=r"images\.example is not on the public internet"):
        await fetch(web.url("image.png", "images.example"), Images())
    assert web.asked == []


async def test_a_name_is_looked_up_once_so_that_what_was_checked_is_what_is_reached(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(monkeypatch, ["127.0.0.1"], ["8.8.8.8"])
    assert await fetch(web.url("image.png", "images.example"), Images(trusted_hosts=("images.example",)))
    assert (names.asked, len(web.asked)) == (1, 1)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::808:808", True),
        ("2002:7f00:1::", False),
        ("2002:808:808::1", True),
        ("64:ff9b:1::a9fe:a9fe", False),
        ("::169.254.169.254", False),
        ("fec0::1", False),
        ("5f00::1", False),
        ("3fff::1", False),
        ("2001:db8::1", False),
        ("168.63.129.16", False),
        ("::ffff:168.63.129.16", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public
