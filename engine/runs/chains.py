"""Chains: several runs as one plan, made at once, each starting when those before it have finished.

Its runs are ordinary ones and are stopped, resumed and looked at as such; here is what is done with all of them.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from engine import objectives, tuners
from engine.data import history
from engine.errors import MachineError, RunError, SettingError, UserError
from engine.judging.measures import measure
from engine.runs import links, queue, store, view
from engine.runs.about import LONGEST_NAME
from engine.runs.index import index, reading
from engine.runs.links import Chain, Link
from engine.runs.store import ACTIVE, Run

if TYPE_CHECKING:  # what they load, whoever only looks has no use for
    from engine.data.prepare import Prepared
    from engine.runs.alone import Single
    from engine.runs.stages import Stages
    from engine.specs.spec import RunSpec

    Part = tuple[Link, RunSpec, Prepared]
    """A link whose run is yet to be made, its spec and rows."""

get, listed, of, beside = links.get, links.listed, links.of, links.beside
is_chain, places = links.is_chain, links.places
DELETED = "deleted"
TRIES = 5
"""Times that a stop is tried again because another run's turn came in between."""


def create(plan: Stages, prepared: list[Prepared], owner: str = "local") -> Chain:
    """Make all runs of a plan, none of which starts yet (`start`).

    prepared: the rows of each stage, as `Stages.check` gives them. Raises UserError as `store.create`; then nothing
    is left.
    """
    from engine.runs import stages

    parts: list[Part] = []
    for number, spec in enumerate(plan.specs, 1):
        needs = tuple(one - 1 for one in stages.needs(spec))
        parts.append((Link("", stages.title(number), number, needs), spec, prepared[number - 1]))
    if plan.compared is not None:
        spec, left_out = plan.alone(), plan.line(plan.compared)
        needs = tuple(one - 1 for one in stages.needs(spec))
        title = f"{stages.title(plan.compared)} without {listing(left_out)}"
        parts.append((Link("", title, plan.compared, needs, left_out), spec, prepared[plan.compared - 1]))
    return _made(parts, plan.name or " → ".join(spec.objective.name for spec in plan.specs), owner)


def create_singles(whole: Run, found: Sequence[Single]) -> Chain:
    """Make the runs that each learn one data set of a run alone, none of which starts yet (`start`).

    found: as `engine.runs.alone.singles` gives them. Raises UserError as `store.create`; then nothing is left.
    """
    parts = [(Link("", f"{one.name} alone", number), one.spec, one.rows) for number, one in enumerate(found, 1)]
    return _made(parts, f"{whole.name}: each data set alone", whole.owner, whole.id)


def _made(parts: Sequence[Part], name: str, owner: str, beside: str = "") -> Chain:
    """The chain of these runs, which are made."""
    from engine.runs import stages

    made: list[Run] = []
    chained: list[Link] = []
    ids: dict[int, str] = {}
    try:
        for link, spec, rows in parts:
            run = store.create(_titled(stages.named(spec, ids), link), rows, owner)
            made.append(run)
            if not link.without:
                ids[link.number] = run.id
            chained.append(Link(run.id, link.title, link.number, link.needs, link.without))
        now = time.time()
        ending = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(8))
        id = time.strftime("chain-%Y%m%d-%H%M%S-", time.gmtime(now)) + ending
        chain = Chain(id, owner, name[:LONGEST_NAME], now, tuple(chained), beside)
        links.write(chain)
    except (UserError, OSError) as error:
        for run in reversed(made):
            store.delete(run)
        if isinstance(error, OSError):
            raise MachineError(f"The chain can't be written: {error.strerror}.", "Make room on the disk.") from None
        raise
    return chain


def start(chain: Chain) -> None:
    """Put the first run in the queue. Where this is cut off, whoever looks after the runs next does it."""
    links.get(chain.id)
    queue.advance()


def runs(chain: Chain) -> list[Run | None]:
    """The chain's runs in its order; None for one that was deleted."""
    found: list[Run | None] = []
    for link in chain.links:
        try:
            found.append(store.get(link.run))
        except RunError:
            found.append(None)
    return found


def stop(chain: Chain) -> None:
    """Stop the run that is at work; nothing of the chain starts until `resume`.

    Raises RunError where nothing is on its way.
    """
    for _ in range(TRIES):
        with index() as rows:
            known = links.states(rows, chain)
            link = links.at(chain, known)
            state = known.get(link.run) if link else None
            if link is not None and state == "created":  # its turn was just to come
                run = store.get(link.run)
                try:
                    (run.folder / "stop").touch()  # says so should the index be lost
                except OSError as error:
                    raise MachineError(
                        f"The chain can't be stopped: {error.strerror}.", "Make room on the disk, then try again."
                    ) from None
                rows.execute("UPDATE runs SET state = 'stopped' WHERE id = ?", (run.id,))
                return
        if link is None or state not in ACTIVE:
            raise RunError("Nothing of this chain is on its way.", "Resume it to go on.")
        if state == "stopping":
            return
        try:
            queue.stop(store.get(link.run))
            return
        except RunError:
            continue  # it has just ended, and the next one's turn came
    raise RunError("The chain moves too fast to be stopped.", "Try again.")


def resume(chain: Chain) -> Run:
    """Go on where it stopped or broke; the run that does. Raises RunError where there is nothing to resume."""
    link = at(chain)
    if link is None:
        raise RunError("All of this chain has finished.", "Start a new one to train on.")
    try:
        run = store.get(link.run)
    except RunError:
        raise RunError(
            f"The run of {link.title.lower()} was deleted, so the chain can't go on.",
            "Start the runs after it by themselves, or delete the chain.",
        ) from None
    if run.state == "created":
        queue.advance()
    else:
        queue.resume(run)
    return store.get(run.id)


def delete(chain: Chain) -> None:
    """Remove a chain with all its runs. Raises RunError while one is on its way, or is needed by another run."""
    found = [run for run in runs(chain) if run is not None]
    active = next((run for run in found if run.state in ACTIVE), None)
    if active is not None:
        raise RunError(f"Run {active.id} of this chain is {active.state}.", "Stop the chain first, then delete it.")
    for run in reversed(found):
        store.delete(run)
    links.forget(chain)


def at(chain: Chain) -> Link | None:
    """Where the chain is: its first link whose run has not finished; None at the end."""
    with reading() as rows:
        return links.at(chain, links.states(rows, chain))


# What it looks like


def picture(chain: Chain) -> dict[str, Any]:
    """Plain values, for a page or a terminal: the stages with their states and scores, where it is, what came of it.

    state: "waiting" where it goes on only when somebody resumes it, "broken" where a run is gone, else as of a run.
    before, after: the main score, in `unit` (see `engine.judging.measures`). whole: the run on all data sets of which
    each stage learns one alone; verdicts: what came of each comparison.
    """
    found = runs(chain)
    here = at(chain)
    lines = [_line(link, run) for link, run in zip(chain.links, found, strict=True)]
    for line in lines:
        line["alone"] = line["alone"] or bool(chain.beside)
    states = {link.run: line["state"] for link, line in zip(chain.links, lines, strict=True)}
    now = states[here.run] if here else "finished"
    if here is not None:
        for line, link in zip(lines, chain.links, strict=True):
            if line["state"] == "created":
                line["waits"] = "next" if link is here else _waits(here, now)
    state = {"created": "queued", "stopped": "waiting", "failed": "waiting", DELETED: "broken"}.get(now, now)
    return {
        "id": chain.id,
        "name": chain.name,
        "created": chain.created,
        "state": state,
        "says": _says(chain, here, now),
        "stages": lines,
        "whole": _line(Link(chain.beside, "All together", 0), _whole(chain)) if chain.beside else None,
        "verdicts": _verdicts(chain, found),
    }


def waits(run: Run) -> str:
    """For what a run waits that is yet to start ("waits for stage 1"); empty where it may start at any time."""
    chain = of(run.id) if run.state == "created" else None
    lines = picture(chain)["stages"] if chain else []
    return next((str(line["waits"]) for line in lines if line["run"] == run.id), "")


def _line(link: Link, run: Run | None) -> dict[str, Any]:
    line: dict[str, Any] = {
        "run": link.run,
        "title": link.title,
        "number": link.number,
        "alone": bool(link.without),
        "state": run.state if run else DELETED,
        "waits": "",
    }
    if run is None:
        return line
    found = view.summary(run)
    line |= {name: found[name] for name in ("name", "percent", "model", "before", "after", "unit", "problem")}
    line["data"] = history.unmarked(run.about.data)
    line["objective"] = _title(objectives, run.about.objective)
    line["tuner"] = _title(tuners, run.about.tuner)
    line["main"] = measure(found["main"]).title if found["main"] else None
    return line


def _title(registry: Any, name: str) -> str:
    try:
        return brief(str(registry.get(name).title))
    except SettingError:  # settings of another version
        return name


def brief(title: str) -> str:
    """A method's title without what it says in brackets."""
    return title.partition(" (")[0]


def _waits(here: Link, state: str) -> str:
    title = here.title.lower()
    return {
        "stopped": f"waits until {title} is resumed",
        "failed": f"waits until {title} is resumed",
        DELETED: f"does not start by itself, since {title} was deleted",
    }.get(state, f"waits for {title}")


def _says(chain: Chain, here: Link | None, state: str) -> str:
    if here is None:
        return f"All {len(chain.links)} runs have finished."
    told = {
        "running": "is at work",
        "stopping": "stops at its next step",
        "stopped": "was stopped; what comes after it waits. Resume it to go on",
        "failed": "broke; what comes after it waits. Resume it to go on",
        DELETED: "was deleted, so what comes after it does not start by itself",
    }.get(state, "waits for its turn")
    place = chain.links.index(here) + 1
    return f"{here.title} ({place} of {len(chain.links)}) {told}."


def _whole(chain: Chain) -> Run | None:
    try:
        return store.get(chain.beside, chain.owner)
    except RunError:
        return None


def _verdicts(chain: Chain, found: list[Run | None]) -> list[dict[str, Any]]:
    """What came of the comparisons that were asked for, as far as it is known."""
    if chain.beside:
        from engine.runs import alone

        return alone.verdicts(found, [link.title.removesuffix(" alone") for link in chain.links], _whole(chain))
    told = _verdict(chain, found)
    return [told] if told else []


def _verdict(chain: Chain, found: list[Run | None]) -> dict[str, Any] | None:
    """Whether a stage is better for those before it; None where that was not asked, or is not known yet."""
    second = next((place for place, link in enumerate(chain.links) if link.without), None)
    if second is None:
        return None
    link = chain.links[second]
    first = next(place for place, one in enumerate(chain.links) if one.number == link.number and not one.without)
    with_it, without = found[first], found[second]
    if with_it is None or without is None or {with_it.state, without.state} != {"finished"}:
        return None
    files = (run.folder / "events.jsonl" for run in (without, with_it))
    try:
        changed = tuple(path.stat().st_mtime_ns for path in files)
        told = _compared(without, with_it, link.without, changed)
    except (UserError, OSError):
        return None
    return {**told, "with": with_it.id, "without": without.id}


@lru_cache(maxsize=100)
def _compared(without: Run, with_it: Run, left_out: tuple[int, ...], changed: tuple[int, ...]) -> dict[str, Any]:
    from engine.runs import comparison

    what = listing(left_out)
    names = f"the run without {what}", f"the run with {'it' if len(left_out) == 1 else 'them'}"
    found = comparison.compare(without, with_it, names)
    begun = what[0].upper() + what[1:]
    headline = {comparison.B: f"{begun} helped", comparison.A: f"{begun} did harm"}.get(found.better)
    if headline is None:
        headline = f"Whether {what} helped can't be told" + (" from chance" if found.difference else "")
    return {"headline": headline, "sentence": found.sentence, "data": found.data}


def listing(numbers: tuple[int, ...]) -> str:
    """ "stage 1", or "stages 1 and 2"."""
    if len(numbers) == 1:
        return f"stage {numbers[0]}"
    return f"stages {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _titled(spec: RunSpec, link: Link) -> RunSpec:
    """The spec with a name by which its run is known as a part of the chain."""
    name = spec.name or f"{link.title}: {spec.objective.name}, {spec.tuner.name}"
    if spec.name and link.without:
        name = f"{spec.name}, without {listing(link.without)}"
    return replace(spec, name=name[:LONGEST_NAME])
