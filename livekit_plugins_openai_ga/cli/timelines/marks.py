"""Facts as what is drawn: one mark for each, in its lane, with what is said of it and the entries it was read from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .facts import LANES, Facts, Lane, Outage, Reply, Speech, ToolCall, Utterance

Tone = Literal["", "bad", "cut", "quiet"]
"""bad: something failed. cut: not all of it was heard. quiet: it is there, and rarely looked for."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that is drawn.

    Attributes:
        kind: speech, typed, phrase, text, reply, tool, connection, outage, error, ...
        start_ms: When it begins.
        end_ms: When it ends; None: it has no length.
        text: What was said or happened.
        remarks: What there is to say of it, each in a few words.
        events: Places in the recording's entries.
        heard: The part of `text` that was heard, 0 to 1, where it was cut.
    """

    lane: Lane
    kind: str
    start_ms: float
    end_ms: float | None
    text: str
    remarks: tuple[str, ...] = ()
    events: tuple[int, ...] = ()
    tone: Tone = ""
    heard: float | None = None


def marks(facts: Facts) -> list[Mark]:
    """Everything that is drawn, by time."""
    found = [*_users(facts), *_agents(facts), *_tools(facts), *_networks(facts)]
    return sorted(found, key=lambda mark: (mark.start_ms, LANES.index(mark.lane)))


def seconds(ms: float) -> str:
    """A length: `854 ms`, `2.9 s`, `3 min 02 s`."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 59_950:
        return f"{ms / 1000:.1f} s"
    minutes, rest = divmod(round(ms / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min {rest:02} s" if hours else f"{minutes} min {rest:02} s"


def _named(code: str, text: str) -> str:
    """A sentence behind its code, with which it may begin already."""
    return text if text.startswith(code) else ": ".join(filter(None, (code, text)))


def _users(facts: Facts) -> Iterator[Mark]:
    for said in facts.utterances:
        if said.typed:
            how = "brought along" if said.apart else "written"
            yield Mark("user", "typed", said.start_ms, None, said.text or "[nothing]", (how,), tuple(said.events))
        elif not said.apart:
            yield _utterance(said, facts)
    for phrase in facts.phrases:
        remarks = () if phrase.behind_ms is None else (f"{seconds(phrase.behind_ms)} behind the speaker",)
        yield Mark(phrase.lane, "phrase", phrase.start_ms, phrase.end_ms, phrase.text, remarks, tuple(phrase.events))
    for moment in facts.moments:
        yield Mark(moment.lane, moment.kind, moment.at_ms, None, moment.text, (), tuple(moment.events), "quiet")
    for problem in facts.problems:
        text = _named(problem.code, problem.text)
        yield Mark(problem.lane, "error", problem.at_ms, None, text, (), tuple(problem.events), "bad")


def _utterance(said: Utterance, facts: Facts) -> Mark:
    remarks = []
    if said.text_ms is not None and said.end_ms is not None and facts.header.kind == "stt":
        remarks.append(f"text after {seconds(said.text_ms - said.end_ms)}")
    if said.error:
        remarks.append(f"no transcript: {said.error}")
    end = facts.duration_ms if said.end_ms is None else said.end_ms
    text = said.text or ("[no words]" if said.text_ms is not None else "[no transcript]")
    return Mark("user", "speech", said.start_ms, end, text, tuple(remarks), tuple(said.events))


def _agents(facts: Facts) -> Iterator[Mark]:
    waits = {
        next(reply.id for reply in turn.replies if reply.first_ms is not None): turn.wait.total_ms
        for turn in facts.turns
        if turn.wait is not None
    }
    for reply in facts.replies:
        remarks = [f"first {_output(reply)} after {seconds(waits[reply.id])}"] if reply.id in waits else []
        if reply.apart:
            remarks.append("out of band")
        if reply.lost:
            remarks.append("lost with the connection")
        elif reply.status not in ("", "completed", "cancelled"):
            remarks.append(": ".join(filter(None, (reply.status, reply.reason))))
        for number, speech in enumerate(reply.speeches):
            yield _speech(speech, tuple(remarks) if number == 0 else ())
        if not reply.speeches and (reply.text or not reply.tools):
            yield _silent(reply, tuple(remarks))


def _output(reply: Reply) -> str:
    return "audio" if reply.speeches else "text"


def _speech(speech: Speech, remarks: tuple[str, ...]) -> Mark:
    text = speech.text or "[no transcript]"
    events = tuple(speech.events)
    if not speech.cut:
        return Mark("agent", "speech", speech.start_ms, speech.end_ms, text, remarks, events)
    heard = f"interrupted, {seconds(speech.heard_ms)} of {seconds(speech.made_ms)} heard"
    if speech.heard_ms >= speech.made_ms:
        heard = "interrupted"
    elif speech.heard_ms <= 0:
        heard = f"interrupted, nothing of {seconds(speech.made_ms)} heard"
    share = min(1.0, speech.heard_ms / speech.made_ms) if speech.made_ms else 0.0
    return Mark("agent", "speech", speech.start_ms, speech.end_ms, text, (*remarks, heard), events, "cut", share)


def _silent(reply: Reply, remarks: tuple[str, ...]) -> Mark:
    """A reply that was written, or of which nothing came."""
    start = reply.created_ms if reply.first_ms is None else reply.first_ms
    end = start if reply.done_ms is None else max(start, reply.done_ms)
    kind, text = ("text", reply.text) if reply.text else ("reply", "[nothing was said]")
    if reply.status == "cancelled":
        remarks = (*remarks, ": ".join(filter(None, ("cancelled", reply.reason))))
    tone: Tone = "bad" if reply.status == "failed" else ("" if reply.text else "quiet")
    return Mark("agent", kind, start, end, text, remarks, tuple(reply.events), tone)


def _tools(facts: Facts) -> Iterator[Mark]:
    for call in facts.tools:
        yield _tool(call, facts)


def _tool(call: ToolCall, facts: Facts) -> Mark:
    where = f"{call.server}: " if call.server else ""
    outcome = call.error or call.output or ("no output" if call.end_ms is None else '""')
    took = "never answered" if call.end_ms is None else seconds(call.end_ms - call.start_ms)
    tone: Tone = "bad" if call.error or call.end_ms is None else ""
    text = f"{where}{call.name}({call.arguments}) -> {outcome}"
    return Mark("tools", "tool", call.start_ms, call.end_ms, text, (took,), tuple(call.events), tone)


def _networks(facts: Facts) -> Iterator[Mark]:
    for connection in facts.connections:
        text = " ".join(filter(None, ("connected", connection.session)))
        end = facts.duration_ms if connection.end_ms is None else connection.end_ms
        yield Mark("network", "connection", connection.start_ms, end, text, (), tuple(connection.events), "quiet")
    for outage in facts.outages:
        yield _outage(outage, facts)


def _outage(outage: Outage, facts: Facts) -> Mark:
    what = "planned change of connection" if outage.planned else "no connection"
    why = _named(outage.code, outage.text)
    end = facts.duration_ms if outage.end_ms is None else outage.end_ms
    took = seconds(end - outage.start_ms) if outage.end_ms is not None else "to the end"
    remarks = (took,) if outage.told else (took, "the loss itself is not in the file")
    tone: Tone = "" if outage.planned else "bad"
    text = f"{what}: {why}" if why else what
    return Mark("network", "outage", outage.start_ms, end, text, remarks, tuple(outage.events), tone)
