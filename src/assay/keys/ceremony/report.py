"""The ceremony as people read it: what was decided, who did what and when, what went otherwise, and the words.

Invariant: it is made from an ``Audit`` alone, so it says nothing that was not checked; text from the stick is escaped.
"""

from datetime import datetime
from html import escape

from assay.keys.ceremony.assembling import Progress
from assay.keys.ceremony.audit import Audit
from assay.keys.ceremony.differences import describe_changes
from assay.keys.ceremony.transcript import Entry
from assay.keys.ceremony.words import fingerprint_words, render_words

_STYLE = (
    "body{font:16px/1.5 Georgia,serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#1c1c1c;background:#fff}"
    "h1{font-size:1.7rem}h2{font-size:1.2rem;margin-top:2rem}pre{font-size:1.05rem;background:#f5f2ea;padding:1rem;"
    "overflow-x:auto}table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;"
    "padding:.35rem .6rem;border-bottom:1px solid #ddd}code{font-size:.8rem;word-break:break-all}"
    ".exception{color:#8a1c00;font-weight:bold}.open{color:#8a1c00}@media print{body{margin:0}}"
    "@media (prefers-color-scheme:dark){body{color:#e8e4da;background:#171614}pre{background:#26241f}"
    "td,th{border-color:#444}.exception,.open{color:#ff9d7a}}"
)


def render_text(audit: Audit, now: datetime) -> str:
    """The report as plain text, 100 columns or less where the facts allow it."""
    plan = audit.case.plan
    parts = [
        f"CEREMONY REPORT - {plan.index}",
        "=" * (18 + len(plan.index)),
        plan.purpose + (" (REHEARSAL: worth nothing)" if plan.rehearsal else ""),
        f"plan sha256 {plan.sha256}",
        "",
        "Words of the fingerprint, to be read aloud:",
        render_words(fingerprint_words(audit.case.fingerprint)),
        f"fingerprint sha256 {audit.case.fingerprint}",
        "",
        "What it changes",
        *(f"- {line}" for line in describe_changes(audit.case, audit.entries[0].time)),
        "",
        "Signatures",
        *(f"- {describe_progress(one)}" for one in audit.progress),
        "",
        "What happened",
    ]
    for entry in _in_order(audit):
        parts.append(_entry_line(entry, audit))
        parts += [f"      {name}: {value}" for name, value in sorted(entry.facts.items())]
        parts += [f"      EXCEPTION: {line}" for line in entry.exceptions]
    parts += ["", "Open points" if audit.open_points else "No open points."]
    parts += [f"- {point}" for point in audit.open_points]
    parts.append(f"Checked on {now:%Y-%m-%d %H:%M} UTC; last entry sha256 {audit.entries[-1].sha256}")
    return "\n".join(parts) + "\n"


def render_html(audit: Audit, now: datetime) -> str:
    """The report as one HTML page that loads nothing."""
    plan = audit.case.plan
    title = escape(f"Ceremony report: {plan.index}")
    changes = "".join(f"<li>{escape(line)}</li>" for line in describe_changes(audit.case, audit.entries[0].time))
    signatures = "".join(f"<li>{escape(describe_progress(one))}</li>" for one in audit.progress)
    rows = "".join(_row(entry, audit) for entry in _in_order(audit))
    points = "".join(f'<li class="open">{escape(point)}</li>' for point in audit.open_points)
    rehearsal = "<p><strong>A rehearsal: worth nothing.</strong></p>" if plan.rehearsal else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{title}</h1><p>{escape(plan.purpose)}</p>{rehearsal}"
        f"<h2>Words of the fingerprint, to be read aloud</h2>"
        f"<pre>{escape(render_words(fingerprint_words(audit.case.fingerprint)))}</pre>"
        f"<p><code>sha256 {audit.case.fingerprint}</code></p>"
        f"<h2>What it changes</h2><ul>{changes}</ul><h2>Signatures</h2><ul>{signatures}</ul>"
        f"<h2>What happened</h2><table><thead><tr><th>#</th><th>when (UTC)</th><th>step</th><th>who, where</th>"
        f"<th>facts</th></tr></thead><tbody>{rows}</tbody></table>"
        f"<h2>Open points</h2><ul>{points or '<li>none</li>'}</ul>"
        f"<p>Plan <code>sha256 {plan.sha256}</code><br>last entry <code>sha256 {audit.entries[-1].sha256}</code><br>"
        f"checked on {now:%Y-%m-%d %H:%M} UTC</p></body></html>\n"
    )


def _in_order(audit: Audit) -> list[Entry]:
    """The entries, each copy's before the one that brought them home."""
    return [one for entry in audit.entries for one in (*audit.branches.get(entry.number, ()), entry)]


def _row(entry: Entry, audit: Audit) -> str:
    facts = "<br>".join(f"{escape(name)}: {escape(value)}" for name, value in sorted(entry.facts.items()))
    exceptions = "".join(f'<div class="exception">exception: {escape(line)}</div>' for line in entry.exceptions)
    seals = f"<div>sealed by {escape(', '.join(audit.seals[entry.sha256]))}</div>" if audit.seals[entry.sha256] else ""
    return (
        f"<tr><td>{entry.number}</td><td>{entry.time:%Y-%m-%d %H:%M:%S}</td><td>{escape(entry.step)}</td>"
        f"<td>{escape(entry.operator)}, {escape(entry.machine)}</td><td>{facts}{exceptions}{seals}</td></tr>"
    )


def _entry_line(entry: Entry, audit: Audit) -> str:
    seals = audit.seals[entry.sha256]
    sealed = f", sealed by {', '.join(seals)}" if seals else ""
    return (
        f"{entry.number:>4}  {entry.time:%Y-%m-%d %H:%M:%S}  {entry.step} ({entry.operator} on {entry.machine}{sealed})"
    )


def describe_progress(one: Progress) -> str:
    """How far a role is, in words."""
    before = f", of the previous root's keys {one.before[0]} of the {one.before[1]} needed" if one.before else ""
    state = "complete" if one.complete else "NOT COMPLETE"
    have = ", ".join(one.have) or "nobody"
    return f"{one.role}: {state}: {one.after[0]} of the {one.after[1]} needed{before}; signed by {have}"
