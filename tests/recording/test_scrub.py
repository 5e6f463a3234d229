"""What is left out of events: keys always, audio and texts as asked; also in events that nobody has seen yet."""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from livekit_plugins_openai_ga.emulator import grammar, schema
from livekit_plugins_openai_ga.recording import scrub
from livekit_plugins_openai_ga.recording.scrub import Scrub
from livekit_plugins_openai_ga.redaction import HIDDEN, Secret
from tests.fuzz.frames import CORPUS

SAID = "Ada Lovelace"
KEY = "sk-proj-very-secret-0123456789"
TOKEN = "gateway-token-0042"
PICTURE = "data:image/png;base64," + base64.b64encode(b"a picture").decode()
CLIENT_EVENTS = {**schema._CALL_EVENTS, **schema._TRANSLATION_EVENTS, **schema.EVENTS}


def sample(check: Any, rng: random.Random) -> Any:
    """Something that a checker of the emulator takes, with `SAID` wherever it takes any text."""
    if isinstance(check, grammar.Text):
        return check.choices[0] if check.choices else f"name_{rng.randrange(9)}" if check.pattern else SAID
    if isinstance(check, grammar.Number):
        return 7
    if isinstance(check, grammar.Array):
        return [sample(check.element, rng) for _ in range(2)]
    if isinstance(check, grammar.Table):
        return {SAID: SAID}
    if isinstance(check, grammar.Object):
        return {name: sample(inner, rng) for name, inner in check.fields.items()}
    if isinstance(check, grammar.Variants):
        name = rng.choice(list(check.variants))
        return {**sample(check.variants[name], rng), check.tag: name}
    if isinstance(check, grammar.Or):
        nothing = check.kind is type(None)
        return sample(check.second if nothing or rng.random() < 0.5 else check.first, rng)
    special: dict[Any, Any] = {
        grammar.boolean: True,
        grammar.mapping: {SAID: {"description": SAID}},
        grammar.anything: {"type": SAID, "object": SAID, SAID: [SAID]},
        schema._modalities: ["audio"],
        schema._image: PICTURE,
        schema._assistant_part: {"type": "output_text", "text": SAID},
    }
    return sample(schema.ITEM, rng) if check is schema._response_input else copy.deepcopy(special[check])


def client_events(count: int = 8) -> Iterator[dict[str, Any]]:
    for name, seed in itertools.product(CLIENT_EVENTS, range(count)):
        yield {**sample(CLIENT_EVENTS[name], random.Random(f"{name} {seed}")), "type": name}


def with_texts(value: Any, *, top: bool = True) -> Any:
    """The same shape, with `SAID` for every text but the event's name, and a field that nobody knows."""
    if isinstance(value, dict):
        changed = {name: with_texts(inner, top=False) for name, inner in value.items()}
        new = {"a_new_field": {"deep": [SAID]}, "another": SAID, "third": [[SAID]]}
        return {**changed, **new, **({"type": value["type"]} if top else {})}
    if isinstance(value, list):
        return [with_texts(inner, top=False) for inner in value] + [SAID]
    return SAID if isinstance(value, str) else value


def server_events() -> Iterator[dict[str, Any]]:
    for line in CORPUS:
        event = json.loads(line)
        yield with_texts(event)


def shown(event: Any) -> str:
    return json.dumps(event, ensure_ascii=False)


def test_no_text_of_any_client_event_is_left_when_texts_are_left_out():
    for event in client_events():
        assert SAID in shown(event) or len(event) <= 3
        assert SAID not in shown(Scrub(redact=True)(event)), event


def test_no_text_of_any_server_event_is_left_when_texts_are_left_out():
    for event in server_events():
        assert SAID not in shown(Scrub(redact=True)(event)), event


def test_without_keys_and_audio_an_event_is_written_as_it_was():
    for line in CORPUS:
        event = json.loads(line)
        assert Scrub(audio=True)(event) == event


SECRETS = ("authorization", "Authorization", "headers", "client_secret", "API_KEY", "X-Api-Key", "password", "token")
NAMES = (*sorted(scrub.PLAIN | scrub.WALKED), "text", "transcript", "delta", "audio", "image_url", "reason", "new", "x")


def tree(rng: random.Random, depth: int = 0) -> Any:
    """Anything, of names that are known and of some that are not."""
    roll = rng.random()
    if depth > 6 or roll < 0.45:
        return rng.choice([SAID, f"{SAID} said {KEY} today", KEY, f"Bearer {KEY}", 1, 0.5, None, True, "auto"])
    if roll < 0.6:
        return [tree(rng, depth + 1) for _ in range(rng.randrange(4))]
    grown = {rng.choice(NAMES): tree(rng, depth + 1) for _ in range(rng.randrange(1, 5))}
    if rng.random() < 0.2:
        grown[rng.choice(SECRETS)] = rng.choice([TOKEN, {"X-Any": TOKEN}, [TOKEN]])
    if rng.random() < 0.2:
        grown["text"] = f"it says {TOKEN}"
    if rng.random() < 0.1:
        grown["key"] = Secret(TOKEN)
    return grown


@pytest.mark.parametrize("redact", [False, True])
def test_however_deep_it_stands_no_key_is_written_and_no_text_that_is_left_out(redact):
    for seed in range(1500):
        grown = tree(random.Random(seed))
        event = {"type": "session.update", "session": grown, "item": grown, "unknown": grown}
        before = copy.deepcopy(event)
        written = shown(Scrub(redact=redact)(event, (TOKEN,)))
        assert KEY not in written, seed
        assert TOKEN not in written, seed
        if redact:
            assert SAID not in written, seed
        assert event == before, "an event was changed in place"


QUOTED = 'a "quoted\\\\" kéy-0042'
SHAPES = [
    (f"It is {KEY}, I think.", KEY),
    (json.dumps({"city": "Rome", "password": "hunter2"}), "hunter2"),
    (json.dumps({"arguments": json.dumps({"api_key": "hunter2"})}), "hunter2"),
    ("https://gateway.example/v1?access_token=hunter2&model=m", "hunter2"),
    ("wss://me:hunter2@gateway.example/v1", "hunter2"),
    ("Authorization: BEARER abcdefgh0123", "abcdefgh0123"),
    ("ghp_abcdefghijklmnop0123", "abcdefghijklmnop"),
    (f"{TOKEN}", TOKEN),
    (f"it quotes {QUOTED}!", QUOTED),
]
PLACES: list[Callable[[str], dict[str, Any]]] = [
    lambda text: {"type": "error", "error": {"message": text}},
    lambda text: {"type": "response.output_text.done", "text": text, "item_id": "item_1"},
    lambda text: {"type": "a.new.event", "item_id": text},
    lambda text: {"type": "a.new.event", "deep": [{"est": [[text, "x"]]}]},
    lambda text: {"type": "a.new.event", text: "x"},
    lambda text: {"type": "response.output_audio.delta", "delta": "AAAA", "obfuscation": text},
    lambda text: {"type": "session.update", "session": {"tools": [{"parameters": {"properties": {text: {}}}}]}},
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("text", "secret"), SHAPES)
@pytest.mark.parametrize("audio", [False, True])
def test_a_key_of_any_shape_is_hidden_wherever_it_is_said(text, secret, place, audio):
    written = Scrub(audio=audio)(place(text), (TOKEN, QUOTED))
    assert secret not in repr(written)
    assert json.dumps(secret)[1:-1] not in json.dumps(written)
    assert HIDDEN in shown(written)


def test_kept_audio_is_not_searched_and_stays_what_looks_like_a_key():
    event = {"type": "response.output_audio.delta", "delta": "sk+tokenKEYeyJabcd", "item_id": "item_1"}
    for said in ("a word", KEY):
        assert Scrub(audio=True)({**event, "obfuscation": said})["delta"] == event["delta"]


def test_what_an_mcp_server_is_shown_is_hidden_and_its_name_stays():
    tool = {"type": "mcp", "server_label": "files", "authorization": "token-of-mine", "headers": {"X-Key": "1234"}}
    event = {"type": "session.update", "session": {"tools": [tool]}}
    (written,) = Scrub()(event)["session"]["tools"]
    assert written == {"type": "mcp", "server_label": "files", "authorization": HIDDEN, "headers": HIDDEN}


@pytest.mark.parametrize("name", ["authorization", "Authorization", "API_KEY", "X-Api-Key", "Client-Secret", "token"])
def test_a_field_of_credentials_is_hidden_however_its_name_is_written(name):
    for value in ("blue", 4711, ["blue"], {"x": "blue"}):
        event = {"type": "response.done", "response": {"metadata": {name: value, "n": "green"}}}
        assert Scrub()(event)["response"]["metadata"] == {name: HIDDEN, "n": "green"}


def test_ids_numbers_codes_and_names_of_tools_stay_when_texts_are_left_out():
    usage = {"total_tokens": 9, "input_token_details": {"cached_tokens_details": {"text_tokens": 3}}}
    item = {"id": "item_1", "type": "function_call", "name": "weather", "call_id": "call_1", "status": "completed"}
    cancelled = {"type": "cancelled", "reason": "turn_detected"}
    response = {"id": "resp_1", "status": "cancelled", "status_details": cancelled, "output": [item], "usage": usage}
    event = {"type": "response.done", "event_id": "event_1", "response": response}
    assert Scrub(redact=True)(event) == event


def test_an_error_keeps_its_code_and_parameter_and_loses_its_words_when_texts_are_left_out():
    error = {
        "type": "invalid_request_error",
        "code": "invalid_value",
        "param": "session.tools[0].name",
        "message": SAID,
    }
    written = Scrub(redact=True)({"type": "error", "error": error})["error"]
    assert written == {**error, "message": {"chars": len(SAID)}}


def test_a_code_that_is_also_in_a_header_stays_and_is_hidden_in_the_message():
    error = {"code": "gateway-42x", "message": "gateway-42x said"}
    written = Scrub()({"type": "error", "error": error}, ("gateway-42x",))["error"]
    assert written == {"code": "gateway-42x", "message": f"{HIDDEN} said"}


def test_a_reason_is_a_text_where_an_application_gives_it():
    item = {"type": "mcp_approval_response", "approve": False, "reason": "because"}
    assert Scrub(redact=True)({"type": "conversation.item.create", "item": item})["item"]["reason"] == {"chars": 7}


def test_a_url_is_written_as_far_as_its_host_because_anything_behind_it_may_be_a_key():
    tools = [
        {"type": "mcp", "server_url": url}
        for url in (
            "https://me:pw@mcp.example:8443/s/secret?key=1",
            "https://mcp.example/",
            "https://a@b@c?d",
            "mcp/secret",
        )
    ]
    written = Scrub()({"type": "session.update", "session": {"tools": tools}})["session"]["tools"]
    hosts = [f"https://mcp.example:8443/{HIDDEN}", "https://mcp.example/", f"https://c{HIDDEN}", HIDDEN]
    assert [tool["server_url"] for tool in written] == hosts
    part = {"type": "input_image", "image_url": "https://bucket.example/a.png?X-Amz-Signature=0123"}
    event = {"type": "conversation.item.create", "item": {"content": [part]}}
    for keep in (True, False):
        (image,) = Scrub(audio=keep)(event)["item"]["content"]
        assert image["image_url"] == f"https://bucket.example/{HIDDEN}"


def test_a_schema_may_describe_a_password_and_a_piece_of_a_word_is_called_token():
    tool = {"type": "function", "name": "login", "parameters": {"properties": {"password": {"type": "string"}}}}
    event = {"type": "session.update", "session": {"tools": [tool]}}
    assert Scrub()(event) == event
    told = {"type": "conversation.item.input_audio_transcription.delta", "delta": "Hi"}
    event = {**told, "logprobs": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105]}]}
    assert Scrub()(event) == event


def test_names_and_numbers_of_an_application_are_no_part_of_the_protocol_and_are_left_out_with_the_texts():
    event = {"type": "session.update", "session": {"speed": 1.5, "+4915112345678": 1, "pin": 4711, "text": 4711}}
    written = Scrub(redact=True)(event)
    length = len(json.dumps({"+4915112345678": 1, "pin": 4711}))
    assert written["session"] == {"speed": 1.5, "text": {"chars": 4}, HIDDEN: {"chars": length}}
    assert Scrub()(event) == event


def numbers_and_names(value: Any) -> Iterator[str]:
    """Of every object that has fields of the protocol."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            if isinstance(inner, (bool, int, float)):
                yield f"{name}={inner}"
            elif name in scrub.WALKED:
                yield from numbers_and_names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers_and_names(inner)


def test_every_number_and_every_name_of_a_field_of_the_protocol_stays():
    for event in [*client_events(20), *map(json.loads, CORPUS)]:
        written = Scrub(redact=True)(event)
        assert set(numbers_and_names(event)) <= set(numbers_and_names(written)), event


def test_an_application_that_names_fields_with_numbers_is_written_as_it_is_sent():
    event = {"type": "session.update", "session": {"x-labels": {1: "low", 2.5: "high", False: "yes", None: "no"}}}
    assert Scrub()(event) == json.loads(json.dumps(event))
    assert "low" not in shown(Scrub(redact=True)(event))


def test_a_picture_of_any_spelling_is_not_written():
    for url in ("DATA:image/png;base64,AAAA", "data:image/svg+xml,<svg/>", "data:,AAAA", "data:image/png;base64"):
        event = {"type": "conversation.item.create", "item": {"content": [{"image_url": url}]}}
        assert set(Scrub()(event)["item"]["content"][0]["image_url"]) == {"bytes", "sha256", "mime"}


SOUND = bytes(range(240)) * 20  # 4800 bytes
AUDIO = base64.b64encode(SOUND).decode()
HASH = hashlib.sha256(SOUND).hexdigest()[:16]


@pytest.mark.parametrize(
    ("event", "place", "ms"),
    [
        ({"type": "input_audio_buffer.append", "audio": AUDIO}, ["audio"], 600.0),
        ({"type": "session.input_audio_buffer.append", "audio": AUDIO}, ["audio"], 600.0),
        ({"type": "response.output_audio.delta", "delta": AUDIO}, ["delta"], 100.0),
        ({"type": "session.output_audio.delta", "delta": AUDIO}, ["delta"], 100.0),
        (
            {"type": "conversation.item.create", "item": {"content": [{"type": "input_audio", "audio": AUDIO}]}},
            ["item", "content", 0, "audio"],
            600.0,
        ),
        (
            {"type": "conversation.item.retrieved", "item": {"content": [{"type": "audio", "audio": AUDIO}]}},
            ["item", "content", 0, "audio"],
            100.0,
        ),
        (
            {
                "type": "response.create",
                "response": {"input": [{"content": [{"type": "input_audio", "audio": AUDIO}]}]},
            },
            ["response", "input", 0, "content", 0, "audio"],
            600.0,
        ),
    ],
)
def test_audio_is_length_and_hash_in_its_own_format_unless_it_is_kept(event, place, ms):
    written: Any = Scrub(heard="audio/pcmu")(event)
    for step in place:
        written = written[step]
    assert written == {"bytes": 4800, "sha256": HASH, "ms": ms}
    assert Scrub(audio=True, redact=True)(event) == event


def test_a_picture_is_length_hash_and_kind_unless_it_is_kept():
    part = {"type": "input_image", "image_url": PICTURE, "detail": "low"}
    event = {"type": "conversation.item.create", "item": {"content": [part]}}
    (written,) = Scrub()(event)["item"]["content"]
    digest = hashlib.sha256(b"a picture").hexdigest()[:16]
    assert written == {**part, "image_url": {"bytes": 9, "sha256": digest, "mime": "image/png"}}
    assert Scrub(audio=True)(event) == event


def test_what_is_no_base64_does_no_harm():
    written = Scrub()({"type": "input_audio_buffer.append", "audio": "é!"})
    assert set(written["audio"]) == {"bytes", "sha256", "ms"}
