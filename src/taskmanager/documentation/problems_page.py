"""The page of all kinds of problems, to which the `type` of every problem leads."""

from html import escape
from typing import Final

from taskmanager.http.problem_kinds import PROBLEM_KINDS, ProblemKind

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - Problems</title>
<link rel="icon" href="{favicon}">
<link rel="stylesheet" href="{style}">
</head>
<body class="text">
<h1>Problems</h1>
<p>Every error of the API is a document of the type <code>application/problem+json</code> (RFC 9457). Its
<code>code</code> is one of these, stable and made for programs; its <code>type</code> leads here. There may be other
codes later: treat an unknown one by its status. <code>request_id</code> names the request in the log.</p>
{kinds}
</body>
</html>
"""
_KIND: Final = """\
<section id="{code}">
<h2><code>{code}</code> <small>{status}</small></h2>
<p>{meaning}</p>
<p><strong>Way out:</strong> {way_out}</p>
{members}</section>"""


def problems_page(title: str, *, favicon: str, style: str) -> str:
    """Return the page as HTML, with these addresses of its icon and its style sheet."""
    kinds = "\n".join(_section(kind) for kind in PROBLEM_KINDS.values())
    return _PAGE.format(title=escape(title), favicon=favicon, style=style, kinds=kinds)


def _section(kind: ProblemKind) -> str:
    members = "".join(
        f"<li><code>{escape(name)}</code>: {_text(schema['description'])}</li>\n"
        for name, schema in kind.members.items()
    )
    return _KIND.format(
        code=kind.code,
        status=kind.status,
        meaning=_text(kind.meaning),
        way_out=_text(kind.way_out),
        members=f"<ul>\n{members}</ul>\n" if members else "",
    )


def _text(text: str) -> str:
    """Return text as HTML, with what stands between backquotes as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
