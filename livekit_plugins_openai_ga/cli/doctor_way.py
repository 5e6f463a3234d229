"""The way to a server: proxy, name, TCP and TLS. These steps of `doctor` come before its socket."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import ssl
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ..errors import Failure, from_exception
from .doctor_steps import Verdict, failed, of_failure, ok, warning

CERTIFICATE_DAYS = 14
"""With fewer days left, a server's certificate is worth a warning."""

_PROXY_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}


def proxy_for(host: str, port: int, *, secure: bool) -> str | None:
    """The proxy that websockets uses for this host by the environment (`https_proxy`, `no_proxy`, ...), or None."""
    if urllib.request.proxy_bypass(f"{host}:{port}"):
        return None
    proxies = urllib.request.getproxies()
    for scheme in ("wss", "socks", "https") if secure else ("ws", "socks", "https", "http"):
        if (proxy := proxies.get(scheme)) is not None:
            is_socks = scheme == "socks" and proxy.startswith("http://")
            return f"socks5h://{proxy[7:]}" if is_socks else proxy
    return None


def _proxy_parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PROXY_PORTS and parts.hostname and parts.port != 0
    except ValueError:  # the port
        return None
    return parts if usable else None


class Way:
    """The way to one server; each step goes by what the one before it found."""

    def __init__(self, host: str, port: int, *, secure: bool, local: bool, timeout: float) -> None:
        """`secure`: with TLS. `local`: the server is on this machine. `timeout`: seconds that one wait may take."""
        self._host = host
        self._port = port
        self._secure = secure
        self._local = local
        self._timeout = timeout
        self._proxy: SplitResult | None = None
        self._addresses: list[str] = []

    @property
    def address(self) -> str:
        """Host and port, for people."""
        return f"{self._host}:{self._port}"

    async def look_at_proxy(self) -> Verdict:
        """Which proxy the environment asks for."""
        found = proxy_for(self._host, self._port, secure=self._secure)
        if found is None:
            return ok("none", proxy="")
        parts = _proxy_parts(found)
        if parts is None:
            told = "the environment names a proxy that is no URL such as http://proxy:3128"
            return failed(told, "Correct https_proxy (or wss_proxy, all_proxy), or unset it.", "bad_proxy")
        self._proxy = parts
        where = f"{parts.scheme}://{parts.hostname}:{parts.port or _PROXY_PORTS[parts.scheme]}"
        shown = f"{where}{', with a password' if parts.password else ''}"
        if parts.scheme.startswith("socks") and importlib.util.find_spec("python_socks") is None:
            told = f"{shown}, for which a package is missing"
            return failed(told, "Run: pip install 'python-socks[asyncio]'", "no_socks", proxy=where)
        if self._local:
            told = f"{shown} is used for a server on this machine"
            return warning(told, "Add this host to no_proxy.", "proxy_for_local", proxy=where)
        return ok(shown, proxy=where)

    async def look_up(self) -> Verdict:
        """The addresses of the server, or of the proxy."""
        host, port = self._first_hop()
        try:
            looking = asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = await asyncio.wait_for(looking, self._timeout)
        except (OSError, asyncio.TimeoutError, UnicodeError) as exc:
            return self._of_hop(_reached(exc, host))
        self._addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if self._addresses == [host]:
            return ok("the address needs no name", host=host, addresses=self._addresses)
        several = f" and {len(self._addresses) - 1} more" if len(self._addresses) > 1 else ""
        return ok(f"{host} is {self._addresses[0]}{several}", host=host, addresses=self._addresses)

    def _first_hop(self) -> tuple[str, int]:
        if self._proxy is None:
            return self._host, self._port
        return self._proxy.hostname or "", self._proxy.port or _PROXY_PORTS[self._proxy.scheme]

    def _of_hop(self, failure: Failure) -> Verdict:
        verdict = of_failure(failure)
        if self._proxy is None:
            return verdict
        return replace(verdict, remedy="Check the proxy settings (https_proxy, no_proxy), and the proxy itself.")

    async def connect(self) -> Verdict:
        """TCP to the first address that answers, and TLS where it begins there."""
        host, port = self._first_hop()
        encrypted = self._secure if self._proxy is None else self._proxy.scheme == "https"
        tls = ssl.create_default_context() if encrypted else None
        patience = max(1.0, self._timeout / len(self._addresses))
        broken: dict[str, str] = {}
        for address in self._addresses:
            opening = asyncio.open_connection(address, port, ssl=tls, server_hostname=host if tls else None)
            try:
                _, writer = await asyncio.wait_for(opening, patience)
            except (OSError, asyncio.TimeoutError) as exc:
                failure = _reached(exc, f"{address} port {port}")
                broken[address] = failure.label
                continue
            try:
                return self._connected(address, writer, broken)
            finally:
                writer.transport.abort()
        return self._of_hop(failure)

    def _connected(self, address: str, writer: asyncio.StreamWriter, broken: Mapping[str, str]) -> Verdict:
        tls = writer.get_extra_info("ssl_object")
        details: dict[str, Any] = {"address": address, "unreachable": dict(broken)}
        summary = f"{address}, {'plain text' if tls is None else tls.version()}"
        days: float | None = None
        if tls is not None:
            ends = str((tls.getpeercert() or {}).get("notAfter", ""))
            details |= {"tls": tls.version(), "certificate_ends": ends}
            days = (ssl.cert_time_to_seconds(ends) - time.time()) / 86400 if ends else None
        elif self._proxy is not None and self._secure:
            summary = f"{address}, the proxy; TLS to the server is made with the upgrade"
        if broken:
            told = ", ".join(f"{where} ({why})" for where, why in broken.items())
            remedy = "Mend the route to that address, or switch that kind of address (often IPv6) off."
            return warning(f"{summary}; not reached: {told}", remedy, "address_unreachable", **details)
        if days is not None and days < CERTIFICATE_DAYS:
            told = f"{summary}; its certificate ends in {days:.0f} days"
            return warning(told, "Renew the certificate, or check this machine's clock.", "certificate_ends", **details)
        return ok(summary, **details)


def _reached(exc: Exception, where: str) -> Failure:
    """Why a name or an address could not be reached, without Python's own file names and tuples."""
    told = str(exc) or "no answer"
    if isinstance(exc, ssl.SSLCertVerificationError):
        told = exc.verify_message
    elif isinstance(exc, (ssl.SSLError, socket.gaierror)):
        told = exc.strerror or told
    elif isinstance(exc, OSError) and exc.errno:
        told = os.strerror(exc.errno)
    known = from_exception(exc if isinstance(exc, OSError) else TimeoutError())
    return replace(known, message=f"{where}: {told}")
