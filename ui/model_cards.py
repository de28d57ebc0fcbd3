"""Base models as cards: what they are good for, and what they take of this machine."""

from __future__ import annotations

from collections.abc import Sequence

from engine import offers
from engine.bases.model_search import Found
from engine.offers import Choice, Cost, Offer
from engine.runs import store
from ui import chaining, choices, owner, words
from ui.choices import Card, Cards

INPUT = "ts-model"
"""elem_id of the input that keeps the chosen model."""


def offered(chosen: str, choice: Choice, chain: str = "") -> str:
    """What is offered without a search; what has to be downloaded is folded.

    chain: the stages that stand ready before this one, as `ui.chaining` writes them.
    """
    mine = store.listed(owner=owner.current())
    before = chaining.offered(chaining.read(chain))
    groups = [*before, *offers.groups(choice, mine, folders=owner.visitor().is_host)]
    cards = [
        Cards(
            group.title,
            [_card(offer) for offer in group.offers],
            folded=group.title == offers.TRIED,
            told=", ".join(offer.title for offer in group.offers),
        )
        for group in groups
    ]
    return choices.fieldset(INPUT, "Base model", cards, chosen) + _note()


def results(found: Sequence[Found], chosen: str, choice: Choice) -> str:
    cards = [_card(offer) for offer in offers.found(found, choice)]
    return choices.fieldset(INPUT, "Found on the Hub", [Cards("", cards)], chosen)


def _note() -> str:
    return (
        f"<p class='ts-quiet ts-cost-note'>Memory is for rows of {offers.TYPICAL_TOKENS} tokens; the plan counts "
        "with your own.</p>"
    )


def _card(offer: Offer) -> Card:
    facts = [f"{amount(offer.parameters)} weights"] if offer.parameters else []
    facts += [f"licence {offer.license}"] if offer.license else []
    facts += ["gated: agree to its terms first"] if offer.gated else []
    said, mood = _cost(offer)
    return Card(offer.id, offer.title, offer.note, tuple(facts), said=said, mood=mood)


def _cost(offer: Offer) -> tuple[str, choices.Mood]:
    if offer.goes_with:
        return f"Goes with: {offer.goes_with}.", "plain"
    if offer.refusal:
        return offer.refusal, "bad"
    if offer.cost is None:
        return "What it takes of this machine is said in the plan.", "plain"
    return cost(offer.cost)


def cost(cost: Cost) -> tuple[str, choices.Mood]:
    """What training takes of this machine, in a sentence, and whether it fits."""
    guessed = ", guessed from its size" if cost.basis == "its size" else ""
    there = f"{words.size(cost.bytes)} of {words.size(cost.available)} of memory{guessed}"
    if not cost.fits:
        return f"Does not fit: {there}.", "bad"
    return (f"Tight: {there}.", "tight") if cost.is_tight else (f"Fits: {there}.", "good")


def amount(parameters: int) -> str:
    return f"{parameters / 1e9:.1f} billion" if parameters >= 1e9 else f"{parameters / 1e6:.0f} million"
