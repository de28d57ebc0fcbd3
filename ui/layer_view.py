"""The picture of a model's layers as markup: what is frozen and what learns, in shapes and in words."""

from __future__ import annotations

from html import escape

from engine.offers import Cost
from engine.planning.layer_picture import WHOLE, Band, Part, Picture
from ui import model_cards, words

TITLES = {
    "head": "Classifier",
    "language head": "Language head",
    "last norm": "Last norm",
    "rest": "Other weights",
    "embeddings": "Embeddings",
    "input": "Before each text",
}
NARROWEST = 3
"""Per cent of a bar that the smallest part of a layer is drawn with, and of a part that the least that learns is."""


def shown(picture: Picture, cost: Cost | None, tuner: str) -> str:
    """tuner: its title."""
    bands = "".join(_band(band, picture) for band in picture.bands)
    told = model_cards.cost(cost)[0] if cost else ""
    memory = f"<p class='ts-quiet'>{words.bound(escape(told))}</p>" if told else ""
    return (
        f"<section class='ts-layers' aria-label='Layers with {escape(tuner, quote=True)}'>"
        f"<p class='ts-lead'>{words.bound(escape(_headline(picture)))}</p>{memory}{_legend(picture)}"
        f"<ol class='ts-bands'>{bands}</ol></section>"
    )


def missing(reason: str) -> str:
    return f"<section class='ts-layers'>{words.waiting(reason)}</section>"


def _headline(picture: Picture) -> str:
    if not picture.learned:
        return f"All {picture.total:,} weights of the model stay as they are."
    if picture.learned == picture.total:
        told = f"All {picture.total:,} weights learn"
    else:
        share = f"{100 * picture.learned / picture.total:.2g} %"
        told = f"{picture.learned:,} of {picture.total:,} weights learn ({share})"
    return f"{told}, and a new classifier on top." if picture.per_label else f"{told}."


def _legend(picture: Picture) -> str:
    heads = any(band.place == "head" for band in picture.bands)
    kinds = [
        ("frozen", "stays as it is", picture.learned < picture.total),
        ("learns", "learns", bool(picture.learned) and not picture.adds),
        ("added", "added, and learns", picture.adds or heads),
    ]
    items = "".join(f"<li><i class='ts-{kind}'></i>{escape(told)}</li>" for kind, told, there in kinds if there)
    parts = "<li>A layer from the left: attention, feed-forward, norms</li>"
    return f"<ul class='ts-legend' aria-hidden='true'>{items}{parts}</ul>"


def _band(band: Band, picture: Picture) -> str:
    drawn = "".join(_bar(band, picture.adds) for _ in range(band.count)) if band.parts else _bare(band)
    tall = " ts-thin" if band.count > 1 else ""
    return (
        f"<li><span class='ts-band-title'>{escape(_title(band))}</span>"
        f"<span class='ts-bars{tall}' aria-hidden='true'>{drawn}</span>"
        f"<span class='ts-band-told'>{escape(_told(band, picture))}</span></li>"
    )


def _title(band: Band) -> str:
    if band.place != "layer":
        return TITLES[band.place]
    return f"Layer {band.first}" if band.count == 1 else f"Layers {band.first} to {band.last}"


def _bar(band: Band, adds: bool) -> str:
    sizes = [max(part.total, part.learned, 1) for part in band.parts]
    shares = [max(NARROWEST, 100 * size / sum(sizes)) for size in sizes]
    cells = "".join(_cell(part, share, adds) for part, share in zip(band.parts, shares, strict=True))
    return f"<span class='ts-layer'>{cells}</span>"


def _cell(part: Part, share: float, adds: bool) -> str:
    whole = max(part.total, part.learned, 1)
    width = max(2 * NARROWEST, 100 * part.learned / whole) if part.learned else 0
    kind = "ts-added" if adds else "ts-learns"
    inside = f"<i class='{kind}' style='width:{min(100.0, width):.1f}%'></i>" if width else ""
    return f"<span class='ts-frozen' style='flex:{share:.1f}'>{inside}</span>"


def _bare(band: Band) -> str:
    """A new head, all of which learns; or one that is the embeddings again."""
    kind = "ts-added" if band.place == "head" else "ts-frozen"
    return f"<span class='ts-layer'><span class='{kind}' style='flex:1'></span></span>"


def _told(band: Band, picture: Picture) -> str:
    if band.place == "head":
        if picture.per_label:
            return f"new: {picture.per_label:,} weights for each label learn"
        return "new: fitted to what the model makes of each text"
    if band.place == "language head" and not band.parts:
        return "the embeddings, used once more"
    told = _learned(band, picture)
    if band.joins:
        first, last = (f"{100 * share:.0f} %" for share in band.joins)
        told += _joining(band, first, last, band.joins[0])
    if band.read:
        told += "; the classifier reads what comes out here"
    return told


def _learned(band: Band, picture: Picture) -> str:
    several = band.count > 1
    if not band.learned:
        return "stay as they are" if several or band.place in ("embeddings", "rest") else "stays as it is"
    each = " in each" if several else ""
    if picture.adds:
        return f"{band.learned:,} weights added{each}{_parts(band)}"
    if band.learned == band.total:
        return f"all {band.total:,} weights{' of each' if several else ''} learn"
    return f"{band.learned:,} of {band.total:,} weights{each} learn{_parts(band)}"


def _parts(band: Band) -> str:
    found = [f"{part.name} {part.learned:,}" for part in band.parts if part.learned and part.name != WHOLE]
    return f": {', '.join(found)}" if found else ""


def _joining(band: Band, first: str, last: str, begins: float) -> str:
    if band.count == 1:
        return f", from {last} of the run on"
    start = "from the start" if not begins else f"from {first} of the run on"
    return f", one after another: the topmost {start}, the lowest from {last} on"
