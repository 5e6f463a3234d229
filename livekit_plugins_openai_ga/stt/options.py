"""What the user asked of speech-to-text: one frozen `Options`, checked before any network, and what is sent for it.

`models` says what each model takes; a value the model does not take is refused here, by the parameter's name. An id
that is not in the table (an alias of a gateway, a newer model) is taken at its word: the server decides.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from livekit.agents.types import NotGiven

from .. import models
from .. import session_fields as fields
from ..audio import CHUNK_MS, MAX_CHUNK_MS
from ..connection import Connection
from ..formats import PCM, AudioFormat
from ..framework import LanguageCode
from ..log import logger
from ..prices import Price, checked
from ..recording.recorder import Recorder, chosen
from ..spending import checked_limit, for_transcripts
from ..transport.link import Link
from ..wire import session
from ..wire.endpoint import Endpoint, Service

DEFAULT_TURN_DETECTION: Mapping[str, Any] = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 600,
    "silence_duration_ms": 350,
}
DEFAULT_MAX_SEGMENT_LENGTH = 30.0
MIN_SEGMENT_LENGTH = 2.0

_VAD_FIELDS = {
    "server_vad": ("threshold", "prefix_padding_ms", "silence_duration_ms"),
    "semantic_vad": ("eagerness",),
}


@dataclass(frozen=True, slots=True)
class Options:
    """Everything the user asked for, in plain form. Change it with `changed`, which checks.

    Attributes:
        connection: Where the server is, and who we are there.
        model: The model id.
        deployment: What the server calls the model, where that is another name (Azure); "": the same.
        use_realtime: Streams over a socket; else only whole utterances, by upload.
        languages: ISO 639-1 codes, the main one first; empty: the model finds out.
        spoken: The languages named last, which stay known while detection is on.
        prompt: What the audio is about; None: nothing said.
        keywords: Words to expect, the user's own.
        session_keyterms: Words to expect, LiveKit's.
        turn_detection: The server's, in wire form; None: segments are ended here.
        noise_reduction: In wire form, or None.
        delay: How long a streaming model may wait for more audio; None: its default.
        logprobs: Ask for log probabilities, which give a confidence.
        temperature: For uploads; None: the server's default.
        max_segment_length: Seconds of speech after which a segment is committed; None: no limit.
        model_in_url: Whether the socket's URL names the model; None: everywhere but on api.openai.com.
        input_chunk_ms: Milliseconds of audio that a message carries at least.
        input_format: What the server hears over a socket.
        prices: USD by model id, before the table's.
        max_cost: USD that a stream may cost; None: no limit.
        recorder: What records; None: nothing does.
    """

    connection: Connection
    model: str
    deployment: str = ""
    use_realtime: bool = True
    languages: tuple[str, ...] = ()
    spoken: tuple[str, ...] = ()
    prompt: str | None = field(default=None, repr=False)
    keywords: tuple[str, ...] = field(default=(), repr=False)
    session_keyterms: tuple[str, ...] = field(default=(), repr=False)
    turn_detection: Mapping[str, Any] | None = field(default_factory=lambda: dict(DEFAULT_TURN_DETECTION))
    noise_reduction: Mapping[str, Any] | None = None
    delay: str | None = None
    logprobs: bool = False
    temperature: float | None = None
    max_segment_length: float | None = DEFAULT_MAX_SEGMENT_LENGTH
    model_in_url: bool | None = None
    input_chunk_ms: float = CHUNK_MS
    input_format: AudioFormat = PCM
    prices: Mapping[str, Price] = field(default_factory=dict, repr=False)
    max_cost: float | None = None
    recorder: Recorder | None = None

    def changed(self, given: Mapping[str, Any]) -> Options:
        """These options with the given ones changed; NOT_GIVEN ones stay.

        Names are those of the `STT` constructor, and `session_keyterms`. Raises ValueError: one sentence that names the
        parameter.
        """
        given = {name: value for name, value in given.items() if not isinstance(value, NotGiven)}
        changes: dict[str, Any] = {"deployment": ""} if "model" in given else {}
        for name, value in given.items():
            if name in _CHECKS:
                attribute, check = _CHECKS[name]
                changes[attribute] = check(name, value)
        options = replace(self, **changes)
        if "turn_detection" not in given and not options.takes("turn_detection"):
            options = replace(options, turn_detection=None)
        elif "turn_detection" not in given and not self.takes("turn_detection"):  # back on a model that has it
            options = replace(options, turn_detection=dict(DEFAULT_TURN_DETECTION))
        if not options.takes("keywords"):  # LiveKit's words are no wish of the user's
            options = replace(options, session_keyterms=())
        options = options._with_language(given)
        options._check(given)
        return options

    def limited(self, prices: Mapping[str, Price] | None, max_cost: float | None) -> Options:
        """These options with prices of the user's and a limit. Raises ValueError."""
        options = replace(self, prices=checked(prices), max_cost=max_cost)
        return replace(options, max_cost=options._check_limit())

    def _check_limit(self) -> float | None:
        return checked_limit(self.max_cost, self.prices, [(self.model, for_transcripts(self.model, self.prices))])

    def _with_language(self, given: Mapping[str, Any]) -> Options:
        languages, spoken = self.languages, self.spoken
        if "language" in given:
            languages = _codes("language", given["language"])
            spoken = languages or spoken
        if given.get("detect_language"):
            languages = ()
        elif given.get("detect_language") is False and not languages and "language" not in given:
            languages = spoken
        return replace(self, languages=languages, spoken=spoken)

    def _check(self, given: Mapping[str, Any]) -> None:
        """Refuse what the model does not take, and with a limit a model without a price. Raises ValueError."""
        if "model" in given:
            self._check_limit()
        model = models.find(self.model)
        if model is None:
            return
        native = self.connection.is_native
        if "model" in given and native and model.stage is models.Stage.SHUT_DOWN:
            raise ValueError(f"model: {models.lifecycle_warning(model.id)}")
        if model.use is not models.Use.TRANSCRIPTION:
            raise ValueError(
                f"model={model.id!r} is not for speech-to-text: use '{models.DEFAULT_TRANSCRIPTION}' or "
                "'gpt-live-transcribe'."
            )
        if not self.use_realtime and model.deltas_before_commit:
            raise ValueError(
                f"use_realtime=False does not go with {model.id}, which is served over sockets only: leave it out, or "
                f"use model='{models.DEFAULT_TRANSCRIPTION}'."
            )
        if len(self.languages) > 1 and "languages" not in model.takes:
            several = " and ".join(m.id for m in models.MODELS.values() if "languages" in m.takes)
            raise ValueError(f"language={list(self.languages)} is a list, but {model.id} takes one: use {several}.")
        asked = {
            "keywords": bool(self.keywords),
            "prompt": self.prompt is not None,
            "delay": self.delay is not None,
            "turn_detection": self.turn_detection is not None,
            "logprobs": self.logprobs,
        }
        for name, wanted in asked.items():
            if wanted and name not in model.takes:
                parameter = {"logprobs": "include_logprobs"}.get(name, name)
                raise ValueError(f"{parameter} is not taken by {model.id}: {_way_out(name)}.")
        if "model" in given and native:
            fields.say_lifecycle("model", model.id)

    def with_all(self, changes: Iterable[Mapping[str, Any]]) -> Options:
        """These options with one change after another; one that does not fit any more is left out."""
        options = self
        for given in changes:
            with contextlib.suppress(ValueError):
                options = options.changed(given)
        return options

    def takes(self, name: str) -> bool:
        """Whether the model takes `name`, as far as is known."""
        model = models.find(self.model)
        return model is None or name in model.takes

    @property
    def served_as(self) -> str:
        """What the server calls the model."""
        return self.deployment or self.model

    @property
    def server_turns(self) -> bool:
        """Whether the server ends the segments."""
        return self.turn_detection is not None

    @property
    def language(self) -> LanguageCode:
        """The language of texts whose language the model does not tell: the one that was named, else "" ."""
        return LanguageCode(self.languages[0] if len(self.languages) == 1 else "")

    def transcription(self) -> dict[str, Any]:
        """`audio.input.transcription` on the wire; also the fields of an upload, except for its file."""
        wire: dict[str, Any] = {"model": self.served_as}
        model = models.find(self.model)
        takes_list = "languages" in model.takes if model is not None else len(self.languages) > 1
        if self.languages and takes_list:
            wire["languages"] = list(self.languages)  # GA takes neither null nor [] here
        elif self.languages:
            wire["language"] = self.languages[0]
        if keywords := list(dict.fromkeys([*self.keywords, *self.session_keyterms])):
            wire["keywords"] = keywords
        if self.prompt is not None:
            wire["prompt"] = self.prompt
        if self.delay is not None:
            wire["delay"] = self.delay
        return wire

    def payload(self) -> session.Payload:
        """The `session` that GA is told, complete. Turn detection that is off is said to be off: else the server's
        default holds, which the streaming models refuse (livekit/agents#5779)."""
        return session.transcription_payload(
            {
                "format": dict(self.input_format.wire),
                "transcription": self.transcription(),
                "noise_reduction": self.noise_reduction,
                "turn_detection": self.turn_detection,
            },
            {"include": [session.LOGPROBS]} if self.logprobs else {},
        )

    def requested(self) -> session.Payload:
        """The session as it is asked for over HTTP, with a client secret."""
        return session.fresh(self.payload())

    def needs_new_session(self, old: Options) -> bool:
        """Whether a session with the `old` options cannot be brought to these by an update.

        What an update leaves out stays as it is, and gateways choose the server by the model in the URL.
        """
        taken_back = old.transcription().keys() - self.transcription().keys()
        return bool(taken_back) or self.endpoint().url != old.endpoint().url

    def endpoint(self) -> Endpoint:
        """Where its sockets go. Without credentials that are asked for each time."""
        return self.connection.endpoint(Service.TRANSCRIPTION, model=self.served_as, model_in_url=self.model_in_url)

    def served_by(self, other: Options) -> bool:
        """Whether a socket that was opened, and configured, for `other` options serves these, too."""
        return self.connection == other.connection and not self.needs_new_session(other)

    async def open(self, timeout: float) -> Link:
        """Open a socket within `timeout` seconds. Raises `LinkFailed`."""
        return await self.connection.open(
            Service.TRANSCRIPTION, model=self.served_as, model_in_url=self.model_in_url, timeout=timeout
        )


def _way_out(name: str) -> str:
    if name == "turn_detection":
        return "leave it out; the vad ends the segments"
    able = [m.id for m in models.MODELS.values() if name in m.takes and m.stage is models.Stage.CURRENT]
    return f"leave it out, or use {' or '.join(able)}" if able else "leave it out"


def _codes(name: str, value: Any) -> tuple[str, ...]:
    """ISO 639-1 codes without repetition. An empty text names no language."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, (list, tuple)) or not all(isinstance(code, str) for code in given):
        raise ValueError(f"{name}={value!r} is not supported: use a language code such as 'en', or a list of them.")
    return tuple(dict.fromkeys(LanguageCode(code).language for code in given if code))


def _keywords(name: str, value: Any) -> tuple[str, ...]:
    return tuple(word for word in fields.texts(name, value) if word)


def _model(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is missing: pass model='{models.DEFAULT_TRANSCRIPTION}'.")
    return value


def _one_of(*allowed: str) -> Callable[[str, Any], Any]:
    return lambda name, value: fields.one_of(name, value, allowed)


def _noise_reduction(name: str, value: Any) -> dict[str, Any] | None:
    return {"type": fields.one_of(name, value, ("near_field", "far_field"))} if value else None


def _turn_detection(name: str, value: Any) -> dict[str, Any]:
    wanted = fields.plain(value)
    if not isinstance(wanted, dict):
        raise ValueError(f"{name}={value!r} is not supported: pass a dict, or None to leave it to the vad.")
    for answer in ("create_response", "interrupt_response", "idle_timeout_ms"):
        if wanted.pop(answer, None) is not None:
            logger.warning("%s.%s is left out: nothing is answered in a transcription session", name, answer)
    return fields.turn_detection({"type": "server_vad", **wanted}, _VAD_FIELDS)


def _optional(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else check(name, value)


def _at_least(low: float, high: float | None = None) -> Callable[[str, Any], float]:
    return lambda name, value: float(fields.number(name, value, low, high))


_CHECKS: Mapping[str, tuple[str, Callable[[str, Any], Any]]] = {
    "model": ("model", _model),
    "deployment": ("deployment", fields.text),
    "use_realtime": ("use_realtime", fields.flag),
    "prompt": ("prompt", _optional(fields.text)),
    "keywords": ("keywords", _keywords),
    "session_keyterms": ("session_keyterms", _keywords),
    "turn_detection": ("turn_detection", _optional(_turn_detection)),
    "noise_reduction_type": ("noise_reduction", _noise_reduction),
    "delay": ("delay", _optional(_one_of("minimal", "low", "medium", "high", "xhigh"))),
    "include_logprobs": ("logprobs", fields.flag),
    "temperature": ("temperature", _optional(_at_least(0, 1))),
    "max_segment_length": ("max_segment_length", _optional(_at_least(MIN_SEGMENT_LENGTH))),
    "model_in_url": ("model_in_url", _optional(fields.flag)),
    "input_chunk_ms": ("input_chunk_ms", _at_least(1, MAX_CHUNK_MS)),
    "input_audio_format": ("input_format", fields.audio_format),
    "recorder": ("recorder", lambda _, value: chosen(value)),
}
"""Parameter -> the attribute it sets, and its check. `language` and `detect_language` are settled together."""
