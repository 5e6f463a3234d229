"""What docs/doctor.md says of `doctor` is what it is, and how a page is laid out."""

from __future__ import annotations

import argparse
import io
import re
from pathlib import Path

from livekit_plugins_openai_ga.cli import doctor, doctor_page
from livekit_plugins_openai_ga.cli import doctor_steps as steps
from livekit_plugins_openai_ga.cli.doctor_steps import Outcome, failed, ok, warning
from livekit_plugins_openai_ga.cli.output import Output
from tests.docs.blocks import blocks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "doctor.md").read_text()
SOURCE = "".join(path.read_text() for path in Path(doctor.__file__).parent.glob("doctor_*.py"))
STEP = {step.name: step for step in steps.STEPS}


def test_the_page_has_every_step_with_what_it_looks_at() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE.split("## For scripts")[0], re.M))
    assert list(rows) == [step.name for step in steps.STEPS]
    for step in steps.STEPS:
        assert rows[step.name].startswith(step.what)


def test_the_help_has_every_step() -> None:
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    for step in steps.STEPS:
        assert re.search(rf"^ +{step.name} +{re.escape(step.what)}$", parser.format_help(), re.M)


def test_the_page_has_every_key_of_the_json() -> None:
    told = doctor_page.as_json("conversation", "m", "a:1", [])
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.split("## For scripts")[1], re.M)
    assert rows == list(told)
    of_a_step = PAGE.split("A step has")[1]
    assert all(f"`{name}`" in of_a_step for name in Outcome(STEP["key"], ok("fine"), 1.0).as_json())


def test_the_pages_own_codes_are_those_of_the_command() -> None:
    listed = re.search(r"Codes that only `doctor` has: ([^.]+)\.", PAGE)
    assert listed
    codes = re.findall(r"`(\w+)`", listed[1])
    known = (ROOT / "docs" / "errors.md").read_text()
    for code in codes:
        assert f'"{code}"' in SOURCE
        assert f"`{code}`" not in known


def test_the_pages_example_is_what_is_shown() -> None:
    (shown,) = blocks("docs/doctor.md", "text")
    stream = io.StringIO()
    page = doctor_page.Page(Output(stream, colours=False), None)
    page.head("conversation", "gpt-realtime-2.1", "api.openai.com:443")
    outcomes = []
    for name, took, verdict in (
        ("key", 0, ok("a project key of 164 characters, from OPENAI_API_KEY")),
        ("model", 0, ok("gpt-realtime-2.1 is current; no shutdown is announced")),
        ("proxy", 0, ok("none")),
        ("dns", 9, ok("api.openai.com is 192.0.2.10 and 1 more")),
        ("connect", 41, ok("192.0.2.10, TLSv1.3")),
        ("upgrade", 128, ok("101, the socket is open")),
        (
            "session",
            33,
            failed(
                "You exceeded your current quota. The account has no quota left.",
                "Add credit or raise the limit at https://platform.openai.com/settings/organization/billing.",
                "insufficient_quota",
            ),
        ),
    ):
        outcomes.append(Outcome(STEP[name], verdict, took))
        page.show(outcomes[-1])
    for name in ("configuration", "audio", "reply", "goodbye"):
        verdict = steps.skipped(STEP[name], outcomes, gone=False)
        assert verdict is not None
        page.show(Outcome(STEP[name], verdict, None))
    page.end(outcomes)
    assert stream.getvalue() == shown.code


def test_a_long_line_is_broken_under_itself() -> None:
    stream = io.StringIO()
    page = doctor_page.Page(Output(stream, colours=False), 70)
    page.show(Outcome(STEP["dns"], failed("word " * 20, "mend " * 20, "code"), 12_345.6))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 70
    assert lines[0].startswith("failed   dns           12,346 ms  code: word")
    assert all(line.startswith(" " * 33) for line in lines[1:])


def test_the_last_line_counts_what_was_found() -> None:
    def last(*outcomes: Outcome) -> str:
        stream = io.StringIO()
        doctor_page.Page(Output(stream, colours=False), None).end(outcomes)
        return stream.getvalue().strip()

    fine, odd = Outcome(STEP["key"], ok("fine"), 1.0), Outcome(STEP["model"], warning("odd", "look"), 1.0)
    bad = Outcome(STEP["dns"], failed("bad", "mend"), 1.0)
    assert last(fine) == "All is well."
    assert last(fine, odd) == "It works, with 1 warning."
    assert last(fine, odd, odd) == "It works, with 2 warnings."
    assert last(fine, odd, bad) == "1 failed, first `dns`: begin there."
