"""The model's side of an emulated session: which responses are under way, what each was asked to be, and its bill."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from . import config
from .actions import Event
from .channel import Channel
from .conversation import Item, Refused, item_from, text_tokens
from .mcp import MCP
from .reply import Brief, Reply
from .script import Turn

_TOKEN_LIMIT = 15_000_000


class Responding:
    """One active response in the default conversation, any number out of band beside it.

    `on_ending` is called before, `on_idle` after each `response.done` of the default conversation, the latter with the
    seconds the client still needs to play what it got.
    """

    def __init__(self, channel: Channel, *, on_ending: Callable[[], None], on_idle: Callable[[float], None]) -> None:
        self._channel = channel
        self._on_ending = on_ending
        self._on_idle = on_idle
        self.mcp = MCP(channel)
        self.active: Reply | None = None
        self.voice_locked = False
        self._out_of_band: list[Reply] = []
        self._turn_is_waiting = False
        self._billed_input = (0, 0, 0)
        self._tokens_left = _TOKEN_LIMIT

    def create(self, event: Event) -> None:
        """`response.create`."""
        options = {key: value for key, value in (event.get("response") or {}).items() if value is not None}
        if options.get("conversation") != "none" and self.active:
            raise Refused(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self.active.id}. "
                "Wait until the response is finished before creating a new one.",
            )
        self._begin(options)

    def cancel(self, event: Event) -> None:
        """`response.cancel`; without an id, the one of the default conversation."""
        wanted = event.get("response_id")
        found = self.active
        if wanted:
            under_way = [*self._out_of_band, *([self.active] if self.active else [])]
            found = next((reply for reply in under_way if reply.id == wanted), None)
        if found is None:
            raise Refused("response_cancel_not_active", "Cancellation failed: no active response found")
        found.stop("cancelled", {"type": "cancelled", "reason": "client_cancelled"})

    def interrupt(self) -> None:
        """The user speaks."""
        if self.active and self._channel.turn_detection.get("interrupt_response"):
            self.active.stop("cancelled", {"type": "cancelled", "reason": "turn_detected"})

    def answer_turn(self) -> None:
        """The detector ended a user turn: answer it, after the response under way if that was not interrupted."""
        if not self._channel.turn_detection.get("create_response"):
            return
        if self.active:
            self._turn_is_waiting = True
        else:
            self._begin({})

    def _begin(self, options: Event) -> None:
        brief = self._brief(options)
        reply = Reply(self._channel, self, brief, self._next_turn(brief), self._channel.new_id("resp"))
        if brief.in_conversation:
            self.active = reply
        else:
            self._out_of_band.append(reply)
        self._continue(reply, reply.steps())

    def _continue(self, reply: Reply, steps: Iterator[float]) -> None:
        if reply.ended:
            return
        wait = next(steps, None)
        if wait is not None and not reply.ended:
            self._channel.after(wait, lambda: self._continue(reply, steps))

    def _next_turn(self, brief: Brief) -> Turn:
        channel = self._channel
        if failure := channel.faults.response_failure():
            return Turn(failure=failure)
        if not brief.in_conversation:
            return channel.script.take_out_of_band()
        heard, channel.user_was_heard = channel.user_was_heard, False
        return channel.script.take(heard=heard)

    def _brief(self, options: Event) -> Brief:
        session = self._channel.config
        own = {**session, **options}
        given = (options.get("audio") or {}).get("output") or {}
        output = {**session["audio"]["output"], **given}
        if self.voice_locked and output["voice"] != session["audio"]["output"]["voice"]:
            raise Refused("cannot_update_voice", config.VOICE_IS_LOCKED)
        config.check_reasoning(session, options, "response")
        self.mcp.check(own["tools"], "response")
        return Brief(
            modality=own["output_modalities"][0],
            voice=output["voice"],
            format=output["format"],
            speed=output["speed"],
            tools=frozenset(tool["name"] for tool in own["tools"] if tool["type"] == "function"),
            servers=self.mcp.use(own["tools"]),
            tool_choice=own["tool_choice"],
            max_output_tokens=own["max_output_tokens"],
            instructions=own["instructions"],
            metadata=options.get("metadata"),
            in_conversation=options.get("conversation") != "none",
            input=tuple(self._input(options["input"])) if "input" in options else None,
        )

    def _input(self, given: list[Event]) -> Iterator[Item]:
        encoding = self._channel.config["audio"]["input"]["format"]["type"]
        for number, item in enumerate(given):
            path = f"response.input[{number}]"
            if item["type"] != "item_reference":
                yield item_from(item, self._channel.new_id, encoding, path)
            elif (found := self._channel.conversation.find(item["id"])) is not None:
                yield found
            else:
                raise Refused("invalid_value", f"Item with id '{item['id']}' does not exist.", f"{path}.id")

    # What a reply tells.

    def began(self) -> None:
        """A response was created."""
        if self._channel.knobs.rate_limits == "before":
            self._rate_limits()

    def spoke(self) -> None:
        """Audio went out: the voice is locked from the first of it."""
        self.voice_locked = True

    def ending(self, reply: Reply) -> Event:
        """A response is about to be done; returns its usage."""
        if reply is self.active:
            self._on_ending()
        return self._usage(reply)

    def ended(self, reply: Reply) -> None:
        """A response is done: the next one may start."""
        knobs = self._channel.knobs
        if knobs.rate_limits == "after":
            self._channel.after(knobs.rate_limit_latency, self._rate_limits)
        if reply is not self.active:
            self._out_of_band.remove(reply)
            return
        self.active = None
        self._on_idle(reply.produced.audio_ms / 1000 * (1 - 1 / knobs.pace))
        if self._turn_is_waiting:
            self._turn_is_waiting = False
            self._channel.after(0.0, self.answer_turn)

    def _rate_limits(self) -> None:
        limit = {"name": "tokens", "limit": _TOKEN_LIMIT, "remaining": self._tokens_left, "reset_seconds": 0.001}
        self._channel.emit("rate_limits.updated", rate_limits=[limit])

    def _usage(self, reply: Reply) -> Event:
        text, audio, image = text_tokens(reply.brief.instructions), 0, 0
        for item in self._channel.conversation if reply.brief.input is None else reply.brief.input:
            if item not in reply.output:
                more = item.tokens()
                text, audio, image = text + more[0], audio + more[1], image + more[2]
        cached = tuple(min(pair) for pair in zip((text, audio, image), self._billed_input, strict=True))
        self._billed_input = (text, audio, image)
        heard, spoken = text + audio + image, reply.produced.text + reply.produced.audio
        self._tokens_left = max(0, self._tokens_left - heard - spoken)
        kinds = ("text_tokens", "audio_tokens", "image_tokens")
        return {
            "total_tokens": heard + spoken,
            "input_tokens": heard,
            "output_tokens": spoken,
            "input_token_details": {
                **dict(zip(kinds, (text, audio, image), strict=True)),
                "cached_tokens": sum(cached),
                "cached_tokens_details": dict(zip(kinds, cached, strict=True)),
            },
            "output_token_details": {"text_tokens": reply.produced.text, "audio_tokens": reply.produced.audio},
        }
