"""What the user asked for: one frozen `Options`, made from arguments and the environment, checked before any socket.

What a session can be told stands in `session_fields`, where the server is in `connection`; here is the rest, and the
session payload that comes out of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from livekit.agents import llm
from livekit.agents.types import NOT_GIVEN, NotGiven

from . import models, session_fields
from .audio import CHUNK_MS, MAX_CHUNK_MS
from .connection import Connection
from .formats import AudioFormat
from .framework import make
from .images import DEFAULT_IMAGES, Images
from .log import logger
from .prices import Price, checked
from .recording.recorder import Recorder, chosen
from .recording.recorder import RecorderOption as RecorderOption
from .session_fields import DEFAULT_VOICE as DEFAULT_VOICE
from .session_fields import FIELDS, number
from .session_fields import tool_choice as tool_choice
from .spending import HEARD, checked_limit, for_transcripts
from .transport.link import Link
from .wire import session
from .wire.endpoint import Endpoint, Service, checked_call_id

_DIALLING = frozenset({"extra_headers", "extra_query"})  # these matter when the next connection is opened
_BY_MODEL = ("reasoning", "parallel_tool_calls")  # one model takes them, another does not
_ALIASES = {"max_response_output_tokens": "max_output_tokens"}  # the official plugin's name

ResumeReplies = Literal["unheard", "never"]
"""Which replies are asked for again when their connection was lost."""

DEFAULT_REPLAY_AUDIO = 30.0
"""Seconds of user audio that are kept for the next connection."""

SETTABLE = (frozenset(FIELDS) | _DIALLING) - {"modalities", "input_audio_format", "output_audio_format"}
"""What `update_options` takes. The reply's modality is fixed at construction: LiveKit reads it as a capability. So are
the formats: audio of the old one may be on its way, or kept for the next connection."""


@dataclass(frozen=True, slots=True)
class Options:
    """Everything the user asked for. `values` holds the fields of `FIELDS` in wire form; NOT_GIVEN ones are absent.

    `fallback_models` are asked for, in order, when `model` is refused. With a `call_id`, the audio runs elsewhere, and
    `values` has only what the user passed: the rest stays as the call was made.
    """

    model: str
    connection: Connection
    reply_timeout: float
    request_timeout: float
    resume_replies: ResumeReplies = "unheard"
    max_replay_audio: float = DEFAULT_REPLAY_AUDIO
    input_chunk_ms: float = CHUNK_MS
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    fallback_models: tuple[str, ...] = ()
    call_id: str = ""
    images: Images = DEFAULT_IMAGES
    read_aloud: bool = False
    prices: Mapping[str, Price] = field(default_factory=dict, repr=False)
    max_cost: float | None = None
    recorder: Recorder | None = None

    @classmethod
    def create(
        cls,
        *,
        model: str,
        connection: Connection,
        reply_timeout: float,
        request_timeout: float,
        given: Mapping[str, Any],
        resume_replies: ResumeReplies = "unheard",
        max_replay_audio: float = DEFAULT_REPLAY_AUDIO,
        input_chunk_ms: float = CHUNK_MS,
        fallback_models: Sequence[str] = (),
        call_id: str | None = None,
        images: Images = DEFAULT_IMAGES,
        read_aloud: bool = False,
        prices: Mapping[str, Price] | None = None,
        max_cost: float | None = None,
        recorder: RecorderOption = False,
    ) -> Options:
        """Fill in defaults, and check everything that can be checked without a network.

        Raises ValueError: one sentence that names the parameter and says what to do.
        """
        if resume_replies not in get_args(ResumeReplies):
            raise ValueError(f"resume_replies={resume_replies!r} is not known: use 'unheard' or 'never'.")
        options = cls(
            model,
            connection,
            float(number("reply_timeout", reply_timeout, 0.1)),
            float(number("request_timeout", request_timeout, 0.1)),
            resume_replies,
            float(number("max_replay_audio", max_replay_audio, 0, 600)),
            number("input_chunk_ms", input_chunk_ms, 1, MAX_CHUNK_MS),
        )
        if call_id is not None:
            options = options._of_call(call_id, fallback_models, given)
        options.endpoint()
        options._check_model("model")
        if not isinstance(images, Images):
            raise ValueError(f"images={images!r} is not supported: pass Images(...), with what should be different.")
        if isinstance(fallback_models, str):
            raise ValueError(f"fallback_models={fallback_models!r} is one name: pass a list of models.")
        for fallback in fallback_models:
            replace(options, model=fallback)._check_model("fallback_models")
        options = replace(options, fallback_models=tuple(fallback_models), images=images)
        options = replace(options, read_aloud=session_fields.flag("read_aloud", read_aloud), recorder=chosen(recorder))
        if not options.call_id:
            defaults = {name: f.default for name, f in FIELDS.items() if not isinstance(f.default, NotGiven)}
            options = replace(options, values=defaults)
        options = replace(options.changed(given), prices=checked(prices))
        return replace(options, max_cost=checked_limit(max_cost, options.prices, options._billed()))

    def _billed(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The models that are billed, and which prices each needs."""
        speech = ("audio_out",) if self.audio_output else ()
        for model in (self.model, *self.fallback_models):
            yield model, (*HEARD, *speech)
        if transcriber := (self.values.get("input_audio_transcription") or {}).get("model"):
            yield transcriber, for_transcripts(transcriber, self.prices)

    def _of_call(self, call_id: str, fallback_models: Sequence[str], given: Mapping[str, Any]) -> Options:
        """These options for a call, which has its model, and ends when it is over."""
        checked_call_id(call_id)
        if fallback_models:
            raise ValueError("fallback_models has no meaning with call_id: the call has its model; remove it.")
        for name in ("input_audio_format", "output_audio_format"):
            if not isinstance(given.get(name, NOT_GIVEN), NotGiven):
                raise ValueError(f"{name} has no meaning with call_id: the ends of a call agree on theirs; remove it.")
        return replace(self, call_id=call_id, connection=replace(self.connection, max_session_duration=None))

    def endpoint(self) -> Endpoint:
        """Where the socket goes, with its headers. Raises ValueError when `extra_query` asks for something else."""
        return self.connection.endpoint(self._service, model=self.model, call_id=self.call_id)

    @property
    def _service(self) -> Service:
        return Service.SIDEBAND if self.call_id else Service.REALTIME

    def served_by(self, other: Options) -> bool:
        """Whether a socket that was opened for `other` options serves these, too."""
        return (self.connection, self.model, self.call_id) == (other.connection, other.model, other.call_id)

    async def open(self, timeout: float) -> Link:
        """Open a socket within `timeout` seconds. Raises `LinkFailed`."""
        return await self.connection.open(self._service, model=self.model, call_id=self.call_id, timeout=timeout)

    @property
    def is_native(self) -> bool:
        """Whether this is OpenAI's own server. Elsewhere names may be aliases, so the server decides."""
        return self.connection.is_native

    def takes_reasoning(self, name: str) -> bool:
        """Whether the model takes `reasoning` and `parallel_tool_calls`; warns when a known one does not."""
        model = models.find(self.model)
        if model is None or model.reasoning or not self.is_native:
            return True
        logger.warning("%s is left out: %s is not a reasoning model; use '%s'", name, model.id, models.DEFAULT_REALTIME)
        return False

    def _check_model(self, name: str) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise ValueError(f"{name} is missing: pass {name}='{models.DEFAULT_REALTIME}'.")
        model = models.find(self.model)
        if model is None or not self.is_native:
            return
        if model.stage is models.Stage.SHUT_DOWN:
            raise ValueError(f"{name}: {models.lifecycle_warning(self.model)}")
        if model.use is not models.Use.REALTIME:
            raise ValueError(
                f"{name}={self.model!r} cannot hold a conversation on the Realtime API: "
                f"use '{models.DEFAULT_REALTIME}'."
            )
        session_fields.say_lifecycle(name, self.model)

    def without_model(self) -> Options | None:
        """These options with the next of `fallback_models`, without what it does not take; None when there is none."""
        if not self.fallback_models:
            return None
        model, *rest = self.fallback_models
        made = replace(self, model=model, fallback_models=tuple(rest))
        return made.changed({name: self.values[name] for name in _BY_MODEL if name in self.values})

    def changed(self, given: Mapping[str, Any]) -> Options:
        """These options with the given fields changed; NOT_GIVEN ones stay. Raises ValueError as `create` does."""
        values = dict(self.values)
        for name, value in given.items():
            if isinstance(value, NotGiven):
                continue
            checked = FIELDS[name].check(value, self)
            if isinstance(checked, NotGiven):  # the check says: better not sent at all
                values.pop(name, None)
            else:
                values[name] = checked
        return replace(self, values=values)

    def session_payload(self, instructions: str | None, tools: list[dict[str, Any]]) -> session.Payload:
        """The `session` that GA is told, complete; for a call, what is to be changed of its own."""
        boxes: dict[str, dict[str, Any]] = {"input": {}, "output": {}, "session": {}}
        for name, f in FIELDS.items():
            if name in self.values:
                boxes[f.box][f.wire] = self.values[name]
        if instructions is not None:
            boxes["session"]["instructions"] = instructions
        return session.realtime_payload(
            input_options=boxes["input"],
            output_options=boxes["output"],
            options={**boxes["session"], "tools": tools},
            formats=not self.call_id,
        )

    def requested(self) -> session.Payload:
        """The session as it is asked for over HTTP, for a client secret or a call: there, no URL names the model.

        Raises ValueError with a `call_id`: the session is there.
        """
        if self.call_id:
            raise ValueError("session is a RealtimeModel with call_id, whose session exists: pass one without it.")
        return {"model": self.model, **session.fresh(self.session_payload(None, []))}

    def updated(self, given: Mapping[str, Any]) -> Options:
        """These options after an `update_options` call with `given`. NOT_GIVEN values stay as they are.

        Raises ValueError for a value GA would refuse, TypeError for a name that cannot be updated.
        """
        changes = {_ALIASES.get(name, name): v for name, v in given.items() if not isinstance(v, NotGiven)}
        if "temperature" in changes:
            warn_unused("temperature")
            del changes["temperature"]
        if unknown := sorted(set(changes) - SETTABLE):
            raise TypeError(f"update_options() does not know {unknown[0]!r}: it takes {', '.join(sorted(SETTABLE))}.")
        dialling = {name: changes.pop(name) for name in _DIALLING & changes.keys()}
        options = replace(self, connection=self.connection.changed(**dialling)).changed(changes)
        options.endpoint()
        if "input_audio_transcription" in changes:
            checked_limit(self.max_cost, self.prices, options._billed())
        return options

    def restored(self, payload: Mapping[str, Any]) -> Options:
        """These options with every field as it stands in `payload`, the configuration the server has."""
        audio = payload.get("audio") or {}
        boxes = {"session": payload, "input": audio.get("input") or {}, "output": audio.get("output") or {}}
        values = {name: boxes[f.box][f.wire] for name, f in FIELDS.items() if f.wire in boxes[f.box]}
        return replace(self, values=values)

    def without_values(self, refused: Options, restored: Options) -> Options:
        """These options where a value of `refused` that they share fell back to the one of `restored`."""
        values = dict(self.values)
        for name in refused.values.keys() | restored.values.keys():
            before = refused.values.get(name)
            if before == restored.values.get(name) or values.get(name) != before:
                continue
            values.pop(name, None)
            if name in restored.values:
                values[name] = restored.values[name]
        return replace(self, values=values)

    @property
    def audio_output(self) -> bool:
        """Whether replies are spoken."""
        return bool(self.values.get("modalities", ["audio"]) == ["audio"])

    @property
    def input_format(self) -> AudioFormat:
        """What the server hears. A call's audio does not come this way."""
        return session_fields.audio_format("input_audio_format", self.values.get("input_audio_format", "pcm"))

    @property
    def output_format(self) -> AudioFormat:
        """What the server speaks."""
        return session_fields.audio_format("output_audio_format", self.values.get("output_audio_format", "pcm"))

    @property
    def server_turns(self) -> bool:
        """Whether the server both detects turns and answers them; taken for granted of a call."""
        if self._is_left_to_call("turn_detection"):
            return True
        detection = self.values.get("turn_detection")
        return detection is not None and detection.get("create_response") is not False

    @property
    def transcribes(self) -> bool:
        """Whether the user's speech is transcribed; taken for granted of a call."""
        return (
            self._is_left_to_call("input_audio_transcription")
            or self.values.get("input_audio_transcription") is not None
        )

    def _is_left_to_call(self, name: str) -> bool:
        return bool(self.call_id) and name not in self.values


def warn_unused(name: str) -> None:
    """Say that a parameter is accepted for compatibility and does nothing."""
    logger.warning("%s is accepted and does nothing: %s", name, UNUSED[name])


UNUSED: Mapping[str, str] = {
    "temperature": "the GA Realtime API has no temperature; remove it",
    "http_session": "this plugin opens its sockets with the websockets library; remove it",
}
"""Parameters of the official plugin that no longer mean anything."""


def capabilities(options: Options, *, can_disable_turn_detection: bool) -> llm.RealtimeCapabilities:
    """What LiveKit may expect of a session with these options."""
    return make(
        llm.RealtimeCapabilities,
        message_truncation=True,
        turn_detection=options.server_turns,
        user_transcription=options.transcribes,
        auto_tool_reply_generation=False,
        audio_output=options.audio_output,
        manual_function_calls=True,
        can_disable_turn_detection=can_disable_turn_detection,
        mutable_chat_context=True,
        mutable_instructions=True,
        mutable_tools=True,
        per_response_tool_choice=True,
        supports_say=options.read_aloud and options.audio_output,
    )
