"""The page's tables: the turns of a conversation with what each took, and the segments of speech to text."""

from __future__ import annotations

from html import escape

from ...devtools.display import clean
from .drawing import moment
from .facts import Facts, Reply, Turn, Utterance, Wait, tokens

_PARTS = (
    ("noticing", "noticing: until the server knew that the user had stopped"),
    ("asking", "asking: until a reply was begun"),
    ("tools", "tools: until the reply was begun that was heard"),
    ("making", "making: until its first sound came"),
)


def turns(facts: Facts) -> str:
    """A row for each turn; "" for a session without replies."""
    if not facts.replies:
        return ""
    longest = max(facts.waits, default=0.0)
    rows = "".join(_turn(turn, longest) for turn in facts.turns)
    apart = "".join(_apart(reply) for reply in facts.replies if reply.apart)
    legend = "".join(f'<li><span class="key {name}"></span>{escape(text)}</li>' for name, text in _PARTS)
    return (
        '<section aria-labelledby="turns"><h2 id="turns">Turns</h2>'
        f'<ul class="parts">{legend}</ul><div class="wide" tabindex="0" role="region" aria-labelledby="turns"><table>'
        '<thead><tr><th scope="col">#</th><th scope="col">At</th><th scope="col">User</th><th scope="col">Agent</th>'
        '<th scope="col">First sound after</th><th scope="col" class="n">Tokens in</th>'
        '<th scope="col" class="n">out</th><th scope="col" class="n">Cost</th></tr></thead>'
        f"<tbody>{rows}{apart}</tbody></table></div></section>"
    )


def _turn(turn: Turn, longest: float) -> str:
    begins = turn.user.start_ms if turn.user is not None else turn.replies[0].created_ms
    user = "" if turn.user is None else _said(turn.user)
    agent = "".join(_reply(reply) for reply in turn.replies)
    wait = "" if turn.wait is None else _wait(turn.wait, longest)
    return _row(str(turn.number), begins, user, agent, wait, turn.replies)


def _apart(reply: Reply) -> str:
    return _row("", reply.created_ms, '<i class="quiet">out of band</i>', _reply(reply), "", [reply])


def _row(number: str, at_ms: float, user: str, agent: str, wait: str, replies: list[Reply]) -> str:
    spent = [tokens(reply.usage) for reply in replies]
    read = sum(reply.usage.input for reply in replies if reply.usage is not None)
    cached = sum(used.get("cached", 0) for used in spent)
    made = sum(reply.usage.output for reply in replies if reply.usage is not None)
    known = [reply.cost_usd for reply in replies if reply.cost_usd is not None]
    reading = f"{read:,}<small>{cached:,} cached</small>" if cached else f"{read:,}"
    return (
        f'<tr><th scope="row">{number}</th><td class="t">{moment(at_ms)}</td><td data-l="User">{user}</td>'
        f'<td data-l="Agent">{agent}</td><td class="w" data-l="First sound after">{wait}</td>'
        f'<td class="n" data-l="Tokens in">{reading if read else ""}</td>'
        f'<td class="n" data-l="Tokens out">{f"{made:,}" if made else ""}</td>'
        f'<td class="n" data-l="Cost">{f"${sum(known):.4f}" if known else ""}</td></tr>'
    )


def _said(user: Utterance) -> str:
    if user.error:
        return f'<p class="bad">no transcript: {escape(clean(user.error))}</p>'
    if user.text:
        return f'<p dir="auto">{escape(clean(user.text))}</p>'
    return f'<p class="quiet">{"no transcript" if user.text_ms is None else "no words"}</p>'


def _reply(reply: Reply) -> str:
    parts = [f'<p dir="auto">{escape(clean(reply.text))}</p>'] if reply.text else []
    parts += [f'<p class="call">{escape(clean(name))}()</p>' for name in reply.tools]
    cut = [speech for speech in reply.speeches if speech.cut]
    if cut:
        heard, made = (sum(getattr(speech, name) for speech in reply.speeches) for name in ("heard_ms", "made_ms"))
        share = f", {heard / 1000:.1f} of {made / 1000:.1f} s heard" if heard < made else ""
        parts.append(f'<span class="remark cut">interrupted{share}</span>')
    elif reply.lost:
        parts.append('<span class="remark bad">lost with the connection</span>')
    elif reply.status not in ("", "completed"):
        why = ": ".join(filter(None, (reply.status, reply.reason)))
        parts.append(f'<span class="remark bad">{escape(clean(why))}</span>')
    return "".join(parts)


def _wait(wait: Wait, longest: float) -> str:
    """The number, and a bar of its four parts, as long as it is beside the longest."""
    values = (wait.noticing_ms, wait.asking_ms, wait.tools_ms, wait.making_ms)
    parts, x = [], 0.0
    for (name, _), value in zip(_PARTS, values, strict=True):
        width = max(0.0, value) * 100 / longest if longest > 0 else 0.0
        parts.append(f'<rect class="{name}" x="{x:.2f}%" width="{width:.2f}%" height="8"/>')
        x += width
    told = ", ".join(f"{name} {value:,.0f} ms" for (name, _), value in zip(_PARTS, values, strict=True))
    return (
        f'<strong>{wait.total_ms:,.0f} ms</strong><svg class="wait" role="img" width="100%" height="8" '
        f'aria-label="{told}"><title>{told}</title>{"".join(parts)}</svg>'
    )


def segments(facts: Facts) -> str:
    """A row for each piece of speech with the time its text took; "" for other sessions."""
    if facts.header.kind != "stt" or not facts.utterances:
        return ""
    rows = "".join(_segment(number, said) for number, said in enumerate(facts.utterances, 1))
    return (
        '<section aria-labelledby="segments"><h2 id="segments">Speech</h2>'
        '<div class="wide" tabindex="0" role="region" aria-labelledby="segments"><table>'
        '<thead><tr><th scope="col">#</th><th scope="col">At</th><th scope="col">Said</th>'
        '<th scope="col" class="n">First text after</th><th scope="col" class="n">Text after</th>'
        '<th scope="col" class="n">Billed</th><th scope="col" class="n">Cost</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _segment(number: int, said: Utterance) -> str:
    first, whole = (
        "" if at is None or said.end_ms is None else f"{at - said.end_ms:,.0f} ms"
        for at in (said.first_text_ms, said.text_ms)
    )
    billed = ""
    if said.usage is not None:
        billed = f"{said.usage.seconds:g} s" if said.usage.seconds else f"{said.usage.total:,} tokens"
    cost = "" if said.cost_usd is None else f"${said.cost_usd:.5f}"
    return (
        f'<tr><th scope="row">{number}</th><td class="t">{moment(said.start_ms)}</td>'
        f'<td data-l="Said">{_said(said)}</td><td class="n" data-l="First text after">{first}</td>'
        f'<td class="n" data-l="Text after">{whole}</td><td class="n" data-l="Billed">{billed}</td>'
        f'<td class="n" data-l="Cost">{cost}</td></tr>'
    )
