"""The look: one accent, quiet surfaces, the system's own fonts. Light and dark come from the same tokens."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

STATIC = Path(__file__).parent / "static"
_SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def theme() -> gr.themes.Base:
    """Gradio's components in the page's colours; nothing is loaded from outside."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.zinc,
        font=_SANS,
        font_mono=_MONO,
        radius_size=gr.themes.sizes.radius_md,
    ).set(
        body_background_fill="#fbfbfa",
        body_background_fill_dark="#151617",
        body_text_color="#1d1f21",
        body_text_color_dark="#e7e7e4",
        body_text_color_subdued="#5c6064",
        body_text_color_subdued_dark="#a5a8ab",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_shadow="none",
        block_label_text_color="#1d1f21",
        block_label_text_color_dark="#e7e7e4",
        block_title_text_color="#1d1f21",
        block_title_text_color_dark="#e7e7e4",
        block_info_text_color="#5c6064",
        block_info_text_color_dark="#a5a8ab",
        input_background_fill="#ffffff",
        input_background_fill_dark="#1d1f20",
        input_border_color="#c9cbcc",
        input_border_color_dark="#46494c",
        button_primary_background_fill="#0f766e",
        button_primary_background_fill_dark="#0f766e",
        button_primary_background_fill_hover="#115e59",
        button_primary_background_fill_hover_dark="#115e59",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
    )


def head() -> str:
    """Style and scripts of the page, inline. As Gradio's `css` the style would be rewritten to its container."""
    style, script = ((STATIC / name).read_text(encoding="utf-8") for name in ("page.css", "live.js"))
    return f'<meta name="color-scheme" content="light dark"><style>{style}</style><script>{script}</script>'
