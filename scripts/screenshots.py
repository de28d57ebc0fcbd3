"""Makes pictures of every screen of the page: `python scripts/screenshots.py --to FOLDER [--only NAME …]`.

Each is taken on a desktop and a phone, in light and dark. Without --to those that the docs use go into docs/images.
The page runs on a home of its own, with a real sample run in it; --home names a home that has one already, which saves
the minutes that it takes. Needs Playwright and Chromium.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from PIL import Image  # noqa: E402 - a script finds the checkout's packages after the line above
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

from scripts import screens, stage  # noqa: E402
from tests.browser.server import launch  # noqa: E402

IMAGES = CHECKOUT / "docs" / "images"
VARIANTS = {
    "": ((1280, 860), False),
    "-dark": ((1280, 860), True),
    "-phone": ((390, 844), False),
    "-phone-dark": ((390, 844), True),
}
NAMES = [screens.LIVE, *(name for journey in screens.JOURNEYS for name in journey.names)]
DESKTOP_LIGHT = "data-found model plan run result talk push runs share-password".split()
DOCS = {
    **{f"page{suffix}": ("run", f"-first{suffix}") for suffix in VARIANTS},
    **{f"new{suffix}": ("data-empty", f"-first{suffix}") for suffix in VARIANTS},
    **{name: (name, "") for name in DESKTOP_LIGHT},
    "compare": ("compare", "-first"),
    "result-phone-dark": ("result", "-phone-dark"),
}
"""Pictures of the docs: which screen, and which picture of it."""
COLOURS = 256
TIMEOUT_MS = 30_000


CUT = """() => [...document.querySelectorAll("main *:not(svg *)")].filter((node) => {
  const box = node.getBoundingClientRect();
  if (!box.width || box.right <= document.documentElement.clientWidth + 1 || !node.checkVisibility()) return false;
  for (let up = node.parentElement; up && up.tagName !== "MAIN"; up = up.parentElement)
    if (getComputedStyle(up).overflowX !== "visible") return false;
  return true;
}).slice(0, 3).map((node) => `<${node.tagName.toLowerCase()} class="${node.className}">`)"""
"""What is cut off at the right. The page clips what is too wide, so the document's own width does not tell."""


@dataclass
class Camera:
    browser: Browser
    folder: Path
    wanted: set[str]
    failures: list[str] = field(default_factory=list)

    def open(self, suffix: str) -> Page:
        (width, height), dark = VARIANTS[suffix]
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            has_touch="phone" in suffix,
            reduced_motion="reduce",
        )
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: self.failures.append(f"script error at {page.url}: {error}"))
        return page

    def take(self, page: Page, name: str, suffix: str) -> None:
        page.mouse.move(0, 0)
        page.evaluate("document.fonts.ready")
        width, _ = VARIANTS[suffix][0]
        for cut in page.evaluate(CUT):
            self.failures.append(f"{name}{suffix}: reaches beyond the window: {cut}")
        if name in screens.FIRST:
            page.evaluate("window.scrollTo(0, 0)")
            page.screenshot(path=self.folder / f"{name}-first{suffix}.png")
        # A window as high as the page: in a full-page picture, what sticks to the window's edge stands amid the page.
        if name not in screens.IN_SIGHT:
            page.set_viewport_size({"width": width, "height": page.evaluate("document.documentElement.scrollHeight")})
        page.screenshot(path=self.folder / f"{name}{suffix}.png")
        self._at_size(page, suffix)
        print(f"{name}{suffix}", flush=True)

    def _at_size(self, page: Page, suffix: str) -> None:
        width, height = VARIANTS[suffix][0]
        page.set_viewport_size({"width": width, "height": height})

    def follow(self, journey: screens.Journey, scene: stage.Stage) -> None:
        """Go through a journey in each variant, as far as something is wanted of it."""
        left = self.wanted & set(journey.names)
        for suffix in VARIANTS if left else ():
            page = self.open(suffix)
            seen: set[str] = set()
            try:
                for name in journey.walk(page, scene):
                    if name in left:
                        self.take(page, name, suffix)
                    seen.add(name)
                    if left <= seen:
                        break
            except Exception as error:
                # One screen that can't be reached costs those behind it, not those of other journeys.
                missing = ", ".join(name for name in journey.names if name in left - seen)
                self.failures.append(f"{suffix.removeprefix('-') or 'desktop'}: no {missing}: {error}")
                page.screenshot(path=self.folder / f"lost-{journey.names[0]}{suffix}.png")
            page.context.close()

    def follow_live(self, scene: stage.Stage) -> None:
        """A run at work, watched in all variants at once."""
        if screens.LIVE not in self.wanted:
            return
        run = stage.begin_live(scene)
        pages = {suffix: self.open(suffix) for suffix in VARIANTS}
        try:
            for page in pages.values():
                screens.watch_live(page, scene, run.id)
            for page in pages.values():
                screens.wait_for_live(page)
            for suffix, page in pages.items():
                self.take(page, screens.LIVE, suffix)
        finally:
            for page in pages.values():
                page.context.close()
            stage.end_live(run)


def main() -> None:
    options = _options()
    names = NAMES if options.to else [name for name, _ in DOCS.values()]
    with tempfile.TemporaryDirectory(prefix="tunesmith-pictures-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        folder = Path(options.to) if options.to else place / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        home = Path(options.home).resolve() if options.home else None
        with stage.staged(place, home) as scene, sync_playwright() as playwright:
            camera = Camera(launch(playwright), folder, set(options.only or names))
            camera.follow_live(scene)
            for journey in screens.JOURNEYS:
                camera.follow(journey, scene)
            camera.browser.close()
        if not options.to:
            _publish(folder)
    if camera.failures:
        sys.exit("\n".join(camera.failures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", help="folder for all pictures; without it, those of the docs are made")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--home", help="home with a finished sample run, which is copied")
    return parser.parse_args()


def _publish(folder: Path) -> None:
    """Into the docs, with few colours: a screen has few, and the files become a third."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for target, (name, kind) in DOCS.items():
        path = folder / f"{name}{kind}.png"
        if path.exists():
            # By coverage: by frequency the few pixels of a mark would take another colour.
            whole = Image.open(path).convert("RGB")
            picture = whole.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
            picture.save(IMAGES / f"{target}.png", optimize=True)


if __name__ == "__main__":
    main()
