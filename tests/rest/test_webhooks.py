"""Webhooks: what is OpenAI's, fresh and new is taken; the openai SDK takes the same bytes and refuses the same ones."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import InvalidWebhookSignatureError, OpenAI

from livekit_plugins_openai_ga.emulator.calls import Call
from livekit_plugins_openai_ga.emulator.ringing import Delivery, incoming
from livekit_plugins_openai_ga.rest import IncomingCall, WebhookEvent, WebhookRefused, WebhookReplayed, Webhooks

SECRET = "whsec_" + base64.b64encode(b"a signing secret of 32 bytes or so").decode()
HEADERS = (("From", "<sip:+15550100@example.com>"), ("To", "<sip:proj_1@sip.api.openai.com>"), ("X-Plan", "gold"))
NOW = 1_790_000_000.0


def ringing(secret: str = SECRET, sent_at: float = NOW) -> Delivery:
    call = Call("rtc_1", "sip", sip_headers=HEADERS)
    return incoming(call, "https://example.com", secret, media_security="srtp", sent_at=sent_at)


def signed(body: bytes, *, secret: str = SECRET, webhook_id: str = "wh_1", sent_at: float = NOW) -> dict[str, str]:
    """Headers for any body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{webhook_id}.{int(sent_at)}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(sent_at)),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def webhooks(now: float = NOW, **given: Any) -> Webhooks:
    return Webhooks(SECRET, clock=lambda: now, **given)


def witness(body: bytes, headers: Mapping[str, str], secret: str = SECRET) -> Any:
    return OpenAI(api_key="sk-test", webhook_secret=secret).webhooks.unwrap(body, dict(headers))


@pytest.mark.parametrize("secret", [SECRET, "a secret that is no base64"])
def test_a_call_that_comes_in_is_read_as_openais_client_reads_it(secret: str) -> None:
    delivery = ringing(secret, time.time())
    call = Webhooks(secret).unwrap(delivery.body, delivery.headers)
    theirs = witness(delivery.body, delivery.headers, secret)
    assert isinstance(call, IncomingCall)
    assert (call.type, call.id, call.call_id) == ("realtime.call.incoming", theirs.id, theirs.data.call_id)
    assert call.sip_headers == tuple((header.name, header.value) for header in theirs.data.sip_headers) == HEADERS
    assert (call.created_at, call.media_security) == (theirs.created_at, "srtp")
    assert (call.header("x-plan"), call.header("Via")) == ("gold", None)


def test_the_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="OPENAI_WEBHOOK_SECRET"):
        Webhooks()
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", SECRET)
    delivery = ringing(sent_at=time.time())
    assert isinstance(Webhooks().unwrap(delivery.body, delivery.headers), IncomingCall)


def test_a_secret_that_is_none_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="whsec_") as caught:
        Webhooks("whsec_not*base64")
    assert "not*base64" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert SECRET not in repr(vars(webhooks()))
    for none in ("whsec_", "whsec_é", "whsec_\udc80"):
        with pytest.raises(ValueError, match="no base64 after it"):
            Webhooks(none)
    for short in ("whsec_" + base64.b64encode(b"x" * 15).decode(), "x" * 15):
        with pytest.raises(ValueError, match="shorter than 16 bytes") as caught:
            Webhooks(short)
        assert short not in str(caught.value)
    Webhooks("x" * 16)
    with pytest.raises(ValueError, match="tolerance=0"):
        webhooks(tolerance=0)


def test_header_names_are_compared_without_case_and_the_body_may_be_text() -> None:
    delivery = ringing()
    shouted = {name.upper(): value for name, value in delivery.headers.items()}
    assert isinstance(webhooks().unwrap(delivery.body.decode(), shouted), IncomingCall)


def test_other_events_are_told_as_they_are() -> None:
    body = json.dumps({"type": "response.completed", "id": "evt_1", "created_at": 5, "data": {"id": "resp_1"}}).encode()
    event = webhooks().unwrap(body, signed(body))
    assert event == WebhookEvent("response.completed", "evt_1", 5.0, "wh_1", {"id": "resp_1"})


def test_several_signatures_are_tried_while_a_secret_is_changed() -> None:
    delivery = ringing()
    good = delivery.headers["webhook-signature"]
    for signatures in (f"v1,bm8= {good}", f"{good} v1,bm8=", f"v1a,bm8= {good} v2"):
        headers = {**delivery.headers, "webhook-signature": signatures}
        assert isinstance(webhooks().unwrap(delivery.body, headers), IncomingCall)


FORGED: dict[str, dict[str, str]] = {
    "another signature": {"webhook-signature": "v1,bm8="},
    "no signature": {"webhook-signature": ""},
    "only one of another kind": {"webhook-signature": "v1a,bm8="},
    "letters that are not ASCII": {"webhook-signature": "v1,ö"},
    "bytes that are no text": {"webhook-signature": "v1,\udc80\ud800"},
    "an id that is no text": {"webhook-id": "\udc80"},
    "another id": {"webhook-id": "wh_2"},
    "no id": {"webhook-id": ""},
    "an endless id": {"webhook-id": "x" * 5000},
    "another time": {"webhook-timestamp": str(int(NOW) + 1)},
    "no time": {"webhook-timestamp": ""},
    "a time that is none": {"webhook-timestamp": "now"},
    "a time without end": {"webhook-timestamp": "inf"},
    "a negative time": {"webhook-timestamp": "-1"},
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
def test_what_is_not_openais_is_refused_and_not_remembered(forged: dict[str, str]) -> None:
    delivery, ours = ringing(), webhooks()
    with pytest.raises(WebhookRefused):
        ours.unwrap(delivery.body, {**delivery.headers, **forged})
    assert isinstance(ours.unwrap(delivery.body, delivery.headers), IncomingCall)


def test_an_id_that_is_too_long_to_remember_is_refused_with_a_good_signature_too() -> None:
    body, ours = b'{"type": "x"}', webhooks()
    assert ours.unwrap(body, signed(body, webhook_id="x" * 256)).type == "x"
    with pytest.raises(WebhookRefused, match="malformed"):
        ours.unwrap(body, signed(body, webhook_id="x" * 257))


@pytest.mark.parametrize("body", [b"{}", b"", b"\xff\xfe"])
def test_another_body_is_refused_by_openais_client_too(body: bytes) -> None:
    delivery = ringing(sent_at=time.time())
    with pytest.raises(WebhookRefused, match="signature"):
        Webhooks(SECRET).unwrap(body, delivery.headers)
    with pytest.raises((InvalidWebhookSignatureError, UnicodeDecodeError)):
        witness(body, delivery.headers)


def test_another_secret_is_refused_by_openais_client_too() -> None:
    other = "whsec_" + base64.b64encode(b"another").decode()
    delivery = ringing(other, time.time())
    with pytest.raises(WebhookRefused, match="signature"):
        Webhooks(SECRET).unwrap(delivery.body, delivery.headers)
    with pytest.raises(InvalidWebhookSignatureError):
        witness(delivery.body, delivery.headers)


@pytest.mark.parametrize(("age", "taken"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_a_webhook_is_neither_old_nor_from_the_future(age: float, taken: bool) -> None:
    delivery = ringing()
    if taken:
        assert isinstance(webhooks(NOW + age).unwrap(delivery.body, delivery.headers), IncomingCall)
        return
    with pytest.raises(WebhookRefused, match="301 s"):
        webhooks(NOW + age).unwrap(delivery.body, delivery.headers)


def test_a_webhook_is_taken_once_for_as_long_as_its_signature_is_good() -> None:
    now = NOW - 299.0
    ours, delivery = Webhooks(SECRET, clock=lambda: now), ringing()
    ours.unwrap(delivery.body, delivery.headers)
    for now in (NOW - 299.0, NOW, NOW + 300.0):  # noqa: B007 (the clock reads it)
        with pytest.raises(WebhookReplayed):
            ours.unwrap(delivery.body, delivery.headers)
    now = NOW + 301.0
    with pytest.raises(WebhookRefused, match="old"):
        ours.unwrap(delivery.body, delivery.headers)


def test_what_is_remembered_does_not_grow() -> None:
    now = NOW
    ours = Webhooks(SECRET, clock=lambda: now)
    for number in range(50):
        now = NOW + number * 100
        body = b'{"type": "x"}'
        ours.unwrap(body, signed(body, webhook_id=f"wh_{number}", sent_at=now))
    assert sum(len(value) for value in vars(ours).values() if isinstance(value, dict)) < 10


def test_one_that_could_not_be_dealt_with_is_taken_again() -> None:
    ours, delivery = webhooks(), ringing()
    ours.forget(ours.unwrap(delivery.body, delivery.headers))
    assert isinstance(ours.unwrap(delivery.body, delivery.headers), IncomingCall)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'{"type": 7}', b'{"type": "realtime.call.incoming", "data": {}}', b"\xff", b"[" * 100_000],
)
def test_what_is_signed_and_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookRefused):
        webhooks().unwrap(body, signed(body))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
events = st.fixed_dictionaries(
    {},
    optional={
        "type": st.just("realtime.call.incoming") | anything,
        "id": anything,
        "created_at": anything,
        "data": anything
        | st.fixed_dictionaries(
            {"call_id": st.text(max_size=5) | anything},
            optional={
                "sip_headers": st.lists(st.fixed_dictionaries({"name": anything, "value": anything})) | anything,
                "sip_media_security": anything,
            },
        ),
    },
)


@given(event=events | anything)
def test_whatever_is_signed_is_an_event_or_refused(event: Any) -> None:
    body = json.dumps(event).encode()
    with contextlib.suppress(WebhookRefused):
        told = webhooks().unwrap(body, signed(body))
        assert isinstance(told, WebhookEvent)
        repr(told)


@given(body=st.binary(max_size=20), values=st.tuples(*[st.text(max_size=12)] * 3))
def test_whatever_is_not_signed_is_refused(body: bytes, values: tuple[str, str, str]) -> None:
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    with pytest.raises(WebhookRefused):
        webhooks().unwrap(body, dict(zip(names, values, strict=True)))


def test_odd_headers_of_a_call_are_left_out() -> None:
    data = {"call_id": "rtc_1", "sip_headers": [{"name": "From", "value": None}, {"value": "x"}, "y"]}
    body = json.dumps({"type": "realtime.call.incoming", "data": data}).encode()
    call = webhooks().unwrap(body, signed(body))
    assert isinstance(call, IncomingCall)
    assert (call.sip_headers, call.media_security, call.created_at) == ((("From", ""),), "", 0.0)


def test_who_called_is_not_printed() -> None:
    delivery = ringing()
    assert "5550100" not in repr(webhooks().unwrap(delivery.body, delivery.headers))
