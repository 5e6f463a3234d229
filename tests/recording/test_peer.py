"""Whoever stands between a session and its connection tells the file what passes, and the session all of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from livekit_plugins_openai_ga.errors import Failure, Kind
from livekit_plugins_openai_ga.recording import Header, Recorder, read
from livekit_plugins_openai_ga.recording.peer import RecordedSession
from livekit_plugins_openai_ga.recording.recorder import RecordingFile
from livekit_plugins_openai_ga.transport.link import LinkFailed
from livekit_plugins_openai_ga.wire.server_events import Malformed

KEY = "gateway-key-0001"
LOST = Failure(Kind.RECONNECT, "close_1006", "they said Ada", "The connection was lost.", "Check the network.")
REFUSED = Failure(Kind.FATAL, "model_not_found", "no model Ada", "There is no such model.", "Use another one.")


class Session:
    """Notes what it is told, and how much was recorded by then."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.stays = False
        self.goes_on = True

    def link_opened(self, link: Any) -> None:
        self.told.append(("opened", link))

    def link_received(self, payload: Any) -> None:
        self.told.append(("received", payload))
        if isinstance(payload, dict):
            payload["spoilt"] = True

    def link_sending(self, event: Any) -> bool:
        self.told.append(("sending", event))
        event["added"] = True
        return self.stays

    def link_lost(self, failure: Failure | None) -> None:
        self.told.append(("lost", failure))

    def instead(self, failure: Failure) -> bool:
        self.told.append(("instead", failure))
        return self.goes_on

    def will_retry(self, failure: Failure, delay: float) -> None:
        self.told.append(("retry", failure, delay))

    def gave_up(self, failure: Failure) -> None:
        self.told.append(("gave up", failure))


class Scene:
    """A session, what records it, and what was recorded."""

    def __init__(self, directory: Path, *, redact: bool = False) -> None:
        file = Recorder(directory, redact=redact).begin(Header())
        assert isinstance(file, RecordingFile)
        self.file = file
        self.session = Session()
        self.peer = RecordedSession(self.session, file)

    def open(self, told: dict[str, Any] | None = None) -> None:
        link: Any = SimpleNamespace(session_id="sess_1", request_id="", expires_at=1.5e9, told=told, secrets=(KEY,))
        self.peer.link_opened(link)

    @property
    def recorded(self) -> list[tuple[int, str, Any]]:
        self.peer.over()
        return [(entry.link, entry.direction, entry.event) for entry in read(self.file.path).entries[:-1]]


@pytest.fixture
async def scene(tmp_path):
    return Scene(tmp_path)


async def test_what_comes_is_written_before_the_session_changes_it_and_what_leaves_after(scene):
    scene.open()
    scene.peer.link_received({"type": "session.created"})
    assert scene.peer.link_sending({"type": "response.create"}) is False
    assert scene.recorded[1:] == [
        (1, "in", {"type": "session.created"}),
        (1, "out", {"type": "response.create", "added": True}),
    ]
    assert [what for what, *_ in scene.session.told] == ["opened", "received", "sending"]


async def test_audio_is_told_of_too_although_the_session_does_not_watch_it(scene):
    assert scene.peer.watches_audio


async def test_what_the_session_holds_back_is_not_written(scene):
    scene.open()
    scene.session.stays = True
    assert scene.peer.link_sending({"type": "response.create"}) is True
    assert len(scene.recorded) == 1


async def test_a_connection_is_told_with_its_ids_and_what_it_was_told_ahead(scene):
    scene.open(told={"type": "realtime"})
    (_, _, opened), (_, _, update) = scene.recorded
    assert opened == {"type": "opened", "session_id": "sess_1", "request_id": "", "expires_at": 1.5e9}
    assert update == {"type": "session.update", "event_id": "session_ahead", "session": {"type": "realtime"}}


async def test_keys_in_use_are_hidden_wherever_they_are_quoted(scene):
    scene.open()
    scene.peer.link_received({"type": "error", "error": {"message": f"you sent {KEY}"}})
    assert scene.recorded[1][2]["error"]["message"] == "you sent [redacted]"


@pytest.mark.parametrize("payload", [Malformed("", "not valid JSON"), {"type": 7}, {}])
async def test_a_frame_that_is_no_event_is_noted(scene, payload):
    scene.open()
    scene.peer.link_received(payload)
    (_, (_, direction, note)) = scene.recorded
    assert (direction, note["type"]) == ("note", "malformed")
    assert scene.session.told[-1] == ("received", payload)


async def test_a_lost_connection_says_why_and_when_the_next_attempt_comes(scene):
    scene.open()
    scene.peer.link_lost(LOST)
    scene.peer.will_retry(LOST, 0.25)
    lost, retry = [note for _, _, note in scene.recorded[1:]]
    assert lost == {"type": "lost", "code": "close_1006", "sentence": LOST.sentence()}
    assert retry == {"type": "retry", "delay_ms": 250.0}
    assert scene.session.told[1:] == [("lost", LOST), ("retry", LOST, 0.25)]


async def test_a_planned_change_is_no_failure_and_the_next_connection_has_the_next_number(scene):
    scene.open()
    scene.peer.link_lost(None)
    scene.open()
    assert [(link, note["type"], note.get("planned")) for link, _, note in scene.recorded] == [
        (1, "opened", None),
        (1, "lost", True),
        (2, "opened", None),
    ]


async def test_an_attempt_that_fails_is_noted_also_the_last_one(scene):
    scene.peer.will_retry(LOST, 0.1)
    scene.peer.gave_up(REFUSED)
    assert [(link, note["type"], note.get("kind")) for link, _, note in scene.recorded] == [
        (0, "failed", "reconnect"),
        (0, "retry", None),
        (0, "failed", "fatal"),
    ]
    assert scene.session.told[-1] == ("gave up", REFUSED)


async def test_a_refused_model_is_noted_when_there_is_another(scene):
    assert scene.peer.instead(REFUSED) is True
    scene.session.goes_on = False
    assert scene.peer.instead(REFUSED) is False
    assert [note["type"] for _, _, note in scene.recorded] == ["failed"]


async def test_without_texts_the_servers_own_words_are_left_out_of_a_failure(tmp_path):
    scene = Scene(tmp_path, redact=True)
    scene.peer.gave_up(REFUSED)
    ((_, _, note),) = scene.recorded
    assert note["code"] == "model_not_found"
    assert note["sentence"] == "model_not_found: There is no such model. Use another one."


async def test_a_dial_that_fails_is_noted_and_raises_as_before(scene):
    async def dial(host: str) -> Any:
        raise LinkFailed(LOST)

    with pytest.raises(LinkFailed):
        await scene.peer.dialling(dial)("api.openai.com")
    assert [note["type"] for _, _, note in scene.recorded] == ["failed"]
