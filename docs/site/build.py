"""Makes the site: the pages of docs/, and references from the command line, the configuration's models and docstrings.

`make site` runs it. Warnings are errors. Everything lies below build/site: `source`, what Sphinx reads, and `html`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from references import command_line_page, configuration_page, library_page

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
BUILD = REPOSITORY / "build" / "site"
_BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md")


def main() -> int:
    """Build it. Returns Sphinx's exit code."""
    source = BUILD / "source"
    shutil.rmtree(BUILD, ignore_errors=True)
    write_source(source)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", HERE, "-b", "html", source, BUILD / "html"]
    code = subprocess.run(command, check=False).returncode  # noqa: S603 - nothing of it is anybody's input
    if code == 0:
        print(f"the site: {BUILD / 'html' / 'index.html'}")  # noqa: T201
    return code


def write_source(source: Path) -> None:
    """Copy the pages, with links as they are there, and write the references."""
    shutil.copytree(REPOSITORY / "docs", source, ignore=shutil.ignore_patterns("site", "__pycache__"))
    shutil.copytree(REPOSITORY / "config", source / "config", ignore=shutil.ignore_patterns("__pycache__"))
    for name in _BESIDE:
        shutil.copy(REPOSITORY / name, source / name)
    for page in [*source.glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        page.write_text(adapt_links(text), encoding="utf-8")
    for notebook in (source / "notebooks").glob("*.py"):
        text = notebook.read_text(encoding="utf-8")
        notebook.with_suffix(".md").write_text(page_of_notebook(text), encoding="utf-8")
    sample = (REPOSITORY / "config" / "cowbook.toml").read_text(encoding="utf-8")
    pages = {"cli": command_line_page(), "configuration": configuration_page(sample), "api": library_page()}
    for name, text in pages.items():
        (source / f"{name}.md").write_text(text, encoding="utf-8")


def adapt_links(text: str) -> str:
    """Links of a page that lies in docs/ or above it, for one beside all others. A directory is no page: its name stays."""
    text = re.sub(r"\]\((?:\.\./|docs/)", "](", text)
    text = re.sub(r"\]\((notebooks/\w+)\.py\)", r"](\1.md)", text)
    return re.sub(
        r"\[([^\]]*)\]\(([\w./-]+)\)",
        lambda link: link[1] if (REPOSITORY / link[2]).is_dir() or link[2] == "adr" else link[0],
        text,
    )


def page_of_notebook(text: str) -> str:
    """A page of a script whose cells begin with `# %%`: those of words as they are, the others as blocks of Python."""
    page = []
    for cell in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        kind, _, content = cell.partition("\n")
        if "[markdown]" in kind:
            page.append(re.sub(r"^# ?", "", content.strip("\n"), flags=re.MULTILINE))
        else:
            page.append(f"```python\n{content.strip(chr(10))}\n```")
    return "\n\n".join(page) + "\n"


if __name__ == "__main__":
    sys.exit(main())
