"""Items: synced, acknowledged, refused, and brought back on a new connection."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.history import History
from livekit_plugins_openai_ga.core.record import Record
from livekit_plugins_openai_ga.wire.items import Item
from livekit_plugins_openai_ga.wire.server_events import from_payload


def placed(talk: Any) -> list[tuple[str, str | None]]:
    """(type and item id, previous item id) of the item changes sent so far."""
    return [
        (f"{event['type'].split('.')[-1]} {event.get('item_id') or event['item']['id']}", event.get("previous_item_id"))
        for event in talk.sent
    ]


# -- sync ------------------------------------------------------------------------------------------------------------


def test_a_request_is_settled_when_its_last_change_is_answered(talk: Any, message: Any) -> None:
    talk.syncs("k1", [message("a"), message("b")])
    assert placed(talk) == [("create a", "root"), ("create b", "a")]
    talk.added({"id": "a", "type": "message"})
    assert talk.all(fx.Settled) == []
    talk.added({"id": "b", "type": "message"}, "a")
    assert talk.all(fx.Settled) == [fx.Settled("k1")]
    assert [(e.previous_item_id, e.record.item.text) for e in talk.all(fx.ItemPlaced)] == [
        (None, "text"),
        ("a", "text"),
    ]


def test_a_sync_without_changes_is_settled_at_once(talk: Any, message: Any) -> None:
    talk.syncs("k1", [message("a")])
    talk.acknowledges()
    talk.syncs("k2", [message("a")])
    assert talk.effects[-1:] == [fx.Settled("k2")]
    assert talk.sent == []


def test_a_second_sync_does_not_repeat_what_is_on_its_way(talk: Any, message: Any) -> None:
    talk.syncs("k1", [message("a")])
    talk.syncs("k2", [message("a"), message("b")])
    assert placed(talk) == [("create a", "root"), ("create b", "a")]
    talk.acknowledges()
    assert talk.all(fx.Settled) == [fx.Settled("k1"), fx.Settled("k2")]


def test_a_changed_text_is_deleted_and_created_again(talk: Any, message: Any) -> None:
    talk.syncs("k1", [message("a"), message("b")])
    talk.acknowledges()
    talk.forget()
    talk.syncs("k2", [message("a"), message("b", "other")])
    assert placed(talk) == [("delete b", None), ("create b", "a")]
    talk.acknowledges()
    assert talk.texts == {"a": "text", "b": "other"}
    assert fx.Settled("k2") in talk.effects


def test_what_is_not_in_the_target_is_deleted(talk: Any, message: Any) -> None:
    talk.reply("r1", "a1", "said")
    talk.forget()
    talk.syncs("k1", [])
    assert placed(talk) == [("delete a1", None)]
    talk.acknowledges()
    assert (talk.texts, talk.all(fx.Settled)) == ({}, [fx.Settled("k1")])


def test_an_item_deleted_before_it_was_acknowledged_is_not_told(talk: Any, message: Any) -> None:
    talk.syncs("k1", [message("a")])
    talk.syncs("k2", [])
    talk.acknowledges()
    assert talk.effects == [fx.Settled("k1"), fx.Settled("k2")]
    assert talk.texts == {}


def test_an_item_whose_deletion_is_told_before_its_creation_is_gone(talk: Any, message: Any) -> None:
    talk.syncs("k0", [message("a")])
    talk.acknowledges()
    talk.syncs("k1", [message("a"), message("b")])
    talk.syncs("k2", [message("a")])
    talk.says("conversation.item.deleted", item_id="b")
    talk.added({"id": "b", "type": "message"}, "a")
    assert [record.id for record in talk.conversation.mirror] == ["a"]
    assert [effect.key for effect in talk.all(fx.Settled)][-2:] == ["k2", "k1"]
    talk.forget()
    talk.syncs("k3", [message("a"), message("b", "again")])
    assert placed(talk) == [("create b", "a")]
    talk.acknowledges()
    assert talk.texts == {"a": "text", "b": "again"}


def test_an_empty_message_is_not_created(talk: Any, message: Any) -> None:
    """LiveKit keeps placeholders of turns whose text it does not have yet."""
    talk.syncs("k1", [message("placeholder", "")])
    assert talk.effects == [fx.Settled("k1")]


def test_a_turn_without_transcript_is_not_replaced(talk: Any, message: Any) -> None:
    """livekit/agents#2201: its speech cannot be created again."""
    talk.user_turn("u1")
    talk.forget()
    talk.syncs("k1", [message("u1", "what LiveKit thinks")])
    assert talk.sent == []


def test_a_turn_whose_transcript_is_empty_can_be_edited(talk: Any, message: Any) -> None:
    talk.user_turn("u1")
    talk.transcript("u1", "")
    talk.forget()
    talk.syncs("k1", [message("u1", "")])
    assert talk.sent == []
    talk.syncs("k2", [message("u1", "(silence)")])
    assert placed(talk) == [("delete u1", None), ("create u1", "root")]
    assert talk.texts["u1"] == "(silence)"


def test_a_turn_whose_transcript_came_after_the_context_was_copied_stays(talk: Any, message: Any) -> None:
    """A handoff brings the context as it was during the tool call: the user's turn is empty in it."""
    talk.user_turn("u1")
    talk.transcript("u1", "Let me talk to billing.")
    talk.forget()
    talk.syncs("k1", [message("u1", ""), message("b")])
    assert placed(talk) == [("create b", "u1")]
    assert talk.texts["u1"] == "Let me talk to billing."


def test_a_reply_whose_text_came_after_the_context_was_copied_stays(talk: Any, message: Any) -> None:
    """A reply that speaks and hands off: the new agent's copy of what was said is empty."""
    talk.reply("r1", "a1", "I will put you through.")
    talk.forget()
    talk.syncs("k1", [message("a1", "", role="assistant")])
    assert talk.sent == []
    assert talk.texts["a1"] == "I will put you through."


def test_a_turn_without_transcript_is_not_moved(talk: Any, message: Any) -> None:
    talk.syncs("k0", [message("a")])
    talk.acknowledges()
    talk.user_turn("u1", "a")
    talk.forget()
    talk.syncs("k1", [message("u1", ""), message("a"), message("b")])
    assert placed(talk) == [("create b", "a")]


def test_a_message_that_lost_its_text_is_deleted(talk: Any, message: Any) -> None:
    talk.syncs("k0", [message("a")])
    talk.acknowledges()
    talk.forget()
    talk.syncs("k1", [message("a", "")])
    assert placed(talk) == [("delete a", None)]


def test_what_is_known_of_an_item_survives_a_copy_without_it(talk: Any, message: Any) -> None:
    talk.user_turn("u1")
    talk.transcript("u1", "hello", logprobs=[{"logprob": 0.0}])
    talk.syncs("k1", [message("u1", "hello"), message("a")])
    known = talk.conversation.mirror.get("u1")
    assert known is not None
    assert known.confidence == 1.0


def test_an_item_that_is_there_already_counts_as_created(talk: Any, message: Any) -> None:
    talk.syncs("k1", [message("a")])
    talk.refuses(talk.sent[0], "item_create_duplicate_item_id")
    assert (talk.texts, talk.told) == ({"a": "text"}, ["Settled"])


def test_an_item_that_is_gone_already_counts_as_deleted(talk: Any, message: Any) -> None:
    talk.reply("r1", "a1", "said")
    talk.forget()
    talk.syncs("k1", [])
    talk.refuses(talk.sent[0], "item_delete_invalid_item_id")
    assert talk.told == ["Settled"]


def test_a_deletion_refused_without_a_code_because_the_item_is_gone_counts_as_done(talk: Any, message: Any) -> None:
    talk.reply("r1", "a1", "said")
    talk.forget()
    talk.syncs("k1", [])
    talk.refuses(talk.sent[0], "", "Error deleting item: the item with id 'a1' does not exist.")
    assert (talk.told, talk.texts) == (["Settled"], {})


def test_a_refused_deletion_keeps_the_item_where_it_stands(talk: Any, message: Any) -> None:
    talk.syncs("k0", [message("a"), message("b"), message("c")])
    talk.acknowledges()
    talk.syncs("k1", [message("a"), message("c")])
    delete = talk.sent[-1]
    talk.user_turn("u1", "c")
    talk.forget()
    talk.refuses(delete, "server_error")
    assert list(talk.texts) == ["a", "b", "c", "u1"]
    assert talk.told == ["Report", "Settled"]
    talk.forget()
    talk.syncs("k2", [message("a"), message("c"), message("u1", "")])
    assert placed(talk) == [("delete b", None)]  # asked for again, since it is still there


def test_an_edit_whose_deletion_is_refused_shows_the_old_text(talk: Any, message: Any) -> None:
    talk.syncs("k0", [message("a"), message("b", "old")])
    talk.acknowledges()
    talk.forget()
    talk.syncs("k1", [message("a"), message("b", "new"), message("c")])
    delete, create, behind = talk.sent
    talk.refuses(delete, "server_error")
    assert talk.texts["b"] == "new"  # until the server has answered that, too
    talk.refuses(create, "item_create_duplicate_item_id")
    talk.added(behind["item"], "b")
    assert talk.texts == {"a": "text", "b": "old", "c": "text"}
    assert len(talk.all(fx.Report)) == 1
    assert talk.all(fx.Settled) == [fx.Settled("k1")]


def test_a_move_whose_deletion_is_refused_shows_the_old_order(talk: Any, message: Any) -> None:
    talk.syncs("k0", [message("a"), message("b"), message("c")])
    talk.acknowledges()
    talk.forget()
    talk.syncs("k1", [message("b"), message("c"), message("a")])
    delete, create = talk.sent
    talk.refuses(delete, "server_error")
    talk.refuses(create, "item_create_duplicate_item_id")
    assert list(talk.texts) == ["a", "b", "c"]


def test_a_transcript_that_comes_while_a_deletion_is_on_its_way_is_there_when_it_is_refused(talk: Any) -> None:
    talk.user_turn("u1")
    talk.forget()
    talk.syncs("k1", [])
    talk.transcript("u1", "hello")
    assert talk.texts == {}
    talk.refuses(talk.sent[0], "server_error")
    assert talk.texts == {"u1": "hello"}


def test_what_is_said_while_a_deletion_is_on_its_way_is_there_when_it_is_refused(talk: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.syncs("k1", [])
    delete = talk.sent[-1]
    talk.speaks("r1", "a1", "one two")
    talk.ends("r1")
    talk.refuses(delete, "server_error")
    assert talk.texts == {"a1": "one two"}


def test_an_item_on_its_way_out_that_is_told_of_twice_stays_out(talk: Any, message: Any) -> None:
    """A gateway can send conversation.item.created as well as .added."""
    talk.user_turn("u1")
    talk.forget()
    talk.syncs("k1", [])
    talk.user_turn("u1")
    assert (talk.texts, talk.all(fx.ItemPlaced)) == ({}, [])


def test_a_refused_item_is_reported_and_left_out_and_the_request_goes_on(talk: Any, message: Any) -> None:
    talk.syncs("k1", [message("bad"), message("a")])
    bad, _ = talk.sent
    talk.refuses(bad, "string_above_max_length")
    assert talk.texts == {"a": "text"}
    assert [report.failure.code for report in talk.all(fx.Report)] == ["string_above_max_length"]
    assert talk.all(fx.Settled) == []


def test_items_behind_a_refused_one_find_their_place(talk: Any, message: Any) -> None:
    """All were sent with a refused item in front of them, so the server refuses each."""
    talk.syncs("k1", [message("a"), message("bad"), message("b"), message("c")])
    a, bad, b, c = talk.sent
    talk.forget()
    talk.added(a["item"])
    talk.refuses(bad, "string_above_max_length")
    talk.refuses(b, "invalid_value", "previous item not found")
    talk.refuses(c, "invalid_value", "previous item not found")
    assert placed(talk) == [("create b", "a"), ("create c", "b")]
    assert len(talk.all(fx.Report)) == 1
    talk.acknowledges()
    assert list(talk.texts) == ["a", "b", "c"]
    assert talk.all(fx.Settled) == [fx.Settled("k1")]


def test_an_item_the_server_makes_is_told_with_its_place(talk: Any) -> None:
    talk.user_turn("u1")
    talk.user_turn("u2", "u1")
    assert [(e.previous_item_id, e.record.id) for e in talk.all(fx.ItemPlaced)] == [(None, "u1"), ("u1", "u2")]


def test_items_only_the_server_understands_are_left_to_it(talk: Any, message: Any) -> None:
    talk.added({"id": "m1", "type": "mcp_list_tools"})
    talk.forget()
    talk.syncs("k1", [])
    assert talk.effects == [fx.Settled("k1")]


def test_an_item_the_server_deletes_is_gone(talk: Any) -> None:
    talk.user_turn("u1")
    talk.says("conversation.item.deleted", item_id="u1")
    talk.says("conversation.item.deleted", item_id="u1")
    assert talk.texts == {}


def test_a_server_that_refuses_every_item_is_asked_for_each_three_times_at_most(talk: Any, message: Any) -> None:
    """And not for all behind it again with every one that is refused."""
    talk.reply("r1", "a1", "said")
    talk.forget()
    wanted = [message(f"m{number}") for number in range(30)]
    talk.syncs("k1", [talk.conversation.mirror.get("a1"), *wanted])
    asked = answered = 0
    while answered < len(talk.sent):
        event = talk.sent[answered]
        answered += 1
        talk.refuses(event, "invalid_value")
        asked = len(talk.sent)
    assert asked <= 3 * len(wanted)
    assert len(talk.all(fx.Report)) == len(wanted)
    assert (list(talk.texts), talk.all(fx.Settled)) == (["a1"], [fx.Settled("k1")])


def test_items_behind_several_refused_ones_come_in_their_order(talk: Any, message: Any) -> None:
    """The server refuses an item, and what is anchored to one that it does not have."""
    talk.syncs("k1", [message(item_id) for item_id in ("a", "bad1", "b", "bad2", "c", "bad3", "d")])
    there: list[str] = []
    answered = 0
    while answered < len(talk.sent):
        event = talk.sent[answered]
        answered += 1
        item, previous = event["item"], event.get("previous_item_id", there[-1] if there else "root")
        if item["id"].startswith("bad") or previous not in ("root", *there):
            talk.refuses(event, "invalid_value")
            continue
        there.insert(0 if previous == "root" else there.index(previous) + 1, item["id"])
        talk.added(item, None if previous == "root" else previous)
    assert there == list(talk.texts) == ["a", "b", "c", "d"]
    assert len(talk.all(fx.Report)) == 3


def test_what_a_reconnect_brings_back_and_the_server_refuses_is_not_sent_again(talk: Any, message: Any) -> None:
    talk.syncs("k0", [message("a"), message("b"), message("c")])
    talk.acknowledges()
    talk.loses_connection()
    talk.forget()
    talk.opens()
    _, *creations = talk.sent
    for event in creations:
        talk.refuses(event, "invalid_value")
    assert len(talk.sent_of("conversation.item.create")) == 3
    assert len(talk.all(fx.Report)) == 3
    assert talk.texts == {}


# -- reconnect -------------------------------------------------------------------------------------------------------


def test_a_new_session_is_configured_and_then_told_the_history_in_order(talk: Any, message: Any) -> None:
    talk.syncs("k0", [message("s", "be nice", "system")])
    talk.acknowledges()
    talk.user_turn("u1", "s")
    talk.transcript("u1", "hello")
    talk.reply("r1", "a1", "hi there", "u1")
    talk.loses_connection()
    talk.forget()
    talk.opens()
    assert talk.sent[0]["type"] == "session.update"
    assert [event["item"]["content"] for event in talk.sent[1:]] == [
        [{"type": "input_text", "text": "be nice"}],
        [{"type": "input_text", "text": "hello"}],
        [{"type": "output_text", "text": "hi there"}],
    ]
    talk.acknowledges()
    assert list(talk.texts) == ["s", "u1", "a1"]
    assert talk.told == []  # LiveKit has them


def test_one_refused_item_does_not_take_the_rest_of_the_history_with_it(talk: Any, message: Any) -> None:
    talk.syncs("k0", [message("a"), message("b"), message("c")])
    talk.acknowledges()
    talk.loses_connection()
    talk.forget()
    talk.opens()
    assert [event["previous_item_id"] for event in talk.sent[1:] if "previous_item_id" in event] == []
    a, b, c = talk.sent[1:]
    talk.added(a["item"])
    talk.refuses(b, "invalid_value")
    talk.added(c["item"], "a")
    assert list(talk.texts) == ["a", "c"]


def test_turns_without_text_cannot_be_brought_back(talk: Any) -> None:
    talk.user_turn("u1")
    talk.loses_connection()
    talk.opens()
    assert (talk.texts, talk.sent_of("conversation.item.create")) == ({}, [])


def test_a_request_made_while_disconnected_is_settled_on_the_next_connection(new: Any, message: Any) -> None:
    new.syncs("k1", [message("a")])
    assert new.effects == []
    new.opens()
    assert [event["type"] for event in new.sent] == ["session.update", "conversation.item.create"]
    new.acknowledges()
    assert [type(effect) for effect in new.effects] == [fx.ItemPlaced, fx.Settled]


def test_a_request_on_its_way_is_settled_on_the_next_connection(talk: Any, message: Any) -> None:
    talk.syncs("k1", [message("a")])
    talk.loses_connection()
    talk.forget()
    talk.opens()
    assert talk.all(fx.Settled) == []
    talk.acknowledges()
    assert talk.all(fx.Settled) == [fx.Settled("k1")]


def test_a_deletion_on_its_way_is_done_by_the_new_session_being_empty(talk: Any, message: Any) -> None:
    talk.reply("r1", "a1", "said")
    talk.syncs("k1", [])
    talk.loses_connection()
    talk.opens()
    assert fx.Settled("k1") in talk.effects
    assert talk.sent_of("conversation.item.create") == []


# -- video -----------------------------------------------------------------------------------------------------------


def sees(talk: Any, number: int, previous: str | None = None) -> str:
    """A frame is shown, and the server tells of it; returns its id."""
    part = {"type": "input_image", "image_url": f"data:image/jpeg;base64,{number}"}
    payload = {"id": f"video_frame_{number}", "type": "message", "role": "user", "content": [part]}
    talk.note(talk.conversation.show(payload))
    talk.added(payload, previous)
    return str(payload["id"])


def pictures(talk: Any) -> dict[str, list[str]]:
    """The items in the mirror, and the pictures in them."""
    return {
        record.id: [part["image_url"] for part in record.item.content if "image_url" in part]
        for record in talk.conversation.mirror
    }


def test_only_the_newest_frame_keeps_its_picture(talk: Any) -> None:
    first = sees(talk, 1)
    talk.user_turn("u1", first)
    second = sees(talk, 2, "u1")
    assert pictures(talk) == {first: [], "u1": [], second: ["data:image/jpeg;base64,2"]}
    assert [effect.record.id for effect in talk.all(fx.ItemPlaced)] == [first, "u1", second]


def test_a_reconnect_brings_back_the_newest_frame_and_counts_the_others(talk: Any) -> None:
    previous = None
    for number in range(3):
        previous = sees(talk, number, previous)
    talk.loses_connection()
    talk.forget()
    talk.opens()
    assert [event["item"]["id"] for event in talk.sent_of("conversation.item.create")] == [previous]
    assert [effect.what for effect in talk.all(fx.Noticed)] == ["video frame not replayed"] * 2
    talk.acknowledges()
    assert list(talk.texts) == [previous]
    assert sees(talk, 3, previous) in talk.texts
    assert [len(urls) for urls in pictures(talk).values()] == [0, 1]


def test_a_context_with_frames_in_it_changes_nothing_of_them(talk: Any, message: Any) -> None:
    """LiveKit's copies of the older ones are empty, too."""
    first = sees(talk, 1)
    talk.user_turn("u1", first)
    second = sees(talk, 2, "u1")
    talk.forget()
    talk.syncs("k1", [message(first, ""), message("u1", ""), message(second, ""), message("a")])
    assert placed(talk) == [("create a", second)]


def test_a_frame_is_not_sent_again_to_move_it(talk: Any, message: Any) -> None:
    talk.syncs("k0", [message("a")])
    talk.acknowledges()
    frame = sees(talk, 1, "a")
    talk.forget()
    talk.syncs("k1", [talk.conversation.mirror.get(frame), message("a"), message("b")])
    assert placed(talk) == [("create b", "a")]


def test_a_frame_that_is_gone_is_not_made_from_an_empty_copy(talk: Any, message: Any) -> None:
    first, second = sees(talk, 1), sees(talk, 2, "video_frame_1")
    talk.loses_connection()
    talk.ready()
    talk.acknowledges()
    talk.forget()
    talk.syncs("k1", [message(first, ""), message(second, "")])
    assert talk.sent == []


def test_a_frame_left_out_of_the_context_is_deleted(talk: Any) -> None:
    frame = sees(talk, 1)
    talk.forget()
    talk.syncs("k1", [])
    assert placed(talk) == [(f"delete {frame}", None)]


# -- a server with a mind of its own ---------------------------------------------------------------------------------


def text_item(item_id: str) -> Item:
    return Item(item_id, "message", role="user", content=({"type": "input_text", "text": "x"},))


class Server:
    """Takes changes one at a time and makes items of its own in between; its answers are on their way for a while."""

    def __init__(self) -> None:
        self.history = History()
        self.items: list[str] = []
        self.to_server: deque[dict[str, Any]] = deque()
        self.to_client: deque[dict[str, Any]] = deque()
        self.made = 0

    def sync(self, target: list[str], key: str) -> None:
        known = {record.id for record in self.history.mirror}
        own = [item_id for item_id in self.order if item_id.startswith("own")]
        records = [Record(text_item(item_id), 0.0) for item_id in [*target, *own]]
        assert known >= set(own)
        self.send(self.history.sync(records, key, connected=True))

    def send(self, effects: list[fx.Effect]) -> None:
        self.to_server += [effect.event for effect in effects if isinstance(effect, fx.Send)]

    @property
    def order(self) -> list[str]:
        return [record.id for record in self.history.mirror]

    def _tell_added(self, item_id: str) -> None:
        at = self.items.index(item_id)
        previous = self.items[at - 1] if at else None
        item = {"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}
        self.to_client.append({"type": "conversation.item.added", "item": item, "previous_item_id": previous})

    def make(self) -> None:
        self.made += 1
        self.items.append(f"own{self.made}")
        self._tell_added(self.items[-1])

    def take(self) -> None:
        """The server handles the oldest change it was sent."""
        if not self.to_server:
            return
        event = self.to_server.popleft()
        if event["type"] == "conversation.item.delete":
            self.items.remove(event["item_id"])
            self.to_client.append({"type": "conversation.item.deleted", "item_id": event["item_id"]})
            return
        previous, item_id = event["previous_item_id"], event["item"]["id"]
        self.items.insert(0 if previous == "root" else self.items.index(previous) + 1, item_id)
        self._tell_added(item_id)

    def hear(self) -> None:
        """The client handles the oldest answer."""
        if not self.to_client:
            return
        event: Any = from_payload(self.to_client.popleft())
        if event.type == "conversation.item.deleted":
            self.send(self.history.deleted(event.item_id))
        else:
            self.send(self.history.added(event, 0.0))

    def settle(self) -> None:
        while self.to_server or self.to_client:
            self.take()
            self.hear()


target_ids = st.lists(st.sampled_from("abcde"), unique=True)
moves = st.lists(st.sampled_from(["make", "take", "hear"]), max_size=12)


@given(st.lists(st.tuples(target_ids, moves), max_size=4))
def test_the_order_shown_is_the_servers_however_syncs_and_its_own_items_meet(
    steps: list[tuple[list[str], list[str]]],
) -> None:
    server = Server()
    for number, (target, then) in enumerate(steps):
        server.sync(target, f"k{number}")
        for move in then:
            getattr(server, move)()
    shown = [item_id for item_id in server.order if not item_id.startswith("own")]
    assert shown == (steps[-1][0] if steps else [])
    server.settle()
    assert server.order == server.items
