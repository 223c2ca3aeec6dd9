"""Publishing: staged parts get their final names, once and only once, however often it is begun again."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from cowbook.errors import OutputError
from cowbook.plain.durable_files import PUBLIC_DIRECTORY, DurableFiles
from cowbook.plain.parts import Cut, Part
from cowbook.plain.streams import STREAM_NAMES

_PART_NAME = re.compile(r"part-(\d+)-(-?\d+)\.parquet")


class Publication:
    """The places of one symbol's published parts, and what stands there.

    All methods block, and raise OSError.
    """

    def __init__(self, output_dir: Path, directory_name: str, files: DurableFiles) -> None:
        self._output_dir = output_dir
        self._symbol_directory = f"symbol={directory_name}"
        self._superseded_root = output_dir / ".superseded" / directory_name
        self._files = files
        self._standing: defaultdict[int, set[Path]] = defaultdict(set)
        self._count = 0

    def scan(self) -> int:
        """Look which parts are there; how many."""
        self._standing.clear()
        self._count = 0
        for stream in STREAM_NAMES:
            for path in (self._output_dir / stream / self._symbol_directory).glob("date=*/part-*.parquet"):
                match = _PART_NAME.fullmatch(path.name)
                if match:
                    self._standing[int(match[1])].add(path)
                    self._count += 1
        return self._count

    def forget_before(self, first: int) -> None:
        """Parts before this event are never published again: they need not be remembered."""
        for key in [key for key in self._standing if key < first]:
            del self._standing[key]

    def standing(self) -> tuple[int, ...]:
        """First events of the cuts whose parts are there, as far as they are remembered."""
        return tuple(sorted(first for first, paths in self._standing.items() if paths))

    def publish(self, cuts: Sequence[Cut], withdrawn: Sequence[int], staging: Path, incarnation: int) -> None:
        """Put the parts of cuts in their places, and move what they take the place of to `.superseded`.

        A part that stands there already with an equal digest is left. Raises OutputError as `check` does.
        """
        moves = _Moves()
        for cut in cuts:
            self._clear(cut.first, {self._output_dir / part.final: part for part in cut.parts}, incarnation, moves)
        for first in withdrawn:
            self._clear(first, {}, incarnation, moves)
        moves.sync(self._files)  # what is superseded is safe before anything takes its place
        for directory in sorted({(self._output_dir / part.final).parent for cut in cuts for part in cut.parts}):
            self._files.make_directories(directory, PUBLIC_DIRECTORY)
        for cut in cuts:
            for part in cut.parts:
                self._place(part, staging / part.staged, moves)
            if cut.provisional:
                self._standing[cut.first].update(self._output_dir / part.final for part in cut.parts)
        moves.sync(self._files)

    def sync_all(self) -> None:
        """Make durable whatever a start that was killed has renamed or made, and not synced."""
        directories = [self._output_dir]
        for stream in STREAM_NAMES:
            symbol = self._output_dir / stream / self._symbol_directory
            directories += [symbol.parent, symbol, *sorted(symbol.glob("date=*"))]
        directories += [self._superseded_root.parent, self._superseded_root]
        directories += sorted(path for path in self._superseded_root.rglob("*") if path.is_dir())
        for directory in directories:
            if directory.is_dir():
                self._files.sync_directory(directory)

    def _clear(self, first: int, wanted: dict[Path, Part], incarnation: int, moves: _Moves) -> None:
        """Move away what stands for a cut and is not what is wanted there."""
        for path in sorted(self._standing.pop(first, ())):
            part = wanted.get(path)
            if part is None or not _is(path, part):
                self._supersede(path, incarnation, moves)

    def _supersede(self, path: Path, incarnation: int, moves: _Moves) -> None:
        target = self._superseded_root / str(incarnation) / path.relative_to(self._output_dir)
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{path.name}.{number}")
        self._files.make_directories(target.parent, PUBLIC_DIRECTORY)
        try:
            self._files.rename(path, target)
        except FileNotFoundError:
            return  # someone else moved it away: that is what was wanted
        moves.note(path, target)

    def _place(self, part: Part, staged: Path, moves: _Moves) -> None:
        final = self._output_dir / part.final
        if not staged.exists():
            self._check_part(part, staged)
            moves.targets.add(final.parent)  # its name may not be durable yet
            return
        moves.note(staged, final)
        if _is(final, part):
            self._files.unlink(staged)
        else:
            self._files.rename(staged, final)

    def check(self, cuts: Sequence[Cut], staging: Path) -> None:
        """Raises OutputError when a part is neither staged nor in its place, with its content."""
        for cut in cuts:
            for part in cut.parts:
                self._check_part(part, staging / part.staged)

    def missing(self, cuts: Sequence[Cut]) -> list[Path]:
        """Places of parts that are not there, or not with their size."""
        places = [(self._output_dir / part.final, part.size_bytes) for cut in cuts for part in cut.parts]
        return [path for path, size_bytes in places if not path.is_file() or path.stat().st_size != size_bytes]

    def _check_part(self, part: Part, staged: Path) -> None:
        final = self._output_dir / part.final
        if not _is(staged, part) and not _is(final, part):
            raise OutputError(
                f"{final} was to be published, and is neither there nor staged as {staged} with its digest: restore it, "
                "or start from the beginning with --allow-fresh"
            )

    def supersede_all(self, incarnation: int) -> None:
        """Move all parts away, to start from the beginning."""
        sources = [self._output_dir / stream / self._symbol_directory for stream in STREAM_NAMES]
        sources = [source for source in sources if source.is_dir()]
        root = self._superseded_root / str(incarnation)
        number = 1
        while (root / f"all-{number}").exists():
            number += 1
        target = root / f"all-{number}"
        if sources:
            self._files.make_directories(target, PUBLIC_DIRECTORY)
        for source in sources:
            self._files.rename(source, target / source.parent.name)
        if sources:
            self._files.sync_directory(target)
        for source in sources:
            self._files.sync_directory(source.parent)
        self._standing.clear()


class _Moves:
    """Directories whose names have changed. Where files went is synced before where they came from: never are they in neither."""

    def __init__(self) -> None:
        self.sources: set[Path] = set()
        self.targets: set[Path] = set()

    def note(self, source: Path, target: Path) -> None:
        """A file moved."""
        self.sources.add(source.parent)
        self.targets.add(target.parent)

    def sync(self, files: DurableFiles) -> None:
        """Make all of them durable."""
        for directory in (*sorted(self.targets), *sorted(self.sources - self.targets)):
            files.sync_directory(directory)
        self.sources.clear()
        self.targets.clear()


def _is(path: Path, part: Part) -> bool:
    """Whether a file is that part, by its content."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    return len(content) == part.size_bytes and hashlib.sha256(content).hexdigest() == part.sha256
