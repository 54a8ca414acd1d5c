"""A preprocessor of mdBook: each file of the repository that a page links to becomes a page of the book.

Where the pages are read in the repository, links such as `../../../specs/load.yaml` lead to the file. A book that stands elsewhere has
no such file, so it brings a copy. A link to a folder, or to what is too long to read, becomes its words.
"""

import json
import re
import sys
from pathlib import Path

LANGUAGES = {".yaml": "yaml", ".yml": "yaml", ".py": "python"}
BYTES_MAX = 64 * 1024
# A span of code, which stays as it is, or a link, whose words may hold such spans.
CODE_OR_LINK = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)|\[((?:[^\[\]`]|`[^`]*`)*)\]\(([^)\s]+)\)")


class Files:
    """The files that were linked to, and the pages that they become."""

    def __init__(self, book: Path, sources: Path):
        self.sources = sources
        self.root = book.parent
        self.pages: dict[Path, str] = {}

    def linked(self, text: str, file: Path, page: Path) -> str:
        """The text of `file`, which becomes `page` of the book, with its links leading to pages."""
        out = []
        fenced = False
        for line in text.split("\n"):
            fenced ^= line.lstrip().startswith("```")
            code = fenced or line.startswith("    ")
            out.append(line if code else CODE_OR_LINK.sub(lambda match: self.link(match, file, page), line))
        return "\n".join(out)

    def link(self, match: re.Match, file: Path, page: Path) -> str:
        words, target = match.group(2, 3)
        if target is None:
            return match.group()
        name, _, anchor = target.partition("#")
        if "://" in target or not name:
            return match.group()
        found = (file.parent / name).resolve()
        if found.is_relative_to(self.sources):
            there = found.relative_to(self.sources)
        elif found.is_file() and found.stat().st_size <= BYTES_MAX:
            there = self.page_of(found)
        else:
            return words
        up = "../" * (len(page.parts) - 1)
        return f"[{words}]({up}{there.as_posix()}{'#' if anchor else ''}{anchor})"

    def page_of(self, file: Path) -> Path:
        """Where a file of the repository stands in the book; its page is made when it is first asked for."""
        name = file.relative_to(self.root)
        page = Path("files", f"{name}.md")
        if page not in self.pages:
            self.pages[page] = ""
            text = file.read_text(encoding="utf-8")
            if name.suffix == ".md":
                self.pages[page] = self.linked(text, file, page)
            else:
                self.pages[page] = f"# {name.as_posix()}\n\n````{LANGUAGES.get(name.suffix, 'text')}\n{text}````\n"
        return page

    def chapters(self) -> list[dict]:
        """The pages that were made, one below the other."""
        found = []
        for page, content in sorted(self.pages.items()):
            title = re.search(r"^# (.*)", content, re.MULTILINE)
            chapter = {"name": title.group(1) if title else page.stem, "content": content, "path": page.as_posix()}
            chapter |= {"number": None, "source_path": None, "sub_items": [], "parent_names": []}
            found.append({"Chapter": chapter})
        return found


def rewrite(items: list, files: Files) -> None:
    for item in items:
        if isinstance(item, dict) and (of := item.get("Chapter")) and of["source_path"]:
            of["content"] = files.linked(of["content"], files.sources / of["source_path"], Path(of["path"]))
            rewrite(of["sub_items"], files)


def main() -> None:
    if sys.argv[1:2] == ["supports"]:
        return
    context, book = json.load(sys.stdin)
    folder = Path(context["root"]).resolve()
    files = Files(folder, (folder / context["config"]["book"].get("src", "src")).resolve())
    items = book["items"]
    rewrite(items, files)
    items.append({"PartTitle": "Files of the repository"})
    items.extend(files.chapters())
    json.dump(book, sys.stdout)


main()
