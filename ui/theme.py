"""The look: one accent, quiet surfaces, the system's own fonts. All colours come from TOKENS."""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr

STATIC = Path(__file__).parent / "static"
VIEWS = ("run", "runs", "compare", "settings")
"""Words in the address that open a view; without one of them the page begins a new run (`ui.shell`)."""
SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]

TOKENS = {
    # name: (light, dark). Text stands at least 4.5 to 1 before its ground, edges of inputs 3 to 1.
    "page": ("#fbfbfa", "#141517"),
    "rail": ("#f3f3f1", "#191b1d"),
    "surface": ("#ffffff", "#1c1e20"),
    "ink": ("#1b1d1f", "#e9e9e6"),
    "quiet": ("#5a5f63", "#a5a9ad"),
    "line": ("#e0e1df", "#303437"),
    "edge": ("#8d9297", "#6d7277"),
    "accent": ("#0f766e", "#2dd4bf"),
    "fill": ("#0f766e", "#0f766e"),
    "fill-hover": ("#115e59", "#115e59"),
    "on-fill": ("#ffffff", "#ffffff"),
    "wash": ("#e3f1ee", "#14322f"),
    "second": ("#b45309", "#f0a648"),
    "bad": ("#b42318", "#f98a80"),
    "bad-wash": ("#fdeeec", "#361b19"),
    "learned": ("#bfe9e1", "#0d4d46"),
}

# Gradio's variable: our token.
_PARTS = {
    "body_background_fill": "page",
    "body_text_color": "ink",
    "body_text_color_subdued": "quiet",
    "background_fill_primary": "page",
    "background_fill_secondary": "rail",
    "border_color_primary": "line",
    "border_color_accent": "accent",
    "color_accent_soft": "wash",
    "link_text_color": "accent",
    "link_text_color_hover": "accent",
    "link_text_color_active": "accent",
    "link_text_color_visited": "accent",
    "block_info_text_color": "quiet",
    "block_label_text_color": "ink",
    "block_label_background_fill": "page",
    "block_title_text_color": "ink",
    "accordion_text_color": "ink",
    "input_background_fill": "surface",
    "input_background_fill_focus": "surface",
    "input_border_color": "edge",
    "input_border_color_focus": "accent",
    "input_border_color_hover": "ink",
    "input_placeholder_color": "quiet",
    "checkbox_background_color": "surface",
    "checkbox_background_color_focus": "surface",
    "checkbox_background_color_hover": "surface",
    "checkbox_background_color_selected": "fill",
    "checkbox_border_color": "edge",
    "checkbox_border_color_focus": "accent",
    "checkbox_border_color_hover": "ink",
    "checkbox_border_color_selected": "fill",
    "checkbox_label_text_color": "ink",
    "error_background_fill": "bad-wash",
    "error_border_color": "bad",
    "error_text_color": "bad",
    "error_icon_color": "bad",
    "loader_color": "accent",
    "button_primary_background_fill": "fill",
    "button_primary_background_fill_hover": "fill-hover",
    "button_primary_border_color": "fill",
    "button_primary_border_color_hover": "fill-hover",
    "button_primary_text_color": "on-fill",
    "button_primary_text_color_hover": "on-fill",
    "button_secondary_background_fill": "surface",
    "button_secondary_background_fill_hover": "surface",
    "button_secondary_border_color": "edge",
    "button_secondary_border_color_hover": "accent",
    "button_secondary_text_color": "ink",
    "button_secondary_text_color_hover": "ink",
}


def theme() -> gr.themes.Base:
    """Gradio's components in the page's colours; nothing is loaded from outside."""
    values = {part: TOKENS[token][0] for part, token in _PARTS.items()}
    values |= {f"{part}_dark": TOKENS[token][1] for part, token in _PARTS.items()}
    plain = {"block_background_fill": "transparent", "panel_background_fill": "transparent"}
    plain |= {f"{part}_dark": value for part, value in plain.items()}
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.zinc,
        spacing_size=gr.themes.sizes.spacing_md,
        radius_size=gr.themes.sizes.radius_md,
        font=SANS,
        font_mono=MONO,
    ).set(
        **values,
        **plain,
        color_accent="var(--ts-accent)",  # the one colour that Gradio has no dark variant of
        block_border_width="0px",
        block_label_border_width="0px",
        block_shadow="none",
        block_padding="0px",
        block_title_text_weight="550",
        block_title_text_size="*text_md",
        block_info_text_size="*text_sm",
        button_border_width="1px",
        button_large_text_size="*text_md",
        button_large_text_weight="550",
        form_gap_width="0px",
        input_border_width="1px",
        input_radius="8px",
        layout_gap="1.25rem",
        checkbox_border_width="1px",
    )


def tokens() -> str:
    """TOKENS as CSS variables."""
    blocks = []
    for selector, column in ((":root", 0), (".dark", 1)):
        values = " ".join(f"--ts-{name}: {pair[column]};" for name, pair in TOKENS.items())
        blocks.append(f"{selector} {{ {values} }}")
    return "\n".join(blocks)


def views() -> str:
    """A rule that hides each view while the address asks for another."""
    return "\n".join(
        f"html:not([data-view={name}]) .ts-view-{name} {{ display: none !important; }}" for name in ("new", *VIEWS)
    )


def head() -> str:
    """What the page's head holds besides Gradio's own. A style sheet given to Gradio would be rewritten by it.

    Which view the page shows is decided by its address, before anything is drawn: `?run=ID`, `?runs`, … or a new run.
    """
    sheets = "".join(f'<link rel="stylesheet" href="tunesmith/static/{sheet.name}">' for sheet in sheets_in_order())
    return (
        f'<meta name="color-scheme" content="light dark"><style>{tokens()}{views()}</style>'
        "<script>document.documentElement.dataset.view = "
        f"{json.dumps(VIEWS)}.find((name) => new URLSearchParams(location.search).has(name)) || 'new'</script>"
        f'{sheets}<script type="module" src="tunesmith/static/page.js"></script>'
    )


def sheets_in_order() -> list[Path]:
    """The style sheets: page.css, then those of single parts of the page."""
    return sorted(STATIC.glob("*.css"), key=lambda sheet: (sheet.name != "page.css", sheet.name))


def favicon() -> str:
    return str(STATIC / "icon.svg")
