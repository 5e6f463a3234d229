"""One builder for the URL and headers of every socket and HTTP request: what is said where, and by whom.

The server decides from the URL what kind of session a socket carries: `?model=` selects a conversation,
`?intent=transcription` a transcription, `?call_id=` an existing WebRTC or SIP call. A wrong combination is
accepted with a 101 and closed right after, so the rules live here, next to the checks that keep the API key off
plain-text links.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

from ..redaction import Secret, traces
from .renames import BETA_HEADER

OPENAI_HOST = "api.openai.com"

KeyHeader = Literal["Authorization", "api-key"]
"""The header that carries the credential: as a bearer token, or (Azure) the bare key."""


class Service(enum.Enum):
    """What a socket is for, or an HTTP request (see `HTTP`). UPLOAD: the transcription of a whole recording."""

    REALTIME = "realtime"
    TRANSCRIPTION = "transcription"
    TRANSLATION = "translation"
    SIDEBAND = "sideband"
    UPLOAD = "upload"
    CLIENT_SECRETS = "client secrets"
    TRANSLATION_SECRETS = "client secrets for translation"
    CALLS = "calls"
    TRANSLATION_CALLS = "translation calls"


HTTP = frozenset(
    {
        Service.UPLOAD,
        Service.CLIENT_SECRETS,
        Service.TRANSLATION_SECRETS,
        Service.CALLS,
        Service.TRANSLATION_CALLS,
    }
)
"""Requests, not sockets."""

_PATHS = {
    Service.REALTIME: "/realtime",
    Service.TRANSCRIPTION: "/realtime",
    Service.TRANSLATION: "/realtime/translations",
    Service.SIDEBAND: "/realtime",
    Service.UPLOAD: "/audio/transcriptions",
    Service.CLIENT_SECRETS: "/realtime/client_secrets",
    Service.TRANSLATION_SECRETS: "/realtime/translations/client_secrets",
    Service.CALLS: "/realtime/calls",
    Service.TRANSLATION_CALLS: "/realtime/translations/calls",
}
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_HTTP = {"ws": "http", "wss": "https"}
_CREDENTIALS = frozenset({"authorization", "api-key"})
_OUR_PARAMETERS = frozenset({"model", "intent", "call_id"})
_PUBLIC_HEADERS = frozenset({"openai-organization", "openai-project", "user-agent"})
_EPHEMERAL = "ek_"
_CALL_ID = re.compile(r"rtc_[A-Za-z0-9_.~-]{1,200}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_API_KEY = re.compile(r"[\x21-\x7e]*")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNSAFE_IN_URL = re.compile(r"[\x00-\x20\x7f\\]")


@dataclass(frozen=True, repr=False, slots=True)
class Endpoint:
    """Where to open a WebSocket and with which headers. Its repr shows no header values.

    Attributes:
        url: `ws://` or `wss://` URL (`http://` or `https://` for a request), complete with path and query.
        headers: request headers by name; read-only.
    """

    url: str
    headers: Mapping[str, str]

    @property
    def host(self) -> str:
        """The host name, lower-cased, without port or trailing dot."""
        return _host(urlsplit(self.url))

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine's loopback interface."""
        return _is_loopback(self.host)

    @property
    def path(self) -> str:
        """The path, for example `/v1/realtime`."""
        return urlsplit(self.url).path

    @property
    def is_call(self) -> bool:
        """Whether it leads into a call that runs at the server (`?call_id=`)."""
        return any(name == "call_id" for name, _ in _pairs(urlsplit(self.url).query))

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values of headers and query that may be keys, longest first: nothing the server says may show them.

        Which header of a gateway's carries a key is not known here, so all do, but for those that OpenAI made public
        names for.
        """
        values = [value for name, value in self.headers.items() if name.lower() not in _PUBLIC_HEADERS]
        values += [value for name, value in _pairs(urlsplit(self.url).query) if name not in _OUR_PARAMETERS]
        return traces(values)

    def __repr__(self) -> str:
        parts = urlsplit(self.url)
        # Some gateways take a key in the query, so only the parameters that are ours are printed.
        query = "&".join(f"{name}={value if name in _OUR_PARAMETERS else '...'}" for name, value in _pairs(parts.query))
        return f"Endpoint({urlunsplit(parts._replace(query=query))!r}, headers={sorted(self.headers)})"


def build(
    base_url: str,
    service: Service,
    *,
    model: str = "",
    call_id: str = "",
    action: str = "",
    api_key: str = "",
    key_header: KeyHeader = "Authorization",
    extra_headers: Mapping[str, str] | None = None,
    extra_query: Mapping[str, str] | None = None,
    model_in_url: bool | None = None,
    allow_insecure: bool = False,
) -> Endpoint:
    """Return the URL and headers of a socket, or a request, for `service`.

    Args:
        base_url: An http, https, ws or wss URL such as `https://api.openai.com/v1` or
            `https://gateway/prefix/v1?team=a`, with or without `/realtime`. Its query parameters are kept; a
            `model` among them goes before the argument.
        service: What the socket is for.
        model: The model id; required for realtime and translation unless `base_url` or `extra_query` name one.
        call_id: The `rtc_...` id of the call; required for sideband, and for an `action`.
        action: For calls: what is done to one, such as `accept`; "" makes a new one.
        api_key: The key or token; empty when `extra_headers` carry the credentials.
        key_header: The header it is sent in: `Authorization` (as `Bearer ...`) or `api-key`.
        extra_headers: Extra headers; names are compared without case, and they replace ours. A credential among
            them, in either header, replaces `api_key`.
        extra_query: Extra query parameters; they replace those of `base_url`. A request has no parameters of ours.
        model_in_url: For transcription only: send `?model=` or not. None: send it to every host except
            `api.openai.com`, which would open a conversation; gateways route by it.
        allow_insecure: Accept a plain-text URL to another machine.

    Raises:
        ValueError: An argument is missing or unsafe; the message names it and shows no key and no header value.
    """
    base = _split(base_url, allow_insecure)
    pairs = _query(base, service, model, call_id, extra_query or {}, model_in_url)
    scheme = _SCHEMES[base.scheme]
    if service in HTTP:
        scheme = _HTTP[scheme]
    path = _path(base.path, service)
    if action:
        path += f"/{checked_call_id(call_id)}/{action}"
    url = urlunsplit((scheme, base.netloc, path, urlencode(pairs, quote_via=quote), ""))
    return Endpoint(url, MappingProxyType(_headers(api_key, key_header, extra_headers or {})))


def is_credential(text: str) -> bool:
    """Whether `text` can be sent as a key or token: not empty, visible ASCII only."""
    return bool(text and _API_KEY.fullmatch(text))


def is_ephemeral(key: str) -> bool:
    """Whether a key is a client secret, which opens sessions for some minutes and can do nothing else."""
    return key.startswith(_EPHEMERAL)


def checked_call_id(call_id: object) -> str:
    """The id of a call, if it can be one. Raises ValueError: one sentence."""
    if isinstance(call_id, str) and _CALL_ID.fullmatch(call_id):
        return call_id
    raise ValueError(
        f"call_id={call_id!r} is not the id of a call: pass the rtc_... id of the webhook, or of `create`."
    )


def _split(base_url: str, allow_insecure: bool) -> SplitResult:
    """Return the parts of a base URL that is safe to use."""
    base_url = base_url.strip()
    if not base_url:
        raise ValueError("`base_url` is empty. Give a URL such as https://api.openai.com/v1.")
    if _UNSAFE_IN_URL.search(base_url):
        raise ValueError("`base_url` contains a space, a backslash or a control character. Remove it.")
    if "#" in base_url:
        raise ValueError("`base_url` contains a fragment (`#...`), which a WebSocket URL cannot have. Remove it.")
    try:
        parts = urlsplit(base_url)
        host = _host(parts)
        _ = parts.port  # reading it is what validates it
    except ValueError:
        raise ValueError(
            "`base_url` is not a valid URL. Give a URL such as https://api.openai.com/v1."
        ) from None  # its text may quote a password
    if parts.scheme not in _SCHEMES:
        raise ValueError("`base_url` must start with https://, wss://, http:// or ws://. Add the scheme.")
    if "@" in parts.netloc:
        raise ValueError("`base_url` contains user information (`user:password@`). Use `api_key` or `extra_headers`.")
    if not host:
        raise ValueError("`base_url` has no host name. Give a URL such as https://api.openai.com/v1.")
    if _SCHEMES[parts.scheme] == "ws" and not allow_insecure and not _is_loopback(host):
        raise ValueError(
            f"`base_url` would send the API key to {host} in clear text. Use https:// or wss://, "
            "or pass `allow_insecure=True` if the network is trusted."
        )
    return parts


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").removesuffix(".")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _path(path: str, service: Service) -> str:
    # A gateway may live under any prefix, so whatever else is there stays (livekit/agents#4724).
    prefix = path.rstrip("/").removesuffix("/realtime/translations").removesuffix("/realtime")
    return prefix + _PATHS[service]


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _query(
    base: SplitResult,
    service: Service,
    model: str,
    call_id: str,
    extra: Mapping[str, str],
    model_in_url: bool | None,
) -> list[tuple[str, str]]:
    """Return the query: what survives of the base URL's, then the extra parameters, then ours."""
    given = [(name, value) for name, value in _pairs(base.query) if name not in extra] + list(extra.items())
    model = next((value for name, value in given if name == "model" and value), model)
    ours: dict[str, str] = {}
    if service is Service.SIDEBAND:
        ours["call_id"] = _required("call_id", call_id, "Give the rtc_... id of the call to control.")
    elif service in (Service.REALTIME, Service.TRANSLATION):
        ours["model"] = _required("model", model, f"Name the model of the {service.value} session.")
    elif service is Service.TRANSCRIPTION:
        ours["intent"] = "transcription"
        if model_in_url:
            ours["model"] = _required("model", model, "Name the model, or do not set `model_in_url`.")
        # On OpenAI's own host `?model=` asks for a conversation (livekit/agents-js#1756, #1767).
        elif model_in_url is None and model and _host(base) != OPENAI_HOST:
            ours["model"] = model
    for name in ("intent", "call_id"):
        if name in extra and extra[name] != ours.get(name) and service not in HTTP:
            raise ValueError(f"`extra_query` must not set `{name}`: the kind of session decides it. Remove it.")
    return [(name, value) for name, value in given if name not in _OUR_PARAMETERS] + list(ours.items())


def _required(name: str, value: str, remedy: str) -> str:
    if not value:
        raise ValueError(f"`{name}` is empty. {remedy}")
    return value


def _headers(api_key: str, key_header: KeyHeader, extra: Mapping[str, str]) -> dict[str, str]:
    """Return our headers with the extra ones merged over them, names compared without case."""
    if not _API_KEY.fullmatch(api_key):
        raise ValueError("`api_key` contains white space or a character that is not ASCII. Remove it.")
    merged: dict[str, tuple[str, str]] = {}
    if api_key and not _CREDENTIALS & {name.lower() for name in extra}:
        value = api_key if key_header == "api-key" else f"Bearer {api_key}"
        merged[key_header.lower()] = (key_header, Secret(value))
    for name, value in extra.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("`extra_headers` contains a name that is not a valid header name. Correct it.")
        if _CONTROL.search(value):
            raise ValueError(f"`extra_headers` has a line break or control character in `{name}`. Remove it.")
        if name.lower() == BETA_HEADER.lower():
            raise ValueError(
                f"`extra_headers` must not contain {name}: OpenAI retired the beta Realtime API and closes the "
                "connection when it sees this header. Remove it."
            )
        merged[name.lower()] = (name, Secret(value))
    return dict(merged.values())
