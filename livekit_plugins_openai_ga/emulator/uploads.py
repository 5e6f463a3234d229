"""`POST /v1/audio/transcriptions`: a recording in, its transcript out."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..models import Model
from . import config
from .actions import Event
from .front_door import HttpRequest, HttpResponse, parsed_headers
from .gate import refused
from .grammar import enumeration
from .reply import words
from .script import Turn
from .transcribing import Transcriber
from .vad import speech_ms
from .voice import SAMPLE_RATE

MAX_FILE_BYTES = 25 * 2**20
MIN_SECONDS = 0.1
_CONTAINERS = ("flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm")
_LISTS = ("languages", "keywords", "include", "timestamp_granularities")
_FIELDS = ("model", "language", "prompt", "response_format", "temperature", *_LISTS)
_PER_MODEL = ("language", "languages", "keywords", "prompt")
_WHISPER = "whisper-1"
_FORMATS = ("json", "text")
# OpenAI has these for some models; the emulator has not.
_FORMATS_NOT_WRITTEN = ("srt", "vtt", "diarized_json")
_FIELDS_NOT_TAKEN = ("stream", "chunking_strategy", "known_speaker_names", "known_speaker_references")
# What whisper calls the languages; a code that is not here goes out as it is.
_LANGUAGE_NAMES = {
    "ar": "arabic",
    "de": "german",
    "en": "english",
    "es": "spanish",
    "fr": "french",
    "hi": "hindi",
    "it": "italian",
    "ja": "japanese",
    "ko": "korean",
    "nl": "dutch",
    "pl": "polish",
    "pt": "portuguese",
    "ru": "russian",
    "tr": "turkish",
    "uk": "ukrainian",
    "zh": "chinese",
}


@dataclass(frozen=True, slots=True)
class Upload:
    """One transcription request as it arrived, answered or refused.

    `fields` are the form's values by name, without the "[]" of lists; `file` is the recording, `seconds` its length,
    None when it is no WAV. Header names are lower case.
    """

    path: str
    query: Mapping[str, str]
    fields: Mapping[str, tuple[str, ...]]
    file_name: str = ""
    seconds: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    file: bytes | None = field(default=None, repr=False)
    pcm: bytes = field(default=b"", repr=False)
    """The recording as 24 kHz int16 mono; empty when it is no WAV."""

    @property
    def has_speech(self) -> bool:
        """Whether somebody speaks in it; taken for granted when it is no WAV."""
        return bool(self.file) if self.seconds is None else speech_ms(self.pcm) > 0

    def value(self, name: str) -> str | None:
        """A form value; None when there is none or it is empty."""
        return (self.fields.get(name) or ("",))[-1] or None


def read(request: HttpRequest) -> Upload:
    """The form in a request. Raises nothing: what is missing is found by `Order`."""
    fields: dict[str, tuple[str, ...]] = {}
    file_name, file = "", None
    for name, given_name, data in parts(request):
        if name == "file":
            file_name, file = given_name, data
        else:
            name = name.removesuffix("[]")
            fields[name] = (*fields.get(name, ()), data.decode("utf-8", "replace"))
    seconds, pcm = _decoded(file or b"")
    return Upload(request.path, request.query, fields, file_name, seconds, request.headers, file, pcm)


class Order:
    """A request found good: which model transcribes, and how its answer looks. Raises `HttpRefused` when made."""

    def __init__(self, upload: Upload, *, deployments: Mapping[str, str] | None) -> None:
        self._upload = upload
        if upload.file is None and not upload.fields:
            raise refused(400, None, "Could not parse multipart form")
        self._model = _checked_model(upload, deployments=deployments)
        _check_fields(upload, self._model)
        _check_file(upload)
        self._format = upload.value("response_format") or "json"
        self._settings: Event = {"model": self._model.id}
        self._settings |= {name: upload.value(name) for name in ("language", "prompt")}
        self._settings |= {"languages": list(upload.fields.get("languages", ()))}

    def answer(self, turn: Turn) -> HttpResponse:
        """The transcript of this turn, in the format asked for."""
        if self._format == "text":
            return HttpResponse(200, f"{turn.heard}\n".encode(), "text/plain; charset=utf-8")
        include = self._upload.fields.get("include", ())
        transcriber = Transcriber(self._model, self._settings, logprobs="logprobs" in include)
        seconds = self._upload.seconds
        told = transcriber.completed(turn, (seconds or 0.0) * 1000)
        answer: Event = {"text": told.pop("transcript"), **told}
        if seconds is None:
            # Without a length there is nothing to bill.
            del answer["usage"]
        if self._format == "verbose_json":
            answer |= self._verbose(turn, seconds or 0.0)
        return HttpResponse(200, json.dumps(answer).encode())

    def _verbose(self, turn: Turn, seconds: float) -> Event:
        code = self._settings["language"] or next(iter(turn.languages or ()), "en")
        wanted = self._upload.fields.get("timestamp_granularities") or ("segment",)
        pieces = words(turn.heard) if turn.heard else []
        step = seconds / max(1, len(pieces))
        timed: Event = {"task": "transcribe", "language": _LANGUAGE_NAMES.get(code, code), "duration": seconds}
        if "segment" in wanted:
            timed["segments"] = [_segment(turn, seconds, len(pieces))] if pieces else []
        if "word" in wanted:
            timed["words"] = [
                {"word": piece.strip(), "start": round(n * step, 2), "end": round((n + 1) * step, 2)}
                for n, piece in enumerate(pieces)
            ]
        return timed


def _segment(turn: Turn, seconds: float, tokens: int) -> Event:
    return {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": round(seconds, 2),
        "text": f" {turn.heard}",
        "tokens": list(range(50364, 50364 + tokens)),
        "temperature": 0.0,
        "avg_logprob": sum(turn.logprobs) / len(turn.logprobs) if turn.logprobs else 0.0,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.01,
    }


def parts(request: HttpRequest) -> Iterator[tuple[str, str, bytes]]:
    """Name, file name and content of each part of a multipart form."""
    boundary = parsed_headers(f"Content-Type: {request.headers.get('content-type', '')}".encode()).get_boundary()
    if not boundary:
        return
    for part in (b"\r\n" + request.body).split(f"\r\n--{boundary}".encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        headers = parsed_headers(head.strip())
        name = headers.get_param("name", "", header="content-disposition")
        yield str(name), headers.get_filename("") or "", content


def _checked_model(upload: Upload, *, deployments: Mapping[str, str] | None) -> Model:
    name = upload.value("model")
    if not name:
        raise refused(400, None, "you must provide a model parameter")
    model = config.transcription_model(name, deployments=deployments)
    if model is None or model.deltas_before_commit:
        raise refused(400, "invalid_value", f"The model '{name}' is not supported for audio transcriptions.", "model")
    return model


def _check_fields(upload: Upload, model: Model) -> None:
    for name in upload.fields:
        if name in _FIELDS_NOT_TAKEN:
            raise refused(400, "unsupported_parameter", f"The emulator does not take '{name}'.", name)
        if name not in _FIELDS:
            raise refused(400, "unknown_parameter", f"Unknown parameter: '{name}'.", name)
    for name in _PER_MODEL:
        if upload.value(name) and name not in model.takes:
            raise refused(400, "invalid_value", f"'{name}' is not supported for the model '{model.id}'.", name)
    wanted = upload.value("response_format") or "json"
    _check_format(wanted, model)
    _check_choices(upload, "include", ("logprobs",), suits=wanted == "json" and "logprobs" in model.takes)
    _check_choices(upload, "timestamp_granularities", ("word", "segment"), suits=wanted == "verbose_json")
    _check_temperature(upload.value("temperature"))


def _check_format(wanted: str, model: Model) -> None:
    if wanted in _FORMATS_NOT_WRITTEN:
        raise refused(400, "unsupported_value", f"The emulator does not write '{wanted}'.", "response_format")
    formats = (*_FORMATS, "verbose_json") if model.id == _WHISPER else _FORMATS
    if wanted not in formats:
        use = " or ".join(f"'{name}'" for name in formats)
        message = f"response_format '{wanted}' is not compatible with model '{model.id}'. Use {use} instead."
        raise refused(400, "unsupported_value", message, "response_format")


def _check_choices(upload: Upload, name: str, choices: tuple[str, ...], *, suits: bool) -> None:
    for value in upload.fields.get(name, ()):
        if value not in choices:
            message = f"Invalid value: '{value}'. Supported values are: {enumeration(choices)}."
            raise refused(400, "invalid_value", message, name)
        if not suits:
            message = f"'{name}' is not supported for this model and response_format."
            raise refused(400, "invalid_value", message, name)


def _check_temperature(given: str | None) -> None:
    if given is None:
        return
    try:
        good = 0 <= float(given) <= 1
    except ValueError:
        good = False
    if not good:
        raise refused(400, "invalid_value", "Invalid 'temperature': expected a number between 0 and 1.", "temperature")


def _check_file(upload: Upload) -> None:
    if upload.file is None:
        raise refused(400, "missing_required_parameter", "Missing required parameter: 'file'.", "file")
    if len(upload.file) > MAX_FILE_BYTES:
        message = f"Maximum content size limit ({MAX_FILE_BYTES}) exceeded ({len(upload.file)} bytes read)"
        raise refused(413, None, message)
    if upload.file_name.rpartition(".")[2].lower() not in _CONTAINERS:
        raise refused(400, None, f"Unrecognized file format. Supported formats: {list(_CONTAINERS)}")
    if not upload.file or (upload.file_name.lower().endswith(".wav") and not upload.file.startswith(b"RIFF")):
        raise refused(400, "invalid_value", "Audio file might be corrupted or unsupported", "file")
    if upload.seconds is not None and upload.seconds < MIN_SECONDS:
        message = f"Audio file is too short. Minimum audio length is {MIN_SECONDS} seconds."
        raise refused(400, "audio_too_short", message, "file")


def _decoded(data: bytes) -> tuple[float | None, bytes]:
    """Length in seconds and 24 kHz int16 mono PCM of a WAV; None for anything else."""
    try:
        with wave.open(io.BytesIO(data)) as wav:
            channels, width, rate = wav.getnchannels(), wav.getsampwidth(), wav.getframerate()
            raw = wav.readframes(wav.getnframes())
    except (wave.Error, EOFError):
        return None, b""
    frame = channels * width
    raw = raw[: len(raw) // frame * frame]
    if width == 1:
        samples = (np.frombuffer(raw, np.uint8).astype(np.float64) - 128) * 256
    else:
        # The two high bytes of every sample, whatever comes below them.
        bytes_ = np.frombuffer(raw, np.uint8).reshape(-1, width)[:, -2:]
        samples = np.ascontiguousarray(bytes_).view("<i2").reshape(-1).astype(np.float64)
    mono = samples.reshape(-1, channels).mean(axis=1)
    seconds = len(mono) / rate
    if not len(mono):
        return 0.0, b""
    places = np.arange(int(seconds * SAMPLE_RATE)) * (rate / SAMPLE_RATE)
    return seconds, np.interp(places, np.arange(len(mono)), mono).astype("<i2").tobytes()
