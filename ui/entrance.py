"""The pages before the page: the password, a recovery link, a link that is too old. Plain HTML, without a script."""

from __future__ import annotations

from html import escape

from ui.theme import SANS, TOKENS

NO_PASSWORD = ("This page has a password.", "Reload it and enter the password.")
NO_COOKIE = (
    "It is not known whose runs you are asking for.",
    "Reload the page. If this comes again, let your browser keep cookies of this page.",
)
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}, Tunesmith</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">
<meta name="color-scheme" content="light dark"><style>{style}</style></head>
<body><main><h1>{title}</h1>{body}</main></body></html>"""
_STYLE = """
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--page); color: var(--ink);
  font: 1rem/1.55 {font}; }}
main {{ width: min(24rem, calc(100vw - 2.5rem)); display: grid; gap: 1rem; padding: 2rem 0; }}
h1 {{ font-size: 1.5rem; line-height: 1.25; margin: 0; }}
p {{ margin: 0; }}
form {{ display: grid; gap: 0.5rem; margin: 0; }}
label {{ font-weight: 600; }}
input, button, a.other {{ font: inherit; min-height: 44px; border-radius: 8px; box-sizing: border-box; }}
input {{ padding: 0 0.75rem; border: 1px solid var(--edge); background: var(--surface); color: var(--ink); }}
button {{ margin-top: 0.5rem; border: 0; background: var(--fill); color: var(--on-fill);
  font-weight: 600; cursor: pointer; }}
button:hover {{ background: var(--fill-hover); }}
a.other {{ display: grid; place-items: center; border: 1px solid var(--edge); color: var(--ink);
  text-decoration: none; }}
:focus-visible {{ outline: 3px solid var(--accent); outline-offset: 2px; }}
.problem {{ border-left: 3px solid var(--bad); padding-left: 0.75rem; color: var(--bad); }}
"""


def password(root: str, place: str, problem: str = "") -> str:
    """Asks for the password. `place`: where the person wanted to go. `problem`: what was wrong the last time.

    root: here and below, what the page's paths begin with.
    """
    told = f"<p class='problem' id='problem' role='alert'>{escape(problem)}</p>" if problem else ""
    marks = " aria-invalid='true' aria-describedby='problem'" if problem else ""
    return _page(
        "Enter the password",
        "<p>Whoever shares this page with you knows it. Your runs and files are yours alone all the same: other "
        "visitors don't see them.</p>"
        f"{told}<form method='post' action='{escape(root, quote=True)}/tunesmith/enter'>"
        f"<input type='hidden' name='place' value='{escape(place, quote=True)}'>"
        "<label for='password'>Password</label>"
        "<input id='password' name='password' type='password' autocomplete='current-password' required autofocus"
        f"{marks}>"
        "<button>Open the page</button></form>",
    )


def waiting(seconds: float) -> str:
    return f"That was too often wrong. Nothing is looked at now; try again in {_span(seconds)}."


def wrong(wait: float) -> str:
    return f"That is not the password. Try again{f' in {_span(wait)}' if wait else ''}."


def recovery(root: str) -> str:
    """Asks whether this browser is to become the owner of the link."""
    return _page(
        "Open these runs here?",
        "<p>The link that you opened shows the runs and files of its owner. From now on this browser will be that "
        "owner: what you start or upload here will be seen by everybody who has the link. Go on only if it is "
        "your own.</p>"
        "<p>Runs that this browser has made so far stay with the recovery link that its settings showed.</p>"
        f"<form method='post' action='{escape(root, quote=True)}/tunesmith/recover'>"
        "<button>Open them here</button></form>"
        f"<a class='other' href='{escape(root, quote=True)}/'>Leave it</a>",
    )


def link_is_old(root: str) -> str:
    return _page(
        "This link opens nothing",
        "<p>It is incomplete, or too old: the host's link changes with each start. Take it anew from where you got it."
        f"</p><a class='other' href='{escape(root, quote=True)}/'>Go to the page</a>",
    )


def _page(title: str, body: str) -> str:
    light, dark = (" ".join(f"--{name}: {pair[column]};" for name, pair in TOKENS.items()) for column in (0, 1))
    colours = f":root {{ {light} }} @media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    font = ", ".join(f'"{name}"' if " " in name else name for name in SANS)
    return _PAGE.format(title=title, style=colours + _STYLE.format(font=font), body=body)


def _span(seconds: float) -> str:
    whole = int(seconds) + 1
    return f"{whole} second{'' if whole == 1 else 's'}" if whole < 90 else f"{round(whole / 60)} minutes"
