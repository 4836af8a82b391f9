"""Pages that live elsewhere in the repository, and links to files outside ``docs``, in the site.

Pages are written for a reader of the repository: their links lead to files. The site has some of
these files as pages; it offers the others for download.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Each has a stub in docs that leads there; the site shows the file in its place.
ELSEWHERE = {
    f"bundles/{path.parents[1].name}": path
    for path in sorted(ROOT.glob("bundles/*/docs/README.md"))
} | {name: ROOT / f"{name.upper()}.md" for name in ("changelog", "contributing", "security")}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def replaced(source: str, name: str) -> str:
    """The text of the page ``name``, with the links that hold in the site."""
    origin = ELSEWHERE.get(name, ROOT / "docs" / f"{name}.md")
    text = origin.read_text(encoding="utf-8") if name in ELSEWHERE else source

    def in_site(link: re.Match[str]) -> str:
        image, words, target, anchor = link.groups()
        if ":" in target:  # an address, or a name of Sphinx's
            return link[0]
        path = Path(os.path.normpath(origin.parent / target))
        page = _page(path)
        if page is not None or image:
            target = PurePosixPath(os.path.relpath(page or path, (ROOT / "docs" / name).parent))
            return f"{image}[{words}]({target}{anchor or ''})"
        if path.is_dir():
            return words
        return f"{{download}}`{words.replace('`', '')} </{os.path.relpath(path, ROOT / 'docs')}>`"

    return _LINK.sub(in_site, text)


def _page(path: Path) -> Path | None:
    """The page of the site that shows this file of the repository."""
    docs = ROOT / "docs"
    for name, file in ELSEWHERE.items():
        if file == path:
            return docs / f"{name}.md"
    if path == ROOT / "README.md":
        return docs / "index.md"
    if path.suffix == ".py" and path.is_relative_to(ROOT / "monai_ima"):
        return docs / "api" / f"{path.relative_to(ROOT / 'monai_ima').with_suffix('').parts[0]}.md"
    return path if path.is_relative_to(docs) else None


def _read(_: Any, name: str, source: list[str]) -> None:
    source[0] = replaced(source[0], name)


def _changed(*_: Any) -> list[str]:
    """Pages to read again, since their stubs do not tell when they change."""
    return list(ELSEWHERE)


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("source-read", _read)
    app.connect("env-get-outdated", _changed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
