"""The command `listen`: a recording or the microphone in, its transcript out, without a room.

Exit codes: 0; 1 when the transcription failed; 2 for arguments, files or devices that cannot be used; 130 after Ctrl-C
(with a microphone Ctrl-C is the way to end: the last words are waited for, and the code is 0).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from livekit.agents import APIError, stt

from .. import models
from ..connection import Connection
from ..core.usage import ReplyUsage
from ..recording import Recorder
from ..stt import STT
from .display import clean
from .sound_in import AudioFile, Microphone, SoundIn, check_readable
from .transcripts import FORMATS, TerminalWriter, TextWriter, Transcript, Writer

NAME = "listen"

DEFAULT_MODEL = "gpt-live-transcribe"
"""Tells its words while they are spoken."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `listen` takes."""
    parser.epilog = (
        "The key is read from OPENAI_API_KEY. On a terminal the words being spoken are redrawn until they are final; "
        "elsewhere only final lines are written."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("file", nargs="?", metavar="FILE", help="the recording: WAV, MP3, M4A, FLAC, Ogg, WebM, ...")
    source.add_argument("--mic", action="store_true", help="listen to the microphone until Ctrl-C")
    parser.add_argument("--model", metavar="M", default=DEFAULT_MODEL, help=f"default: {DEFAULT_MODEL}")
    parser.add_argument("--language", metavar="L", action="append", help="spoken language, such as en; may be repeated")
    parser.add_argument("--prompt", metavar="T", help="what the recording is about")
    parser.add_argument("--keyword", metavar="K", action="append", help="a word to expect; may be repeated")
    parser.add_argument("--base-url", metavar="U", help="another server than OPENAI_BASE_URL or OpenAI's")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", dest="form", action="store_const", const="json", help="JSON Lines, partials included")
    forms.add_argument("--srt", dest="form", action="store_const", const="srt", help="SubRip subtitles")
    forms.add_argument("--vtt", dest="form", action="store_const", const="vtt", help="WebVTT subtitles")
    parser.add_argument("--record", metavar="DIR", help="write every event that comes and leaves to a file in there")
    parser.add_argument("--audio", action="store_true", help="with --record: the audio, too, not only its length")
    parser.add_argument("--redact", action="store_true", help="with --record: no text that anybody said or wrote")
    parser.add_argument("--out", metavar="FILE", help="write there; a terminal still shows the words as they come")


def run(options: argparse.Namespace) -> int:
    """Carry the command out. Returns the exit code; what went wrong is one sentence on stderr."""
    try:
        with _refusing():
            if options.file is not None:
                check_readable(options.file)
            Connection.create(base_url=options.base_url)
            _check_out(options.out, options.file)
        return asyncio.run(_listen(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain once more when it flushes stdout at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except _Stop as stop:
        print(stop, file=sys.stderr)
        return stop.code


class _Stop(Exception):
    """One sentence, and the exit code that goes with it."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """What is refused inside is a mistake in the arguments."""
    try:
        yield
    except ValueError as error:
        raise _Stop(str(error), 2) from error


@contextlib.contextmanager
def _writing(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _Stop(f"{name} cannot be written: {error.strerror or error}.", 1) from error


class Session:
    """Tells the writers what happens, and keeps count of what it costs."""

    def __init__(self, writers: list[Writer], model: str) -> None:
        self._writers = writers
        self._model = model
        self._billed: list[float | None] = []
        self.audio_seconds = 0.0

    def take(self, event: stt.SpeechEvent) -> None:
        """An event of the stream."""
        kind = stt.SpeechEventType
        for writer in self._writers:
            if event.type is kind.INTERIM_TRANSCRIPT:
                writer.interim(Transcript.of(event))
            elif event.type is kind.FINAL_TRANSCRIPT:
                writer.final(Transcript.of(event))
            elif event.recognition_usage is not None:
                writer.usage(event.request_id, event.recognition_usage)
        if event.recognition_usage is not None:
            self._billed.append(self._price(event.recognition_usage))

    def failed(self, error: stt.STTError) -> None:
        """The STT's event `error`. Its log record says it on stderr; what ends the stream is told at the end."""
        if error.recoverable:
            for writer in self._writers:
                writer.failed(str(error.error))

    def remark(self, text: str) -> None:
        """One line on stderr, beside whatever the writers have on the screen."""
        with contextlib.ExitStack() as stack:
            for writer in self._writers:
                stack.enter_context(writer.aside())
            print(clean(text), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Finish what is written, and say what there was, if there was anything."""
        for writer in self._writers:
            writer.close()
        if self._billed:
            self.remark(f"{_length(self.audio_seconds)} of audio, {self._cost()}.")

    def _price(self, usage: stt.RecognitionUsage) -> float | None:
        model = models.find(self._model)
        if model is None or model.usage != "duration":
            return None
        return models.cost(ReplyUsage(seconds=usage.audio_duration), self._model).total

    def _cost(self) -> str:
        known = [price for price in self._billed if price is not None]
        if len(known) < len(self._billed):
            return f"cost unknown: there is no price for {self._model} in OpenAI's list of {models.PRICES_DATE}"
        return f"about ${sum(known):.4f} by OpenAI's prices of {models.PRICES_DATE}"


async def _listen(options: argparse.Namespace) -> int:
    source: SoundIn = Microphone() if options.mic else AudioFile(options.file)
    async with contextlib.AsyncExitStack() as stack:
        with _refusing():
            recognizer = _recognizer(options)
            stack.push_async_callback(recognizer.aclose)
            await stack.enter_async_context(source)
        session = Session(stack.enter_context(_writers(options)), options.model)
        stack.enter_context(_logs_beside(session))
        recognizer.on("error", session.failed)
        if options.mic:
            session.remark(f"Listening to {source.name}. Ctrl-C ends.")
        try:
            return await _until_interrupted(recognizer, source, session, finish=options.mic)
        finally:
            session.close()


def _recognizer(options: argparse.Namespace) -> STT:
    given = {"model": options.model, "base_url": options.base_url, "prompt": options.prompt}
    given |= {"keywords": options.keyword, "language": options.language, "detect_language": not options.language}
    given["recorder"] = _recorder(options)
    return STT(**{name: value for name, value in given.items() if value})


def _recorder(options: argparse.Namespace) -> Recorder | None:
    if options.record is not None:
        return Recorder(options.record, audio=options.audio, redact=options.redact)
    for name in ("audio", "redact"):
        if getattr(options, name):
            raise ValueError(f"--{name} says what --record writes: name a folder with --record, too.")
    return None


async def _until_interrupted(recognizer: STT, source: SoundIn, session: Session, *, finish: bool) -> int:
    """Transcribe to the end. Ctrl-C ends it at once, or (`finish`) after what was recorded so far."""
    loop = asyncio.get_running_loop()
    work = asyncio.ensure_future(_transcribe(recognizer, source, session))

    def interrupted() -> None:
        loop.remove_signal_handler(signal.SIGINT)  # the second Ctrl-C ends the program
        if finish:
            source.stop()
        else:
            work.cancel()

    # Neither on Windows nor outside the main thread.
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        await work
    except asyncio.CancelledError:
        return 130
    except APIError as error:
        # After the last attempt LiveKit tells their number; the cause says what is wrong, and what to do.
        session.remark(str(error.__cause__ if isinstance(error.__cause__, APIError) else error))
        return 1
    finally:
        if source.defect:
            session.remark(source.defect)
    return 0


async def _transcribe(recognizer: STT, source: SoundIn, session: Session) -> None:
    async with recognizer.stream() as stream:
        feeding = asyncio.create_task(_feed(stream, source, session))
        try:
            async for event in stream:
                session.take(event)
            await feeding
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)


async def _feed(stream: stt.RecognizeStream, source: SoundIn, session: Session) -> None:
    try:
        async for frame in source.frames():
            stream.push_frame(frame)
            session.audio_seconds += frame.duration
            await asyncio.sleep(0)  # a file is decoded faster than it is sent
    finally:
        with contextlib.suppress(RuntimeError):  # the stream has failed, and says so itself
            stream.end_input()


def _check_out(out: str | None, source: str | None) -> None:
    if out is None:
        return
    path = Path(out)
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ValueError(f"--out {out} cannot be written: name a file in a folder that you can write to.")
    if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
        raise ValueError(f"--out {out} is the recording itself: name another file.")


@contextlib.contextmanager
def _writers(options: argparse.Namespace) -> Iterator[list[Writer]]:
    """What writes: the asked form to --out or stdout, and the live text to a terminal that is not taken by the form."""
    on_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    language = options.language[0] if options.language and len(options.language) == 1 else ""
    with contextlib.ExitStack() as stack:
        writers: list[Writer] = []
        if options.out is not None:
            file = stack.enter_context(_opened(options.out))
            writers.append(_writer(options.form, _to(file, options.out), language))
        elif options.form or not on_terminal:
            _speak_utf8(sys.stdout, everything=options.form is not None)
            writers.append(_writer(options.form, _to(sys.stdout, "The output"), language))
        if on_terminal and (options.out is not None or not options.form):
            _speak_utf8(sys.stdout, everything=False)
            columns = lambda: shutil.get_terminal_size().columns  # noqa: E731
            writers.append(TerminalWriter(_to(sys.stdout, "The output"), columns, language=language))
        yield writers


@contextlib.contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    with _writing(path):
        file = open(path, "w", encoding="utf-8")  # noqa: SIM115
    try:
        yield file
    finally:
        # Everything was flushed as it was written; what could not be, cannot be now, and was told.
        with contextlib.suppress(OSError):
            file.close()


def _writer(form: str | None, write: Callable[[str], None], language: str) -> Writer:
    return FORMATS[form](write) if form else TextWriter(write, language=language)


def _to(stream: TextIO, name: str) -> Callable[[str], None]:
    def write(text: str) -> None:
        if text:
            with _writing(name):
                stream.write(text)
                stream.flush()

    return write


def _speak_utf8(stream: TextIO, *, everything: bool) -> None:
    """Let no character stop the work that the console's encoding lacks; JSON and subtitles are UTF-8 anywhere."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8" if everything else None, errors="replace")


class _Remarks(logging.Handler):
    """Shows warnings and failures as remarks: on a terminal they would else be written into the live line."""

    def __init__(self, session: Session) -> None:
        super().__init__(logging.WARNING)
        self._session = session

    def emit(self, record: logging.LogRecord) -> None:
        """Show the message, without a traceback."""
        self._session.remark(record.getMessage())


@contextlib.contextmanager
def _logs_beside(session: Session) -> Iterator[None]:
    handler = _Remarks(session)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def _length(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
