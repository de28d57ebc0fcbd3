"""The text of a PDF, page by page, by pypdf; `engine.data.pdf` makes rows of it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

from engine.errors import DataError

_SPLIT = "Split it into several files."


def read(data: bytes, request: dict[str, Any], send: Callable[[Any], None], cancelled: Callable[[], bool]) -> None:
    """Sends of each page its text, whether it holds pictures in its place, and why reading failed where it did.

    request: "name", "most_pages" and "seconds".
    """
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError

    name, begun = request["name"], time.monotonic()
    try:
        reader = PdfReader(io.BytesIO(data), strict=False)
        # Many files are locked against changes alone, with an empty password for reading.
        if reader.is_encrypted and not reader.decrypt(""):
            raise DataError(f"{name} is protected with a password.", "Save it without one, for example by printing it.")
        count = len(reader.pages)
    except (DataError, MemoryError):
        raise
    except (FileNotDecryptedError, DependencyError) as error:
        raise DataError(f"{name} is protected: {error}.", "Save it without a password.") from None
    except Exception as error:  # Whatever pypdf stumbles over in a broken file: it raises nearly every kind.
        raise DataError(f"{name} is a damaged PDF: {error}.", "Save or get it again.") from None
    if count > request["most_pages"]:
        raise DataError(f"{name} has {count:,} pages; up to {request['most_pages']:,} are read.", _SPLIT)
    for index in range(count):
        if cancelled():
            return
        if time.monotonic() - begun > request["seconds"]:
            took = f"{request['seconds'] / 60:.0f} minutes"
            raise DataError(f"{name} takes longer than {took}: page {index:,} of {count:,} was reached.", _SPLIT)
        try:
            page = reader.pages[index]
            text, pictures = page.extract_text() or "", False
            if not text.strip():
                pictures = bool(_pictures(page))
            send({"text": text, "pictures": pictures})
        except MemoryError:
            raise
        except Exception as error:  # One broken page should not cost the others.
            send({"text": "", "failed": str(error)})


def _pictures(page: Any) -> list[str]:
    """Names of what is drawn from elsewhere; pictures that stand in the page's own commands count, too."""
    resources: Any = page.get("/Resources")
    objects: Any = resources.get_object().get("/XObject") if resources is not None else None
    drawn = page.get_contents()
    inline = ["inline"] if drawn is not None and b"\nID" in drawn.get_data() else []
    return [*(objects.get_object() if objects is not None else []), *inline]
