"""The command `listen` as its user runs it, over the emulator: transcripts in every form, and what can go wrong."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from livekit_plugins_openai_ga import cli
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn, speak
from livekit_plugins_openai_ga.emulator.faults import (
    DelayTranscription,
    DropOn,
    FailTranscription,
    Fault,
    RejectHandshake,
)
from livekit_plugins_openai_ga.recording import read

KEY = "sk-secret-key"
TURNS = [Turn(heard="The first sentence is here."), Turn(heard="And here is another one.")]
FOREVER = float("inf")


@pytest.fixture(autouse=True)
def _own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sentences with a pause behind each."""
    path = tmp_path_factory.mktemp("audio") / "two.wav"
    pause = bytes(2 * 24_000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(pause[:24_000] + b"".join(speak(turn.heard, "alloy") + pause for turn in TURNS))
    return path


def emulator(turns: Sequence[Turn] = TURNS, *, faults: Sequence[Fault] = (), **knobs: Any) -> Emulator:
    return Emulator(Script(turns), knobs=Knobs(**knobs), faults=list(faults))


async def listen(server: Emulator, *arguments: str | Path) -> int:
    """Run the command in a thread, where it has an event loop of its own."""
    command = ["listen", "--base-url", server.base_url, *map(str, arguments)]
    return await asyncio.wait_for(asyncio.to_thread(cli.main, command), 40)


@asynccontextmanager
async def program(
    server: Emulator, *arguments: str | Path, **options: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The same in a process of its own, which can be interrupted."""
    options = {"stdout": asyncio.subprocess.PIPE, **options}
    environment = {**os.environ, **options.pop("env", {})}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livekit_plugins_openai_ga", "listen", "--base-url", server.base_url),
        *map(str, arguments),
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        **options,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def remarks(process: asyncio.subprocess.Process) -> str:
    """What the process says on stderr until it ends."""
    assert process.stderr is not None
    said = await asyncio.wait_for(process.stderr.read(), 30)
    await asyncio.wait_for(process.wait(), 10)
    return said.decode()


def session_of(server: Emulator) -> dict[str, Any]:
    settings = server.received("session.update")[0]["session"]["audio"]["input"]
    return {**settings["transcription"], "turn_detection": settings["turn_detection"]}


class TestForms:
    async def test_lines_of_text_and_what_they_cost(self, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
        async with emulator() as server:
            assert await listen(server, recording) == 0
        printed, said = capsys.readouterr()
        first, second = printed.splitlines()
        assert first.startswith("[00:00.")
        assert first.endswith("] The first sentence is here.")
        assert second.endswith("] And here is another one.")
        seconds = sum(event["usage"]["seconds"] for event in server.sent(COMPLETED))
        assert said.count("\n") == 1
        assert f" s of audio, about ${seconds / 60 * 0.017:.4f} by OpenAI's prices of " in said

    async def test_json_lines_with_partials(self, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
        async with emulator() as server:
            assert await listen(server, recording, "--json") == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        finals = [line for line in lines if line["type"] == "final" and line["text"]]
        assert [final["text"] for final in finals] == [turn.heard for turn in TURNS]
        assert 0 < finals[0]["start"] < finals[0]["end"] <= finals[1]["start"] < finals[1]["end"]
        assert all(final["confidence"] is None and final["language"] is None for final in finals)
        for final in finals:
            partials = [line["text"] for line in lines if line["type"] == "interim"]
            assert any(final["text"].startswith(partial) for partial in partials)
            billed = [line for line in lines if line["type"] == "usage" and line["item_id"] == final["item_id"]]
            assert [usage["audio_seconds"] >= 1 for usage in billed] == [True]

    @pytest.mark.parametrize(("form", "header"), [("srt", ""), ("vtt", "WEBVTT\n\n")])
    async def test_subtitles_in_a_file(
        self, form: str, header: str, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / f"out.{form}"
        async with emulator() as server:
            assert await listen(server, recording, f"--{form}", "--out", out) == 0
        assert capsys.readouterr().out == ""
        written = out.read_text(encoding="utf-8")
        assert written.startswith(header + "1\n00:00:0")
        cues = [block.split("\n") for block in written.removeprefix(header).strip().split("\n\n")]
        assert [(cue[0], cue[2]) for cue in cues] == [("1", TURNS[0].heard), ("2", TURNS[1].heard)]

    async def test_a_detected_language_is_named(self, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
        turns = [Turn(heard="Eins.", languages=("de",)), Turn(heard="Zwei.", languages=("de",))]
        async with emulator(turns) as server:
            assert await listen(server, recording, "--model", "gpt-transcribe") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.partition(" ")[2] for line in lines] == ["(de) Eins.", "Zwei."]

    async def test_a_model_without_a_price_has_no_cost(
        self, recording: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async with emulator() as server:
            assert await listen(server, recording, "--model", "gpt-4o-transcribe") == 0
        assert "cost unknown: there is no price for gpt-4o-transcribe" in capsys.readouterr().err


COMPLETED = "conversation.item.input_audio_transcription.completed"


class TestOptions:
    async def test_by_default_a_streaming_model_finds_the_language_out(self, recording: Path) -> None:
        async with emulator() as server:
            assert await listen(server, recording) == 0
        assert session_of(server) == {"model": "gpt-live-transcribe", "turn_detection": None}

    async def test_what_is_asked_for_reaches_the_server(self, recording: Path) -> None:
        asked = ["--language", "en", "--language", "de", "--prompt", "Names.", "--keyword", "Iris", "--keyword", "Bo"]
        async with emulator() as server:
            assert await listen(server, recording, "--model", "gpt-transcribe", *asked) == 0
        asked_for = session_of(server)
        assert asked_for.pop("turn_detection")["type"] == "server_vad"
        assert asked_for == {
            "model": "gpt-transcribe",
            "languages": ["en", "de"],
            "prompt": "Names.",
            "keywords": ["Iris", "Bo"],
        }

    async def test_one_language_is_one_for_a_model_that_takes_one(self, recording: Path) -> None:
        async with emulator() as server:
            assert await listen(server, recording, "--model", "gpt-4o-mini-transcribe", "--language", "de") == 0
        assert session_of(server)["language"] == "de"


class TestRefusals:
    """One sentence, exit code 2, and nothing is dialled or written."""

    async def refused(self, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
        async with emulator() as server:
            assert await listen(server, *arguments) == 2
            assert server.handshakes == []
        printed, said = capsys.readouterr()
        assert printed == ""
        assert said.count("\n") == 1
        assert KEY not in said
        return said

    def test_a_missing_key(
        self,
        recording: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delenv("OPENAI_API_KEY")
        (tmp_path / "out.txt").write_text("worth keeping")
        # Not of the emulator: a server on this machine needs no key.
        assert cli.main(["listen", str(recording), "--out", str(tmp_path / "out.txt")]) == 2
        assert "set the OPENAI_API_KEY environment variable" in capsys.readouterr().err
        assert (tmp_path / "out.txt").read_text() == "worth keeping"

    async def test_a_file_that_is_no_audio(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "a.mp3").write_bytes(b"\0" * 5000)
        (tmp_path / "out.txt").write_text("worth keeping")
        arguments = (tmp_path / "a.mp3", "--out", tmp_path / "out.txt")
        assert "a.mp3 cannot be read as audio" in await self.refused(capsys, *arguments)
        assert (tmp_path / "out.txt").read_text() == "worth keeping"

    async def test_a_missing_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "is not there" in await self.refused(capsys, tmp_path / "a.wav")

    def test_a_missing_file_is_told_before_a_missing_key(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("OPENAI_API_KEY")
        assert cli.main(["listen", str(tmp_path / "a.wav")]) == 2
        assert capsys.readouterr().err == f"{tmp_path / 'a.wav'} is not there: name an audio file.\n"

    async def test_an_option_the_model_does_not_take(self, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = (recording, "--model", "gpt-realtime-whisper", "--keyword", "Iris")
        assert "keywords is not taken by gpt-realtime-whisper" in await self.refused(capsys, *arguments)

    async def test_a_place_that_cannot_be_written(
        self, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "cannot be written" in await self.refused(capsys, recording, "--out", tmp_path)
        assert "cannot be written" in await self.refused(capsys, recording, "--out", tmp_path / "none" / "out.txt")

    async def test_the_recording_is_not_overwritten(self, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
        before = os.stat(recording)
        assert "is the recording itself" in await self.refused(capsys, recording, "--out", recording)
        after = os.stat(recording)
        assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)

    async def test_no_microphone(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "sounddevice", None)
        assert "give a FILE instead of --mic" in await self.refused(capsys, "--mic")


class TestFailures:
    async def test_a_failed_item_is_one_line_and_the_rest_goes_on(
        self, recording: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async with emulator(faults=[FailTranscription()]) as server:
            assert await listen(server, recording, "--model", "gpt-transcribe") == 0
        printed, said = capsys.readouterr()
        assert [line.partition("] ")[2] for line in printed.splitlines()] == [f"(en) {TURNS[1].heard}"]
        failed, summary = said.splitlines()
        assert "not transcribed" in failed
        assert "s of audio" in summary

    async def test_json_tells_a_failed_item_too(self, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
        async with emulator(faults=[FailTranscription()]) as server:
            assert await listen(server, recording, "--model", "gpt-transcribe", "--json") == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        (error,) = (line for line in lines if line["type"] == "error")
        assert error["message"]

    async def test_a_lost_connection_is_one_line_and_loses_no_words(
        self, recording: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async with emulator(faults=[DropOn("input_audio_buffer.append", nth=20)]) as server:
            assert await listen(server, recording) == 0
            assert len(server.handshakes) == 2
        printed, said = capsys.readouterr()
        assert [line.partition("] ")[2] for line in printed.splitlines()] == [turn.heard for turn in TURNS]
        lost, summary = said.splitlines()
        assert "retrying" in lost
        assert "s of audio" in summary

    async def test_characters_that_the_console_lacks_stop_nothing(self, recording: Path) -> None:
        turns = [Turn(heard="Grüße an 世界."), TURNS[1]]
        async with emulator(turns) as server:
            async with program(server, recording, env={"PYTHONIOENCODING": "ascii"}) as process:
                assert process.stdout is not None
                text = await process.stdout.read()
                await remarks(process)
            assert process.returncode == 0
        assert text.splitlines()[0].endswith(b"] Gr??e an ??.")
        assert text.splitlines()[1].endswith(TURNS[1].heard.encode())

    async def test_json_is_utf8_whatever_the_console_has(self, recording: Path) -> None:
        ascii_only = {"PYTHONIOENCODING": "ascii"}
        turns = [Turn(heard="Grüße an 世界.")]
        async with emulator(turns) as server, program(server, recording, "--json", env=ascii_only) as process:
            assert process.stdout is not None
            lines = (await process.stdout.read()).decode().splitlines()
            await remarks(process)
        assert any(json.loads(line).get("text") == "Grüße an 世界." for line in lines)

    async def test_a_refused_key_is_one_sentence_without_the_key(
        self, recording: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async with emulator(api_keys=frozenset({"sk-good"})) as server:
            assert await listen(server, recording) == 1
        printed, said = capsys.readouterr()
        assert printed == ""
        assert said.startswith("invalid_api_key: ")
        assert said.count("\n") == 1
        assert KEY not in said

    async def test_of_several_attempts_the_last_reason_is_told(
        self, recording: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fault = RejectHandshake("server_error", "The server had an error.", close_code=1011, times=99)
        async with emulator(faults=[fault]) as server:
            assert await listen(server, recording) == 1
        *attempts, last = capsys.readouterr().err.splitlines()
        assert len(attempts) == 3
        assert last.startswith("server_error: The server had an error.")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
    async def test_a_full_disk(self, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
        async with emulator() as server:
            assert await listen(server, recording, "--out", "/dev/full") == 1
        said = capsys.readouterr().err
        assert said.splitlines()[-1] == "/dev/full cannot be written: No space left on device."

    async def test_a_reader_that_leaves_ends_it_quietly(self, recording: Path) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        async with emulator() as server, program(server, recording, stdout=writer) as process:
            os.close(writer)
            said = await remarks(process)
        assert process.returncode == 141
        assert "Traceback" not in said
        assert "BrokenPipe" not in said

    async def test_ctrl_c_keeps_what_was_final(self, recording: Path) -> None:
        never = DelayTranscription(FOREVER, nth=2)
        async with emulator(faults=[never]) as server, program(server, recording) as process:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), 30)
            process.send_signal(signal.SIGINT)
            said = await remarks(process)
            rest = await process.stdout.read()
        assert line.decode().endswith(f"] {TURNS[0].heard}\n")
        assert rest == b""
        assert process.returncode == 130, said
        assert "s of audio, about $" in said
        assert said.count("\n") == 1


SOUND_CARD = '''
import threading, time, types, wave
class PortAudioError(Exception): pass
def query_devices(kind): return {"name": "a recording", "default_samplerate": 24000.0}
class RawInputStream:
    """Plays a recording at twice its pace, and then silence, as a microphone would."""
    def __init__(self, *, blocksize, callback, **_):
        self.size, self.callback, self.open = blocksize, callback, True
    def start(self):
        threading.Thread(target=self.play, daemon=True).start()
    def play(self):
        with wave.open(RECORDING) as file:
            while self.open:
                data = file.readframes(self.size).ljust(2 * self.size, bytes(1))
                self.callback(data, self.size, None, types.SimpleNamespace(input_overflow=False))
                time.sleep(self.size / 48000)
    def close(self):
        self.open = False
'''


class TestMicrophone:
    """A process whose `sounddevice` is a stand-in that plays the recording."""

    @pytest.fixture
    def card(self, recording: Path, tmp_path: Path) -> dict[str, str]:
        (tmp_path / "sounddevice.py").write_text(SOUND_CARD.replace("RECORDING", repr(str(recording))))
        return {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])}

    async def test_ctrl_c_ends_it_after_the_last_words(self, card: dict[str, str]) -> None:
        # The words of a turn that nobody has ended yet wait for the end of the audio.
        async with emulator([TURNS[0]]) as server, program(server, "--mic", env=card) as process:
            await server.wait_sent("conversation.item.input_audio_transcription.delta", timeout=30)
            process.send_signal(signal.SIGINT)
            said = await remarks(process)
            assert process.stdout is not None
            printed = (await process.stdout.read()).decode()
        assert process.returncode == 0
        assert said.startswith("Listening to a recording. Ctrl-C ends.\n")
        assert [line.partition("] ")[2] for line in printed.splitlines()] == [TURNS[0].heard]

    async def test_a_second_ctrl_c_does_not_wait(self, card: dict[str, str]) -> None:
        never = DelayTranscription(FOREVER)
        async with emulator(faults=[never]) as server, program(server, "--mic", env=card) as process:
            await server.wait_sent("conversation.item.input_audio_transcription.delta", timeout=30)
            process.send_signal(signal.SIGINT)
            await server.wait_received("input_audio_buffer.commit", timeout=10)
            process.send_signal(signal.SIGINT)
            said = await remarks(process)
        assert process.returncode == 130
        assert "Traceback" not in said


class TestTerminal:
    async def on_terminal(self, server: Emulator, *arguments: str | Path) -> tuple[str, str]:
        """What the command writes to a terminal, and to stderr."""
        ours, theirs = pty.openpty()
        environment = {"TERM": "xterm", "COLUMNS": "40"}
        async with program(server, *arguments, stdout=theirs, env=environment) as process:
            os.close(theirs)
            said = await remarks(process)
        assert process.returncode == 0
        written = b""
        while True:
            try:
                written += os.read(ours, 65536)
            except OSError:  # Linux: the other end is closed
                break
        os.close(ours)
        return written.decode().replace("\r\n", "\n"), said

    async def test_partials_are_redrawn_and_finals_stay(self, recording: Path) -> None:
        async with emulator(deltas_stop_after=3) as server:
            written, said = await self.on_terminal(server, recording)
        assert "The" in written.partition("\x1b[K")[0].partition("\r")[2]
        lines = [line.rpartition("\x1b[K")[2] for line in written.split("\n")]
        assert [line.partition("] ")[2] for line in lines[:1]] == [TURNS[0].heard]
        assert "s of audio" in said

    async def test_a_terminal_shows_the_words_while_a_file_gets_the_subtitles(
        self, recording: Path, tmp_path: Path
    ) -> None:
        async with emulator() as server:
            written, _ = await self.on_terminal(server, recording, "--srt", "--out", tmp_path / "out.srt")
        assert f"] {TURNS[0].heard}\n" in written
        assert "-->" not in written
        assert (tmp_path / "out.srt").read_text().count("-->") == 2

    async def test_json_on_a_terminal_is_json_only(self, recording: Path) -> None:
        async with emulator() as server:
            written, _ = await self.on_terminal(server, recording, "--json")
        assert all(json.loads(line) for line in written.splitlines())


def only_file(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


class TestRecording:
    async def test_what_came_and_left_is_recorded(self, recording: Path, tmp_path: Path) -> None:
        async with emulator() as server:
            assert await listen(server, recording, "--record", tmp_path / "runs", "--audio") == 0
            (session,) = server.sessions
        recorded = read(only_file(tmp_path / "runs"))
        assert [entry.event for entry in recorded.entries if entry.direction == "out"] == session.received
        assert (recorded.header.kind, recorded.header.audio, recorded.header.redacted) == ("stt", True, False)

    async def test_it_is_recorded_without_a_word(self, recording: Path, tmp_path: Path) -> None:
        async with emulator() as server:
            assert await listen(server, recording, "--record", tmp_path, "--redact", "--prompt", "Ada") == 0
        written = only_file(tmp_path).read_text()
        assert "sentence" not in written
        assert "Ada" not in written

    @pytest.mark.parametrize("switch", ["--audio", "--redact"])
    async def test_a_switch_of_a_recording_that_is_not_made_is_refused(
        self, recording: Path, capsys: pytest.CaptureFixture[str], switch: str
    ) -> None:
        async with emulator() as server:
            assert await listen(server, recording, switch) == 2
        assert f"{switch} says what --record writes: name a folder with --record, too." in capsys.readouterr().err
