"""Publishes staged parts: each gets its final name exactly once, however often publication is interrupted and begun again."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from cowbook.errors import OutputError
from cowbook.plain.durable_files import PUBLIC_DIRECTORY, DurableFiles
from cowbook.plain.parts import Cut, CutPlace, Part, cut_of_name, is_joined_name, parse_part_name
from cowbook.plain.streams import STREAM_NAMES


class Publication:
    """One symbol's published parts.

    All methods block, and raise OSError.
    """

    def __init__(self, output_dir: Path, directory_name: str, files: DurableFiles) -> None:
        self._output_dir = output_dir
        self._symbol_directory = f"symbol={directory_name}"
        self._superseded_root = output_dir / ".superseded" / directory_name
        self._files = files
        self._standing: defaultdict[CutPlace, set[Path]] = defaultdict(set)
        self._count = 0

    def scan(self) -> int:
        """Find the published parts. Returns their number."""
        self._standing.clear()
        self._count = 0
        for stream in STREAM_NAMES:
            for path in (self._output_dir / stream / self._symbol_directory).glob("date=*/part-*.parquet"):
                place = cut_of_name(path.name)
                if place is not None:
                    self._standing[place].add(path)
                    self._count += 1
        return self._count

    def forget_before(self, first: CutPlace) -> None:
        """Forget the parts of the cuts before one, since none of them will be published again."""
        for place in [place for place in self._standing if place < first]:
            del self._standing[place]

    def standing(self) -> tuple[CutPlace, ...]:
        """Places of the cuts with published parts that were not forgotten."""
        return tuple(sorted(place for place, paths in self._standing.items() if paths))

    def publish(self, cuts: Sequence[Cut], withdrawn: Sequence[CutPlace], staging: Path, start: str) -> None:
        """Publish the parts of cuts, and move the parts that they replace to `.superseded`, below the name of the start.

        A published part with an equal digest is left where it is. `withdrawn` are places of cuts whose parts are moved
        away without a replacement. Raises OutputError as `check` does.
        """
        moves = _Moves()
        for cut in cuts:
            self._supersede_others(cut.place, {self._output_dir / part.final: part for part in cut.parts}, start, moves)
        for place in withdrawn:
            self._supersede_others(place, {}, start, moves)
        moves.sync(self._files)  # superseded parts must be safe before others take their names
        for directory in sorted({(self._output_dir / part.final).parent for cut in cuts for part in cut.parts}):
            self._files.make_directories(directory, PUBLIC_DIRECTORY)
        for cut in cuts:
            for part in cut.parts:
                self._move_part(part, staging / part.staged, moves)
            if cut.provisional:
                self._standing[cut.place].update(self._output_dir / part.final for part in cut.parts)
        moves.sync(self._files)

    def sync_all(self) -> None:
        """Sync every directory that an earlier start may have changed and not synced before it was killed."""
        directories = [self._output_dir]
        for stream in STREAM_NAMES:
            symbol = self._output_dir / stream / self._symbol_directory
            directories += [symbol.parent, symbol, *sorted(symbol.glob("date=*"))]
        directories += [self._superseded_root.parent, self._superseded_root]
        directories += sorted(path for path in self._superseded_root.rglob("*") if path.is_dir())
        for directory in directories:
            if directory.is_dir():
                self._files.sync_directory(directory)

    def _supersede_others(self, place: CutPlace, wanted: dict[Path, Part], start: str, moves: _Moves) -> None:
        """Move away the published parts of a cut, except those that equal the wanted ones.

        One whose name is wanted gets a second name instead, and the wanted one replaces it: so nothing that comes late, behind a
        successor that has published, takes the right part away.
        """
        for path in sorted(self._standing.pop(place, ())):
            part = wanted.get(path)
            if part is None:
                self._supersede(path, start, moves, self._files.rename)
            elif not _has_content(path, part) and not self._has_second_name(path):
                self._supersede(path, start, moves, self._files.link)

    def _supersede(self, path: Path, start: str, moves: _Moves, move: Callable[[Path, Path], None]) -> None:
        target = self._superseded_root / start / path.relative_to(self._output_dir)
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{path.name}.{number}")
        self._files.make_directories(target.parent, PUBLIC_DIRECTORY)
        try:
            move(path, target)
        except FileNotFoundError:
            return  # someone else moved it away, which is as good
        moves.add(path, target)

    def _has_second_name(self, path: Path) -> bool:
        """Whether a published part is below `.superseded` already, by a publication that was interrupted."""
        try:
            status = path.lstat()
        except FileNotFoundError:
            return False
        others = self._superseded_root.rglob(f"{path.name}*") if status.st_nlink > 1 else ()
        return any(os.path.samestat(other.lstat(), status) for other in others)

    def _move_part(self, part: Part, staged: Path, moves: _Moves) -> None:
        final = self._output_dir / part.final
        if not staged.exists():
            self._check_part(part, staged)
            moves.targets.add(final.parent)  # it may have been renamed but not synced
            return
        moves.add(staged, final)
        try:
            if _has_content(final, part) or self._is_joined(final):
                self._files.unlink(staged)
            else:
                self._files.rename(staged, final)
        except FileNotFoundError:
            self._check_part(part, staged)  # somebody who publishes the same was faster

    def check(self, cuts: Sequence[Cut], staging: Path) -> None:
        """Raises OutputError if a part is neither staged nor published with its content."""
        for cut in cuts:
            for part in cut.parts:
                self._check_part(part, staging / part.staged)

    def missing(self, cuts: Sequence[Cut]) -> list[Path]:
        """Final paths of parts that are missing or have another size."""
        places = [(self._output_dir / part.final, part.size_bytes) for cut in cuts for part in cut.parts]
        missing = [path for path, size_bytes in places if not path.is_file() or path.stat().st_size != size_bytes]
        return [path for path in missing if not self._is_joined(path)]

    def _check_part(self, part: Part, staged: Path) -> None:
        final = self._output_dir / part.final
        if not _has_content(staged, part) and not _has_content(final, part) and not self._is_joined(final):
            raise OutputError(
                f"{final} was to be published, but is neither there nor staged as {staged} with its digest: restore it, "
                "or start from the beginning with --allow-fresh"
            )

    def _is_joined(self, final: Path) -> bool:
        """Whether the rows of a part, which are a function of the input, lie beside it in one that was joined of several."""
        own = parse_part_name(final.name)
        assert own is not None
        try:
            others = [parse_part_name(path.name) for path in final.parent.iterdir() if is_joined_name(path.name)]
        except FileNotFoundError:
            return False
        return any(other is not None and other[0] <= own[0] and own[1] <= other[1] for other in others)

    def supersede_all(self, start: str) -> None:
        """Move all parts to `.superseded`, below the name of the start, which begins from the beginning."""
        sources = [self._output_dir / stream / self._symbol_directory for stream in STREAM_NAMES]
        sources = [source for source in sources if source.is_dir()]
        root = self._superseded_root / start
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
    """Directories that files were moved between. Targets are synced before sources, so that no file is lost from both."""

    def __init__(self) -> None:
        self.sources: set[Path] = set()
        self.targets: set[Path] = set()

    def add(self, source: Path, target: Path) -> None:
        """Record that a file was moved."""
        self.sources.add(source.parent)
        self.targets.add(target.parent)

    def sync(self, files: DurableFiles) -> None:
        """Make all moves durable."""
        for directory in sorted(self.targets):
            files.sync_directory(directory)
        for directory in sorted(self.sources - self.targets):
            with suppress(FileNotFoundError):  # a staging whose own writer has removed it, empty
                files.sync_directory(directory)
        self.sources.clear()
        self.targets.clear()


def _has_content(path: Path, part: Part) -> bool:
    """Whether a file has a part's content."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    return len(content) == part.size_bytes and hashlib.sha256(content).hexdigest() == part.sha256
