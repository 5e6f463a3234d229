"""Takes keys out of text before anybody can log it.

OpenAI quotes a part of a wrong key in its error message, and gateways quote whole headers and URLs. Whatever a server
says goes through `redact` before it becomes part of a failure, and through `hide` where the keys in use are known. A
key itself is held as a `Secret`, which prints as nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn
from urllib.parse import quote

HIDDEN = "[redacted]"
_SHORTEST_SECRET = 8


class Secret(str):
    """A key or token: the text itself for whoever sends it, `[redacted]` for whoever prints what holds it.

    `repr` is what dataclasses, tracebacks with locals and asyncio's debug messages show. A copy is as secret; pickling
    it, or anything that holds it, raises TypeError.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return HIDDEN

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("What holds a key cannot be pickled: make it anew where it is used.")


def secrets_in(value: Any) -> Iterator[Secret]:
    """Every `Secret` in dicts and lists, however deep."""
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from secrets_in(inner)


_SECRET_NAMES = frozenset(
    {
        *("authorization", "proxy_authorization", "headers", "cookie", "set_cookie", "credentials"),
        *("api_key", "apikey", "x_api_key", "private_key", "password", "passwd", "secret", "client_secret"),
        *("token", "access_token", "auth_token", "refresh_token", "id_token"),
    }
)


def is_secret(name: str) -> bool:
    """Whether what a field of this name holds is a credential, whatever it looks like."""
    return name.lower().replace("-", "_") in _SECRET_NAMES


_NAMED = "|".join(sorted(name.replace("_", "[-_]") for name in _SECRET_NAMES))
# A name in quotes. JSON within JSON has backslashes before them; of a long row of those only the last three count.
_QUOTED = rf"(?P<quote>\\{{0,3}}[\"'])(?:{_NAMED})(?P=quote)\s*:\s*"

# Texts may be long and hostile: no pattern looks at a character more than a fixed number of times.
_SECRETS = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # JSON in a text: what stands under a name of credentials, up to its end or that of the text.
        (rf"({_QUOTED}(?P=quote))(?:(?!(?P=quote))(?s:\\?.))+", r"\1[redacted]"),
        (rf"({_QUOTED})(?:-?\d[\d.eE+-]*|\{{[^{{}}]+\}}|\[[^\[\]]+\])", r"\1\g<quote>[redacted]\g<quote>"),
        # The server quotes part of a wrong key, whatever that key looked like.
        (r"(api[-_ ]key(?: provided)?\s*[:=]\s*)[^\s'\"&]*[^\s'\"&.,]", r"\1[redacted]"),
        # "Missing bearer or basic authentication" is not a key: one has a digit or is long.
        (r"\b(bearer\s+)(?:(?=\S*[\d_*])\S{8,}|\S{24,})", r"\1[redacted]"),
        (
            r"(?<![a-z0-9])(?:sk-|ek_|openai-insecure-api-key\.)[^\s'\"<>(){},;]*[^\s'\"<>(){},;.:!?]",
            "[redacted]",
        ),
        (r"(?<![a-z0-9])(?:gh[opsur]_|github_pat_|akia|aiza|glpat-|xox[abeprs]-)[\w-]{12,}", "[redacted]"),
        # Only where a row of such characters begins, and only if it ends in a dot, the search goes through it.
        (r"(?<![\w-])(?=[\w-]+\.[\w.-])((?:[\w-]*?-)??)eyJ[\w-]+\.[\w.-]+", r"\1[redacted]"),
        (r"([?&](?:access_|auth_)?(?:token|key|sig)=)[^\s'\"&]+", r"\1[redacted]"),
        # A proxy's URL carries its password.
        (r"(://)[^\s'\"/@]+@", r"\1[redacted]@"),
    )
)

_SIGNS = (
    *("key", "bearer", "sk-", "ek_", "eyj", "token", "sig=", "@", "secret", "passw", "authoriz", "header", "cookie"),
    *("credential", "gho_", "ghp_", "ghs_", "ghu_", "ghr_", "github_pat_", "akia", "aiza", "glpat-", "xox"),
)
"""Every pattern wants one of these. Most texts have none, and are known by that in a tenth of the time."""


def redact(text: str) -> str:
    """Return `text` with everything that looks like a key replaced by `[redacted]`."""
    if harmless(text):
        return text
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def harmless(text: str, secrets: Iterable[str] = ()) -> bool:
    """Whether `text` has neither a sign of a key nor one of `secrets`: `redact` and `hide` would return it as it is.

    Many texts can be asked about at once, with something between them.
    """
    folded = text.casefold()
    for sign in _SIGNS:
        if sign in folded:
            return False
    return not any(map(text.__contains__, secrets))


def traces(values: Iterable[str]) -> tuple[Secret, ...]:
    """What `hide` has to look for so that no text shows one of `values`; longest first.

    That is each of them, each word in it ("Bearer ...": the key alone, too), and both as a URL has them. What is
    shorter than 8 characters is no key, and would be found in any text.
    """
    words = {word for value in values for word in (str(value), *value.split())}
    words |= {quote(word, safe="") for word in words}
    return tuple(Secret(word) for word in sorted(words, key=len, reverse=True) if len(word) >= _SHORTEST_SECRET)


def hide(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with every one of `secrets`, as `traces` gives them, replaced by `[redacted]`."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text
