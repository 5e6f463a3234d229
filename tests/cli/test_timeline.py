"""The command `timeline`: what it shows, writes and returns."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from livekit import rtc
from livekit.plugins import openai
from openai.types.realtime.realtime_audio_input_turn_detection import ServerVad

from livekit_plugins_openai_ga import cli
from livekit_plugins_openai_ga.cli.output import Output
from livekit_plugins_openai_ga.cli.timelines.heard import Sent
from livekit_plugins_openai_ga.cli.timelines.page import page
from livekit_plugins_openai_ga.cli.timelines.story import Story
from livekit_plugins_openai_ga.cli.timelines.terminal import lines
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.voice import synthetic

from ..docs.blocks import blocks
from .tape import Tape, weather_call

PAGE = (Path(__file__).parents[2] / "docs" / "timeline.md").read_text()
(LINES,) = (block.code for block in blocks("docs/timeline.md", "text"))


@pytest.fixture
def call(tmp_path: Path) -> Path:
    return weather_call().write(tmp_path / "call.jsonl")


def test_a_call_in_lines_as_the_page_shows_it(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["timeline", str(call)]) == 0
    assert capsys.readouterr().out == LINES


def test_json_is_one_object_whose_keys_the_page_has(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["timeline", str(call), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["summary"]["turns"] == 2
    for key in {*told, *told["summary"], *told["turns"][0], *told["turns"][1]["wait"]}:
        assert f"`{key}`" in PAGE


def test_the_page_is_beside_the_recording_and_for_its_owner_only(
    call: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["timeline", str(call), "--html"]) == 0
    page = call.with_suffix(".html")
    assert capsys.readouterr().out == f"Wrote {page}: open it in a browser.\n"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert "It is eighteen" in page.read_text()


def test_the_page_goes_where_it_is_asked_to(call: Path, tmp_path: Path) -> None:
    out = tmp_path / "other.html"
    assert cli.main(["timeline", str(call), "--html", str(out)]) == 0
    assert out.exists()
    assert not call.with_suffix(".html").exists()


def test_a_page_overwrites_nothing_unless_it_is_told_to_and_the_recording_never(
    call: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = call.read_bytes()
    for force in ([], ["--force"]):
        assert cli.main(["timeline", str(call), "--html", str(call), *force]) == 2
        assert capsys.readouterr().err == f"timeline: {call} is the recording itself: name another file for the page.\n"
    assert call.read_bytes() == kept
    page = tmp_path / "page.html"
    page.write_text("mine" * 100_000)
    page.chmod(0o644)
    assert cli.main(["timeline", str(call), "--html", str(page)]) == 2
    assert capsys.readouterr().err == f"timeline: {page} is there already: name another file, or pass --force.\n"
    assert page.read_text().startswith("mine")
    assert cli.main(["timeline", str(call), "--html", str(page), "--force"]) == 0
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert page.read_text().endswith("</html>\n")


KEY = "sk-proj-ABCDEFGHIJKLMNOP1234567890"


@pytest.mark.parametrize("form", [[], ["--json"], ["--html"]])
def test_no_key_in_a_file_is_shown(tmp_path: Path, form: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    message = {
        "id": "u1",
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": f"It is {KEY}"}],
    }
    call = {"type": "function_call", "call_id": "c", "name": "login", "arguments": json.dumps({"k": KEY})}
    tape = Tape(model=f"model {KEY}").opened().client(50, "conversation.item.create", item=message)
    tape.client(60, "response.create").begins("a", 100).speaks("a", 200, 300, text=f"{KEY[:9]}")
    names = {"response_id": "a", "item_id": "item_a", "content_index": 0}
    tape.server(210, "response.output_audio_transcript.delta", delta=KEY[9:], **names)
    tape.server(300, "response.output_item.done", response_id="a", item=call).ends("a", 400)
    output = {"type": "function_call_output", "call_id": "c", "output": f"Bearer {KEY}"}
    tape.client(500, "conversation.item.create", item=output).says("u2", 600, 900, f"My key is {KEY}.")
    tape.server(1600, "error", error={"code": KEY, "message": f"Incorrect API key provided: {KEY}"}).server(1650, KEY)
    path = tape.note(1700, "lost", code="close_1006", sentence=f"The key was {KEY}.").write(tmp_path / "call.jsonl")
    assert cli.main(["timeline", str(path), *form]) == 0
    told = capsys.readouterr().out
    shown = path.with_suffix(".html").read_text() if form == ["--html"] else told
    assert "[redacted]" in shown
    assert KEY[9:] not in shown


@pytest.mark.parametrize(
    ("header", "metadata"),
    [({"recording": 1, "at": 1e300}, "{}"), ({"recording": 1}, '{"a":' * 700 + "0" + "}" * 700)],
)
def test_a_file_that_cannot_be_drawn_is_one_sentence(
    tmp_path: Path, header: dict[str, object], metadata: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.jsonl"
    created = '{"type": "response.created", "response": {"id": "a", "metadata": %s}}'.replace("%s", metadata)
    path.write_text(f'{json.dumps(header)}\n{{"t": 1, "link": 1, "in": {created}}}\n')
    assert cli.main(["timeline", str(path), "--html"]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith("timeline: ")
    assert not path.with_suffix(".html").exists()


@pytest.mark.parametrize("form", [[], ["--html"]])
@pytest.mark.parametrize("at", [1e12, 1e300])
def test_times_and_lengths_that_cannot_be_hang_nothing(tmp_path: Path, form: list[str], at: float) -> None:
    tape = Tape().opened().listens(0, 200, {"ms": at}).begins("a", 300)
    names = {"response_id": "a", "item_id": "i"}
    for value in (at, -at, 10**400):
        tape.server(400, "response.output_audio.delta", delta={"bytes": 5, "ms": value}, content_index=[1], **names)
        tape.server(450, "response.output_text.delta", delta="x", content_index=[1], **names)
        tape.server(500, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=value)
        tape.server(600, "input_audio_buffer.speech_stopped", item_id="u", audio_end_ms=value)
        tape.client(700, "conversation.item.truncate", item_id="i", audio_end_ms=value)
    facts = tape.facts()
    assert facts.duration_ms <= 3 * 3_600_000 + 1000
    facts.duration_ms = at
    story = Story(facts, Sent(), [])
    drawn = (
        page(story, name="x", entries=tape.recording().entries)
        if form
        else "\n".join(lines(facts, Output(sys.stdout), 80))
    )
    assert len(drawn) < 200_000


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--check"], 1, "timeline: 0 errors, 1 lost connections.\n"),
        (["--max-wait", "1500"], 1, "timeline: 1 of 1 first sounds took longer than 1500 ms.\n"),
        (["--max-wait", "1700"], 0, ""),
    ],
)
def test_exit_codes_are_for_ci(
    call: Path, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["timeline", str(call), *arguments]) == code
    assert capsys.readouterr().err == said


def test_what_cannot_be_read_or_written_is_one_sentence(
    tmp_path: Path, call: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello\n")
    for arguments in ([str(tmp_path / "none.jsonl")], [str(text)], [str(call), "--html", str(tmp_path / "no" / "x")]):
        assert cli.main(["timeline", *arguments]) == 2
        told = capsys.readouterr()
        assert (told.out, told.err.count("\n")) == ("", 1)
        assert told.err.startswith("timeline: ")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_gets_colours_and_lines_that_fit(call: Path, columns: int) -> None:
    command = [sys.executable, "-m", "livekit_plugins_openai_ga", "timeline", str(call)]
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    environ.pop("NO_COLOR", None)
    parent, child = pty.openpty()
    with subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environ) as process:
        os.close(child)
        shown = b""
        try:
            while piece := os.read(parent, 4096):
                shown += piece
        except OSError:  # how Linux says that the other end is closed
            pass
        assert process.wait(30) == 0
    os.close(parent)
    text = shown.decode()
    assert "\x1b[36m" in text
    assert "\x1b[31m" in text
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert max(map(len, plain.splitlines())) <= columns


def test_a_transcript_cannot_write_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tape = Tape().opened().listens(0, 2000).says("u", 100, 900, "\x1b]0;owned\x07 \x1b[2J hello\nworld")
    cli.main(["timeline", str(tape.write(tmp_path / "x.jsonl"))])
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "hello world" in told


async def test_the_raw_events_of_the_official_plugin_tell_the_same(tmp_path: Path) -> None:
    path = tmp_path / "official.jsonl"
    turns = [Turn(heard="How are you?", say="I am well."), Turn(heard="Good.", say="Indeed.")]
    async with Emulator(Script(turns), knobs=Knobs(speak=synthetic, pace=20.0)) as server:
        detection = ServerVad(type="server_vad", silence_duration_ms=300, threshold=0.5, prefix_padding_ms=300)
        model = openai.realtime.RealtimeModel(base_url=server.base_url, api_key="sk-test", turn_detection=detection)
        session = model.session()
        with path.open("w") as file:

            def tap(name: str):
                def write(event: dict[str, object]) -> None:
                    now = asyncio.get_running_loop().time()
                    file.write(json.dumps({"name": name, "ts": now, "event": event}) + "\n")

                return write

            for name in ("openai_server_event_received", "openai_client_event_queued"):
                session.on(name, tap(name))
            pcm = bytes(48 * 300) + synthetic("How are you?") + bytes(48 * 900)
            for start in range(0, len(pcm) - 959, 960):
                session.push_audio(rtc.AudioFrame(pcm[start : start + 960], 24000, 1, 480))
            await server.wait_sent("response.done")
            await server.wait_sent("conversation.item.input_audio_transcription.completed")
            await asyncio.sleep(0.05)
            await session.aclose()
            await model.aclose()
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "livekit_plugins_openai_ga", "timeline", str(path), "--json"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stderr == ""
    told = json.loads(done.stdout)
    (said,) = told["utterances"]
    (reply,) = told["replies"]
    assert (said["text"], said["end_from"]) == ("How are you?", "detector")  # all of it left at once
    assert (reply["text"], reply["status"]) == ("I am well.", "completed")
    assert reply["speeches"][0]["made_ms"] > 300
    assert told["summary"]["cost_usd"] > 0
