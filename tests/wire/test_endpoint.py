"""Every kind of socket against every kind of base URL, and what is refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_plugins_openai_ga.wire import endpoint
from livekit_plugins_openai_ga.wire.endpoint import Service

R, T, X, S, U = Service.REALTIME, Service.TRANSCRIPTION, Service.TRANSLATION, Service.SIDEBAND, Service.UPLOAD
KEY = "sk-test-secret-123"

URLS: list[tuple[str, Service, dict[str, Any], str]] = [
    # Realtime: schemes, paths, prefixes.
    ("https://api.openai.com/v1", R, {}, "wss://api.openai.com/v1/realtime?model=m"),
    ("https://api.openai.com/v1/", R, {}, "wss://api.openai.com/v1/realtime?model=m"),
    (" https://api.openai.com/v1\n", R, {}, "wss://api.openai.com/v1/realtime?model=m"),
    ("wss://api.openai.com/v1", R, {}, "wss://api.openai.com/v1/realtime?model=m"),
    ("HTTPS://api.openai.com/v1", R, {}, "wss://api.openai.com/v1/realtime?model=m"),
    ("https://api.openai.com/v1/realtime", R, {}, "wss://api.openai.com/v1/realtime?model=m"),
    ("https://api.openai.com/v1/realtime/", R, {}, "wss://api.openai.com/v1/realtime?model=m"),
    ("https://api.openai.com/v1/realtime/translations", R, {}, "wss://api.openai.com/v1/realtime?model=m"),
    ("https://gw", R, {}, "wss://gw/realtime?model=m"),
    ("https://gw/", R, {}, "wss://gw/realtime?model=m"),
    ("https://gw/litellm/v1?team=a", R, {}, "wss://gw/litellm/v1/realtime?team=a&model=m"),
    ("https://gw/litellm/v1/realtime?team=a", R, {}, "wss://gw/litellm/v1/realtime?team=a&model=m"),
    ("https://gw/my-realtime", R, {}, "wss://gw/my-realtime/realtime?model=m"),
    ("https://gw:8443/a/b/c", R, {}, "wss://gw:8443/a/b/c/realtime?model=m"),
    ("https://r.openai.azure.com/openai/v1", R, {}, "wss://r.openai.azure.com/openai/v1/realtime?model=m"),
    # Realtime: the query.
    ("https://gw/v1?model=alias", R, {}, "wss://gw/v1/realtime?model=alias"),
    ("https://gw/v1?model=a&model=b", R, {}, "wss://gw/v1/realtime?model=a"),
    ("https://gw/v1?model=", R, {}, "wss://gw/v1/realtime?model=m"),
    ("https://gw/v1?model=alias", R, {"model": ""}, "wss://gw/v1/realtime?model=alias"),
    ("https://gw/v1?model=alias", R, {"extra_query": {"model": "q"}}, "wss://gw/v1/realtime?model=q"),
    ("https://gw/v1?team=a", R, {"extra_query": {"team": "b"}}, "wss://gw/v1/realtime?team=b&model=m"),
    ("https://gw/v1?x=1", R, {"extra_query": {"y": "2"}}, "wss://gw/v1/realtime?x=1&y=2&model=m"),
    ("https://gw/v1?tag=1&tag=2", R, {}, "wss://gw/v1/realtime?tag=1&tag=2&model=m"),
    ("https://gw/v1?flag=", R, {}, "wss://gw/v1/realtime?flag=&model=m"),
    ("https://gw/v1?q=a%20b%26c", R, {}, "wss://gw/v1/realtime?q=a%20b%26c&model=m"),
    ("https://gw/v1", R, {"model": "org/m 1"}, "wss://gw/v1/realtime?model=org%2Fm%201"),
    ("https://gw/v1?intent=transcription", R, {}, "wss://gw/v1/realtime?model=m"),
    ("https://gw/v1?call_id=rtc_1", R, {}, "wss://gw/v1/realtime?model=m"),
    ("https://gw/v1", R, {"model_in_url": False}, "wss://gw/v1/realtime?model=m"),
    # Loopback may be plain.
    ("http://localhost:8080/v1", R, {}, "ws://localhost:8080/v1/realtime?model=m"),
    ("ws://localhost./v1", R, {}, "ws://localhost./v1/realtime?model=m"),
    ("http://emulator.localhost/v1", R, {}, "ws://emulator.localhost/v1/realtime?model=m"),
    ("http://127.0.0.1:1/v1", R, {}, "ws://127.0.0.1:1/v1/realtime?model=m"),
    ("http://127.9.8.7/v1", R, {}, "ws://127.9.8.7/v1/realtime?model=m"),
    ("http://[::1]:9/v1", R, {}, "ws://[::1]:9/v1/realtime?model=m"),
    ("http://[::ffff:127.0.0.1]/v1", R, {}, "ws://[::ffff:127.0.0.1]/v1/realtime?model=m"),
    ("http://gw/v1", R, {"allow_insecure": True}, "ws://gw/v1/realtime?model=m"),
    # Transcription: no model on OpenAI's own host, and only there.
    ("https://api.openai.com/v1", T, {}, "wss://api.openai.com/v1/realtime?intent=transcription"),
    ("https://API.OpenAI.com/v1", T, {}, "wss://API.OpenAI.com/v1/realtime?intent=transcription"),
    ("https://api.openai.com:443/v1", T, {}, "wss://api.openai.com:443/v1/realtime?intent=transcription"),
    ("https://api.openai.com./v1", T, {}, "wss://api.openai.com./v1/realtime?intent=transcription"),
    ("https://api.openai.com/v1?model=x", T, {}, "wss://api.openai.com/v1/realtime?intent=transcription"),
    ("https://api.openai.com/v1", T, {"model": ""}, "wss://api.openai.com/v1/realtime?intent=transcription"),
    (
        "https://api.openai.com/v1?team=a&model=x&intent=other",
        T,
        {},
        "wss://api.openai.com/v1/realtime?team=a&intent=transcription",
    ),
    (
        "https://api.openai.com/v1",
        T,
        {"model_in_url": True},
        "wss://api.openai.com/v1/realtime?intent=transcription&model=m",
    ),
    (
        "https://api.openai.com.evil.test/v1",
        T,
        {},
        "wss://api.openai.com.evil.test/v1/realtime?intent=transcription&model=m",
    ),
    (
        "https://eu.api.openai.com/v1",
        T,
        {},
        "wss://eu.api.openai.com/v1/realtime?intent=transcription&model=m",
    ),
    (
        "https://eu.api.openai.com/v1?model=x",
        T,
        {"model_in_url": False},
        "wss://eu.api.openai.com/v1/realtime?intent=transcription",
    ),
    ("https://gw/p/v1?team=a", T, {}, "wss://gw/p/v1/realtime?team=a&intent=transcription&model=m"),
    ("https://gw/v1?model=alias", T, {}, "wss://gw/v1/realtime?intent=transcription&model=alias"),
    ("https://gw/v1", T, {"model": ""}, "wss://gw/v1/realtime?intent=transcription"),
    (
        "https://gw/v1",
        T,
        {"extra_query": {"intent": "transcription"}},
        "wss://gw/v1/realtime?intent=transcription&model=m",
    ),
    # Translation.
    ("https://api.openai.com/v1", X, {}, "wss://api.openai.com/v1/realtime/translations?model=m"),
    ("https://api.openai.com/v1/realtime", X, {}, "wss://api.openai.com/v1/realtime/translations?model=m"),
    ("https://gw/v1/realtime/translations/", X, {}, "wss://gw/v1/realtime/translations?model=m"),
    ("https://gw/v1?intent=transcription", X, {}, "wss://gw/v1/realtime/translations?model=m"),
    # Sideband: the call alone.
    ("https://api.openai.com/v1", S, {"call_id": "rtc_1"}, "wss://api.openai.com/v1/realtime?call_id=rtc_1"),
    (
        "https://gw/v1?model=x&team=a&call_id=rtc_0",
        S,
        {"call_id": "rtc_1"},
        "wss://gw/v1/realtime?team=a&call_id=rtc_1",
    ),
    # An upload is an HTTP request, which names its model in the body.
    ("https://api.openai.com/v1", U, {}, "https://api.openai.com/v1/audio/transcriptions"),
    ("wss://gw/p/v1/realtime?team=a&model=x", U, {}, "https://gw/p/v1/audio/transcriptions?team=a"),
    ("ws://localhost:1/v1", U, {}, "http://localhost:1/v1/audio/transcriptions"),
    (
        "https://gw/v1",
        U,
        {"extra_query": {"intent": "transcription", "b": "2"}},
        "https://gw/v1/audio/transcriptions?b=2",
    ),
    # The HTTP side: no parameters of ours either.
    ("https://api.openai.com/v1", Service.CLIENT_SECRETS, {}, "https://api.openai.com/v1/realtime/client_secrets"),
    ("wss://gw/p/v1/realtime?t=a&model=x", Service.CALLS, {}, "https://gw/p/v1/realtime/calls?t=a"),
    (
        "https://r.openai.azure.com/openai/v1",
        Service.TRANSLATION_SECRETS,
        {},
        "https://r.openai.azure.com/openai/v1/realtime/translations/client_secrets",
    ),
    ("http://localhost:1/v1", Service.TRANSLATION_CALLS, {}, "http://localhost:1/v1/realtime/translations/calls"),
    (
        "https://gw/v1?t=a",
        Service.CALLS,
        {"call_id": "rtc_u1-a.b~c", "action": "hangup"},
        "https://gw/v1/realtime/calls/rtc_u1-a.b~c/hangup?t=a",
    ),
]


@pytest.mark.parametrize(("base_url", "service", "options", "expected"), URLS)
def test_url(base_url: str, service: Service, options: dict[str, Any], expected: str) -> None:
    assert endpoint.build(base_url, service, **{"model": "m", **options}).url == expected


REFUSED: list[tuple[str, Service, dict[str, Any], str]] = [
    ("", R, {}, "`base_url`"),
    ("   ", R, {}, "`base_url`"),
    ("api.openai.com/v1", R, {}, "`base_url`"),
    ("localhost:8080/v1", R, {}, "`base_url`"),
    ("ftp://api.openai.com/v1", R, {}, "`base_url`"),
    ("https:///v1", R, {}, "`base_url`"),
    ("https://.", R, {}, "`base_url`"),
    ("https://gw:port/v1", R, {}, "`base_url`"),
    ("https://gw:99999/v1", R, {}, "`base_url`"),
    ("https://[::1/v1", R, {}, "`base_url`"),
    ("https://gw/v1#frag", R, {}, "fragment"),
    ("https://gw/v1#", R, {}, "fragment"),
    ("https://gw/v 1", R, {}, "`base_url`"),
    ("https://gw/v1\r\nX: y", R, {}, "`base_url`"),
    ("https://api.openai.com\\@evil.test/v1", R, {}, "`base_url`"),
    ("https://user:hunter2@gw/v1", R, {}, "user information"),
    ("https://hunter2@gw/v1", R, {}, "user information"),
    ("http://gw/v1", R, {}, "allow_insecure"),
    ("ws://api.openai.com/v1", R, {}, "allow_insecure"),
    ("http://localhost.evil.test/v1", R, {}, "allow_insecure"),
    ("http://127.0.0.1.evil.test/v1", R, {}, "allow_insecure"),
    ("http://notlocalhost/v1", R, {}, "allow_insecure"),
    ("http://10.0.0.1/v1", R, {}, "allow_insecure"),
    ("http://0.0.0.0/v1", R, {}, "allow_insecure"),
    ("https://gw/v1", R, {"model": ""}, "`model`"),
    ("https://gw/v1", X, {"model": ""}, "`model`"),
    ("https://gw/v1", T, {"model": "", "model_in_url": True}, "`model`"),
    ("https://gw/v1", S, {}, "`call_id`"),
    ("https://gw/v1", R, {"extra_query": {"intent": "transcription"}}, "`extra_query`"),
    ("https://gw/v1", R, {"extra_query": {"call_id": "rtc_1"}}, "`extra_query`"),
    ("https://gw/v1", X, {"extra_query": {"intent": "translation"}}, "`extra_query`"),
    ("https://gw/v1", T, {"extra_query": {"intent": "other"}}, "`extra_query`"),
    ("https://gw/v1", R, {"extra_headers": {"OpenAI-Beta": "realtime=v1"}}, "retired"),
    ("https://gw/v1", R, {"extra_headers": {"openai-beta": "hunter2"}}, "retired"),
    ("https://gw/v1", R, {"extra_headers": {"X-A": "hunter2\r\nX-B: 1"}}, "`extra_headers`"),
    ("https://gw/v1", R, {"extra_headers": {"X-A": "hunter2\n"}}, "`extra_headers`"),
    ("https://gw/v1", R, {"extra_headers": {"X-A\r\nX-B": "1"}}, "`extra_headers`"),
    ("https://gw/v1", R, {"extra_headers": {"": "1"}}, "`extra_headers`"),
    ("https://gw/v1", R, {"api_key": "hunter2\n"}, "`api_key`"),
    ("https://gw/v1", R, {"api_key": "hunter2 x"}, "`api_key`"),
    ("https://gw/v1", R, {"api_key": "hunter2…"}, "`api_key`"),
]


@pytest.mark.parametrize(("base_url", "service", "options", "words"), REFUSED)
def test_refused(base_url: str, service: Service, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        endpoint.build(base_url, service, **{"model": "m", **options})
    assert "hunter2" not in str(caught.value)
    # The error must not bring along a cause that quotes the URL.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def headers(**options: Any) -> dict[str, str]:
    return dict(endpoint.build("https://gw/v1", R, model="m", **options).headers)


def test_the_key_becomes_a_bearer_token() -> None:
    assert headers(api_key=KEY) == {"Authorization": f"Bearer {KEY}"}


def test_the_key_may_be_sent_as_azure_wants_it() -> None:
    assert headers(api_key=KEY, key_header="api-key") == {"api-key": KEY}


@pytest.mark.parametrize("ours", ["Authorization", "api-key"])
@pytest.mark.parametrize("theirs", ["authorization", "API-Key"])
def test_there_is_one_credential_and_the_callers_own_goes_first(ours: str, theirs: str) -> None:
    assert headers(api_key=KEY, key_header=ours, extra_headers={theirs: "other"}) == {theirs: "other"}


@pytest.mark.parametrize("text", ["", "a b", "a\n", "…"])
def test_what_cannot_be_sent_as_a_key(text: str) -> None:
    assert endpoint.is_credential("eyJ.a-b_c")
    assert not endpoint.is_credential(text)


def test_without_a_key_there_is_no_authorization() -> None:
    assert headers(extra_headers={"api-key": "azure"}) == {"api-key": "azure"}


def test_extra_headers_replace_ours_whatever_their_case() -> None:
    assert headers(api_key=KEY, extra_headers={"authorization": "Bearer other", "OpenAI-Project": "p"}) == {
        "authorization": "Bearer other",
        "OpenAI-Project": "p",
    }


@pytest.mark.parametrize("call_id", ["", "rtc_", "call_1", "rtc_1/accept", "rtc_1?x", "rtc_1\n", None, 7])
def test_what_is_no_id_of_a_call_gets_into_no_path(call_id: Any) -> None:
    with pytest.raises(ValueError, match=r"call_id=.* is not the id of a call"):
        endpoint.build("https://gw/v1", Service.CALLS, call_id=call_id, action="hangup")


def test_of_two_spellings_of_a_header_the_last_stays() -> None:
    assert headers(extra_headers={"X-Team": "a", "x-team": "b"}) == {"x-team": "b"}


def test_repr_shows_names_but_no_values() -> None:
    built = endpoint.build(
        "https://gw/v1?api-key=hunter2&team=a", R, model="m", api_key=KEY, extra_headers={"X-Secret": "hunter3"}
    )
    shown = f"{built!r} {built} {[built]}"
    assert "Authorization" in shown
    assert "X-Secret" in shown
    assert "model=m" in shown
    assert not any(secret in shown for secret in (KEY, "hunter2", "hunter3"))


def test_header_values_are_not_printed_either() -> None:
    built = endpoint.build("https://gw/v1", R, model="m", api_key=KEY, extra_headers={"X-Secret": "hunter3"})
    assert repr(dict(built.headers)) == "{'Authorization': [redacted], 'X-Secret': [redacted]}"
    assert built.headers["Authorization"] == f"Bearer {KEY}"


def test_what_may_be_a_key_is_known_by_its_place_longest_first() -> None:
    built = endpoint.build(
        "https://gw/v1?code=a/long=code&team=a&model=a-long-model",
        R,
        api_key=KEY,
        extra_headers={"X-Secret": "Basic dXNlcjpwYXNz", "OpenAI-Project": "proj_12345678", "X-Short": "seven77"},
    )
    assert built.secrets == tuple(sorted(built.secrets, key=len, reverse=True))
    assert {KEY, "dXNlcjpwYXNz", "a/long=code", "a%2Flong%3Dcode"} < set(built.secrets)
    assert {"proj_12345678", "seven77", "a-long-model", "Bearer", "a"} & set(built.secrets) == set()


def test_host_and_path() -> None:
    built = endpoint.build("https://API.OpenAI.com.:443/v1", T)
    assert (built.host, built.path) == ("api.openai.com", "/v1/realtime")


def test_an_endpoint_cannot_be_changed() -> None:
    built = endpoint.build("https://gw/v1", R, model="m", api_key=KEY)
    with pytest.raises(AttributeError):
        built.url = "wss://evil.test"  # type: ignore[misc]
    with pytest.raises(TypeError):
        built.headers["X"] = "y"  # type: ignore[index]


def test_the_callers_headers_and_query_are_left_alone() -> None:
    extra, query = {"X-Team": "a"}, {"team": "a"}
    endpoint.build("https://gw/v1", R, model="m", api_key=KEY, extra_headers=extra, extra_query=query)
    assert (extra, query) == ({"X-Team": "a"}, {"team": "a"})


text = st.text(max_size=20)


@given(base=st.dictionaries(text, text), extra=st.dictionaries(text, text), service=st.sampled_from([R, T, X, U]))
def test_foreign_parameters_survive_and_ours_are_not_doubled(
    base: dict[str, str], extra: dict[str, str], service: Service
) -> None:
    ours = {"model", "intent", "call_id"}
    base = {name: value for name, value in base.items() if name not in ours}
    extra = {name: value for name, value in extra.items() if name not in ours}
    built = endpoint.build(f"https://gw/v1?{urlencode(base)}", service, model="m", extra_query=extra)
    pairs = parse_qsl(urlsplit(built.url).query, keep_blank_values=True)
    assert len(pairs) == len(dict(pairs))
    assert {name: value for name, value in pairs if name not in ours} == {**base, **extra}
    assert dict(pairs).get("model", "m") == "m"
    assert ("model" in dict(pairs)) is (service is not U)
