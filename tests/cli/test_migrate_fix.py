"""What `--fix` writes, and that it leaves alone what somebody has to look at."""

from __future__ import annotations

import ast
import json
import textwrap
from pathlib import Path

import pytest

from livekit_plugins_openai_ga.cli.migration.rules import Finding, apply
from livekit_plugins_openai_ga.cli.migration.scan import language_of, scan

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*/*"))


def fixed(text: str, name: str = "a.py") -> str:
    text = textwrap.dedent(text)
    return apply(text, left(text, name))


def left(text: str, name: str = "a.py") -> list[Finding]:
    language = language_of(name)
    assert language is not None
    return scan(textwrap.dedent(text), language)[0]


def test_a_flat_python_session_becomes_nested() -> None:
    text = fixed("""
        await realtime.send({
            "type": "session.update",
            "session": {
                "modalities": ["text", "audio"],
                "instructions": "Hi",
                "voice": VOICES[0],
                "turn_detection": {
                    "type": "server_vad",
                },
                "input_audio_format": "g711_ulaw",
                "max_response_output_tokens": 400,
                "temperature": 0.8,
            },
        })
        """)
    assert text == textwrap.dedent("""
        await realtime.send({
            "type": "session.update",
            "session": {
                "type": "realtime",
                "output_modalities": ["audio"],
                "instructions": "Hi",
                "audio": {
                    "output": {
                        "voice": VOICES[0]
                    },
                    "input": {
                        "turn_detection": {
                            "type": "server_vad",
                        },
                        "format": {"type": "audio/pcmu"}
                    }
                },
                "max_output_tokens": 400,
            },
        })
        """)


def test_a_session_in_javascript_keeps_its_own_style() -> None:
    line = (
        "ws.send(JSON.stringify({ type: 'session.update', session: { voice, turn_detection: null } })); // realtime\n"
    )
    assert fixed(line, "a.ts") == (
        "ws.send(JSON.stringify({ type: 'session.update', session: { type: 'realtime', "
        "audio: {output: {voice: voice}, input: {turn_detection: null}} } })); // realtime\n"
    )


def test_json_stays_json() -> None:
    update = {"type": "session.update", "session": {"temperature": 1, "voice": "ash", "note": "realtime", "speed": 1.5}}
    for indent in (None, 2):
        text = fixed(json.dumps(update, indent=indent), "a.json")
        assert json.loads(text)["session"] == {
            "type": "realtime",
            "audio": {"output": {"voice": "ash", "speed": 1.5}},
            "note": "realtime",
        }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('h = {"a": 1, "OpenAI-Beta": "realtime=v1"}', 'h = {"a": 1}'),
        ('h = {"OpenAI-Beta": "realtime=v1", "a": 1}', 'h = {"a": 1}'),
        ('h = {"OpenAI-Beta": "realtime=v1",}', "h = {}"),
        ('p = ["realtime", "openai-beta.realtime-v1"]', 'p = ["realtime"]'),
        ("client.beta.realtime.connect()", "client.realtime.connect()"),
        ('"x" if e == "response.text.done" else realtime', '"x" if e == "response.output_text.done" else realtime'),
        ("e == '''conversation.item.created''' != realtime", "e == '''conversation.item.added''' != realtime"),
        ('realtime(model="gpt-4o-mini-realtime-preview")', 'realtime(model="gpt-realtime-2.1-mini")'),
        ('realtime(kind.startswith("response.audio_transcript"))',
         'realtime(kind.startswith("response.output_audio_transcript"))'),
        ('realtime("response.audio_transcript" in kind)', 'realtime("response.output_audio_transcript" in kind)'),
        ('realtime("response.text" not in kind)', 'realtime("response.output_text" not in kind)'),
        ('u = "wss://api.openai.com/v1/realtime?model=x&intent=transcription"',
         'u = "wss://api.openai.com/v1/realtime?intent=transcription"'),
        ('u = "wss://api.openai.com/v1/realtime?intent=transcription&model=whisper-1"',
         'u = "wss://api.openai.com/v1/realtime?intent=transcription"'),
    ],
)  # fmt: skip
def test_what_is_sure_is_rewritten(before: str, after: str) -> None:
    assert fixed(before) == after
    assert left(after) == []


@pytest.mark.parametrize(
    "text",
    [
        's = {"type": "realtime", **more, "voice": "ash"}\nrealtime({"type": "session.update", "session": s})',
        'realtime({"type": "session.update", "session": {"type": "realtime", "voice": 1, "audio": {}}})',
        'realtime({"type": "session.update", "session": {"type": "realtime", "voice": 1,  # loud\n }})',
        'realtime({"type": "session.update", "session": {"type": "realtime", "input_audio_format": form}})',
        's = {"type": "realtime", "voice": 1}\ns["voice"] = 2\nrealtime({"type": "session.update", "session": s})',
        'realtime(f"response.audio.delta {x}" + "response" ".audio.delta")',
        'client.beta.realtime.sessions.create(model="gpt-realtime-2.1")',
        'u = "https://api.openai.com/v1/realtime/sessions"',
        "from openai.types.beta.realtime import Session",
    ],
)
def test_what_is_not_sure_is_left_to_its_author(text: str) -> None:
    assert left(text)
    assert fixed(text) == text


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_second_time_there_is_nothing_to_fix_that_could_be_fixed_the_first_time(path: Path) -> None:
    language = language_of(path.name) or ""
    once = apply(path.read_text(), scan(path.read_text(), language)[0])
    twice = apply(once, scan(once, language)[0])
    thrice = apply(twice, scan(twice, language)[0])
    assert thrice == twice
    if path.suffix == ".py" and path.name != "legacy_py2.py":
        ast.parse(twice)
    if path.suffix == ".json":
        json.loads(twice)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_half_a_file_is_no_reason_to_fail(path: Path) -> None:
    text = path.read_text()
    for language in ("python", "javascript", "markdown", "shell", "settings", "yaml"):
        for end in range(0, len(text), 1 + len(text) // 12):
            for finding in scan(text[:end], language)[0]:
                assert 0 <= finding.start <= finding.end <= end


@pytest.mark.parametrize(
    "text",
    [
        'U = "wss://x.openai.azure.com/openai/v1/realtime?model=gpt-4o-realtime-preview"',
        'U = f"wss://{host}/openai/v1/realtime?model=gpt-4o-realtime-preview"',
        'c = OpenAI(websocket_base_url="wss://x.openai.azure.com/openai/v1")\n'
        'c.realtime.connect(model="gpt-4o-realtime-preview")',
        'c = OpenAI(base_url=ENDPOINT + "/openai/v1")\nc.realtime.connect(model="gpt-realtime")',
    ],
)
def test_the_name_of_an_azure_deployment_is_no_model(text: str) -> None:
    assert left(text) == []


def test_a_model_in_a_file_that_speaks_of_azure_is_told_but_not_rewritten() -> None:
    text = 'c = AsyncAzureOpenAI(azure_endpoint=E)\nc.realtime.connect(model="gpt-4o-realtime-preview")'
    assert [finding.rule.id for finding in left(text)] == ["model-gone"]
    assert fixed(text) == text


def test_openais_own_address_is_still_seen_beside_azures() -> None:
    openai = "wss://api.openai.com/v1/realtime?model="
    text = f'A = "wss://x.openai.azure.com/openai/v1"\nB = "{openai}gpt-4o-realtime-preview"'
    assert fixed(text) == text.replace("gpt-4o-realtime-preview", "gpt-realtime-2.1")


def test_a_transcription_session_becomes_whole() -> None:
    text = fixed("""
        ws.send_json({
            "type": "transcription_session.update",
            "session": {
                "modalities": ["text"],
                "input_audio_format": "pcm16",
                "input_audio_transcription": {"model": "gpt-live-transcribe"},
            },
        })
        """)
    assert text == textwrap.dedent("""
        ws.send_json({
            "type": "session.update",
            "session": {
                "type": "transcription",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcm", "rate": 24000},
                        "transcription": {"model": "gpt-live-transcribe"}
                    }
                },
            },
        })
        """)


@pytest.mark.parametrize(
    "text",
    [
        "x.realtime.send('conversation.item.create', {item: {role: 'assistant', content: [{type: 'text', text: t}]}})",
        "x.realtime.send('session.update', {session: {type: 'realtime', voice: 'ash'}})",
        "x.realtime.send('response.create', {response: {voice: 'ash'}})",
    ],
)
def test_an_event_whose_type_is_an_argument_of_its_own_is_one(text: str) -> None:
    assert len(left(text, "a.ts")) == 1


def test_audio_of_the_assistants_becomes_text_in_the_advice_and_is_not_rewritten() -> None:
    text = "x({type: 'conversation.item.create', item: {role: 'assistant', content: [{type: 'audio'}]}})"
    (finding,) = left(text, "a.ts")
    assert finding.rule.id == "item-content"
    assert finding.instead.startswith("output_text with the transcript")
    assert fixed(text, "a.ts") == text


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("MODEL=${MODEL:-gpt-4o-realtime-preview}\n", ["model-gone"]),
        ('run "wss://api.openai.com/v1/realtime?model=${MODEL-gpt-4o-realtime-preview}"\n', ["model-gone"]),
        ("""curl x -d '{"model": "gpt-4o-realtime-preview-2024-12-17"}'\n""", ["model-gone"]),
        ("""send '{"type": "transcription_session.update", "session": {"type": "x"}}'\n""", ["client-event"]),
        ("realtime | jq -r .client_secret.value\n", ["client-secret"]),
        ("""realtime '{"OpenAI-Beta": "realtime=v1"}'\n""", ["beta-header"]),
        ("# realtime | jq -r .client_secret.value ${MODEL:-gpt-4o-realtime-preview}\n", []),
    ],
)
def test_what_a_shell_script_has_of_it_is_seen_once(text: str, rules: list[str]) -> None:
    assert [finding.rule.id for finding in left(text, "a.sh")] == rules


def test_a_default_of_the_shells_is_rewritten_in_its_place() -> None:
    text = 'MODEL="${MODEL:-gpt-4o-realtime-preview}"\n'
    assert fixed(text, "a.sh") == 'MODEL="${MODEL:-gpt-realtime-2.1}"\n'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("env:\n  MODEL: gpt-realtime-2.1\nsession:\n  voice: soprano\n  temperature: 1\n", 0),
        ("items:\n- model: gpt-realtime-2.1\n- session:\n    voice: soprano\n    temperature: 1\n", 0),
        ("model: gpt-realtime-2.1\nsession:\n  voice: ash\n  temperature: 1\n", 2),
        ("session:\n  model: gpt-realtime-2.1\n  voice: ash\n", 1),
        ("realtime:\n  agent:\n    session:\n      voice: ash\n", 1),
        ("# realtime\nsession: # ours\n  # voice: sage\n  voice: ash\n  input_audio_format: pcm16\nvoice: on\n", 2),
        ("# realtime\nsession:\n  type: realtime\n  audio:\n    output:\n      voice: ash\n", 0),
    ],
)
def test_a_session_in_yaml_is_one_by_its_fields_or_by_what_stands_around_it(text: str, found: int) -> None:
    assert [finding.rule.id for finding in left(text, "a.yaml")] == ["session-field"] * found


def test_a_session_that_goes_to_a_class_of_the_files_own_is_none_of_the_apis() -> None:
    call = 'Session().update(session={"voice": "baritone", "temperature": 37.2})\nurl = "/v1/realtime"\n'
    later = call.replace("Session()", "s = Session()\ns", 1)
    own = "class Session:\n    def update(self, session): ...\n"
    sends = 'class Session:\n    def update(self, session): self.send({"type": "session.update", "session": session})\n'
    assert left(own + call) == []
    assert left(own + later) == []
    assert len(left(call)) == 2
    assert len(left(sends + call)) >= 2


def test_places_are_characters_whatever_the_bytes_and_line_ends_are() -> None:
    lines = ['a = "\N{SNOWMAN}\N{GRINNING FACE}"; m = ["é", "gpt-4o-realtime-preview"]', '\x0cu = "response.text.done"']
    text = "\r\n".join([*lines, "# realtime"])
    places = [text[found.start : found.end] for found in left(text)]
    assert places == ['"gpt-4o-realtime-preview"', '"response.text.done"']


def test_what_is_nested_too_deeply_is_looked_through_line_by_line() -> None:
    deep = "[" * 5000 + "]" * 5000 + '\nurl = "wss://api.openai.com/v1/realtime?model=gpt-4o-realtime-preview"\n'
    for language in ("python", "javascript"):
        findings, note = scan(deep, language)
        assert [finding.rule.id for finding in findings] == ["model-gone"]
        assert note


@pytest.mark.parametrize("name", ["a.sh", "a.yaml", "a.py", "a.js"])
def test_json_that_is_nested_too_deeply_is_passed_over_wherever_it_is(name: str) -> None:
    deep = '{"a":' * 3000 + "1" + "}" * 3000
    (finding,) = left(f"x = {deep}\nMODEL=gpt-4o-realtime-preview\n", name)
    assert finding.rule.id == "model-gone"


def test_names_that_stand_for_each_other_are_followed_once() -> None:
    names = [f"n{number}" for number in range(60)]
    lines = [f"{one} = {other}" for one in names for other in names]
    text = "\n".join([*lines, 'n7 = {"voice": 1}', 'realtime({"type": "session.update", "session": n3})'])
    assert [finding.rule.id for finding in left(text)] == ["session-type", "session-field"]
