"""A key that comes in pieces is hidden, and the text around it is not."""

from __future__ import annotations

from typing import Any

import pytest

from livekit_plugins_openai_ga.recording import Header, Recorder, read
from livekit_plugins_openai_ga.recording.pieces import Pieces
from livekit_plugins_openai_ga.redaction import HIDDEN, traces

TOKEN = "gateway-token-0042"


def delta(text: str, item: str = "item_1") -> dict[str, Any]:
    return {"type": "response.output_text.delta", "item_id": item, "content_index": 0, "delta": text}


def written(*pieces: str) -> str:
    known = Pieces()
    return "".join(known.next(delta(piece), traces([TOKEN])) for piece in pieces)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["Hello ", "there, ", "[you]."], "Hello there, [you]."),
        (["It is sk-", "proj-ABC", "DEFGH1234", " I think"], f"It is sk-{HIDDEN} I think"),
        (["see gate", "way-tok", "en-00", "42 now"], f"see gate{HIDDEN} now"),
        (["a gatewa", "y to Rome"], f"a {HIDDEN}gateway to Rome"),
        (['{"pass', 'word": "hun', "ter2", '", "n": 1}'], '{"password": "[redacted]", "n": 1}'),
        (["Bearer 0123", "4567", "89ab", "cdef"], f"Bearer 0123{HIDDEN}"),
        (["sk-" + "a" * 900, *["b" * 900] * 20, " is it"], f"{HIDDEN} is it"),
    ],
)
def test_a_key_is_hidden_from_the_piece_on_that_shows_it(pieces, expected):
    assert written(*pieces) == expected


LONG = "0123456789abcdefghijklmnop"


SAID = [
    ("It is ", f"sk-proj-{LONG}", ", I think."),
    ("see ", TOKEN, " now"),
    ("Use Bearer ", LONG, " for it"),
    ('{"city": "Rome", "password": "', LONG, '", "n": 1}'),
    (r'{"arguments": "{\"api_key\": \"', LONG, r'\"}"}'),
    ("at https://gateway.example/v1?access_token=", LONG, "&model=m"),
    ("Incorrect API key provided: ", LONG, ". You can find"),
    ("a push with ", f"ghp_{LONG}", " works"),
]


@pytest.mark.parametrize(("before", "secret", "after"), SAID)
def test_no_cut_through_a_text_shows_its_key(before, secret, after):
    text = f"{'A quiet evening. ' * 20}{before}{secret}{after} {'And a quiet night. ' * 20}"
    start = text.index(secret)
    for cut in range(start - len(before), start + len(secret) + 1):
        shown = written(text[:cut], text[cut:])
        assert secret[-8:] not in shown, text[:cut]
        twice = written(text[: start - 2], text[start - 2 : cut], text[max(cut, start - 2) :])
        assert secret[-8:] not in twice, text[:cut]
        assert shown.endswith("And a quiet night. ")


NAMED = [(f'{{"{name}": "', LONG, '", "n": 1}') for name in ("proxy_authorization", "refresh_token")]


@pytest.mark.parametrize(("before", "secret", "after"), [*SAID, *NAMED])
def test_no_text_in_single_letters_shows_its_key(before, secret, after):
    text = f"{'A quiet evening. ' * 20}{before}{secret}{after} {'And a quiet night. ' * 20}"
    shown = written(*text)
    assert secret[-8:] not in shown
    assert shown.endswith("And a quiet night. ")


def test_a_key_in_single_letters_is_not_told_either():
    key = "sk-proj-ABCDEFGH1234"
    text = written(*f"Take {key}, please.")
    assert text == f"Take sk-{HIDDEN}, please."
    assert written(*f"Take {TOKEN}, please.") == f"Take gatew{HIDDEN}, please."


def test_texts_that_come_at_the_same_time_are_kept_apart():
    known = Pieces()
    pieces = [("sk-", "a"), ("Good ", "b"), ("proj-12345678", "a"), ("morning", "b")]
    assert [known.next(delta(text, item), ()) for text, item in pieces] == ["sk-", "Good ", HIDDEN, "morning"]


def test_little_is_held_however_many_texts_there_are():
    known = Pieces()
    for number in range(100):
        known.next(delta("sk-", str(number)), ())
    assert known.next(delta("proj-12345678", "0"), ()) == "proj-12345678"


async def test_a_recording_has_no_key_that_came_in_pieces(tmp_path):
    file = Recorder(tmp_path).begin(Header())
    assert file is not None
    for piece in ("It is sk-", "proj-ABC", "DEFGH1234", "."):
        file.write("in", delta(piece), traces([TOKEN]))
    file.close()
    pieces = [entry.event["delta"] for entry in read(file.path).entries if "delta" in entry.event]
    assert pieces == ["It is sk-", HIDDEN, "", "."]
