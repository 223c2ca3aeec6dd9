"""Hold two checkouts against each other: same captures, same settings, and every part must be the same, byte for byte.

python tests/compare/versions.py OTHER_CHECKOUT

Three comparisons over the made-up captures of every venue, the recorded ones beside the checkout, and a simulated one:
the parts of an undisturbed run of each checkout; and the parts when the other checkout stops half way, at a checkpoint, and this
one goes on from there, if it reads such a state. Prints a line for each, and the digest over all parts; of streams that differ,
in how many parts, and which columns only one of the two has. Ends with 1 if any differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyarrow.parquet as pq

from cowbook.checkpoint.manifest import OLDEST_VERSION
from support.venue_captures import CAPTURES
from support.venue_samples import SAMPLE_IDS, make_sample

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDED = REPOSITORY.parent / "shared" / "data"
BINANCE = {
    "spot-btcusdt": ("BTCUSDT", ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz")),
    "usdm-ethusdt": ("ETHUSDT", ("usdm_ethusdt_20240808.gz",)),
    "usdm-btcusdt": ("BTCUSDT", ("usdm_btcusdt_20230404.dat.gz", "usdm_btcusdt_20230405.dat.gz")),
}


@dataclass(frozen=True, slots=True)
class Input:
    """One symbol's files, which stand at these paths below the folder of inputs; the first has the most in it."""

    name: str
    format: str
    files: Mapping[str, bytes]
    price_decimals: int = 8


def make_inputs(checkout: Path, folder: Path) -> dict[str, Input]:
    """All captures by the id of their symbol; the simulated one is made by `checkout`."""
    inputs = {}
    for sample_id in SAMPLE_IDS:
        sample = make_sample(sample_id)
        files = {f"{sample_id}/{name}": content for name, content in sample.files.items()}
        inputs[sample_id] = Input(sample.name, sample.format, files)
    if RECORDED.is_dir():
        for number, capture in enumerate(CAPTURES):
            files = {path: (RECORDED / path).read_bytes() for path in capture.paths}
            inputs[f"recorded-{number}"] = Input(capture.symbol, capture.venue, files, capture.price_decimals)
        for symbol_id, (name, names) in BINANCE.items():
            files = {f"hftbacktest/{path}": (RECORDED / "hftbacktest" / path).read_bytes() for path in names}
            inputs[symbol_id] = Input(name, "binance", files)
    else:
        print(f"the recorded captures are not there, and are not compared: {RECORDED}")
    simulated = folder / "simulated.jsonl"
    cowbook(checkout, "simulate", "--symbol", "BTCUSDT", "--messages", "20000", "--gaps", "2", "--seed", "7", str(simulated))
    inputs["simulated"] = Input("BTCUSDT", "binance", {"simulated/BTCUSDT.jsonl": simulated.read_bytes()})
    return inputs


def cowbook(checkout: Path, *arguments: str, check: bool = True) -> int:
    """Run the command of a checkout, with the libraries of this interpreter."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "daemon")}
    done = subprocess.run(
        [sys.executable, "-m", "cowbook", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if check and done.returncode != 0:
        raise SystemExit(
            f"{checkout}: cowbook {' '.join(arguments)} has ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.returncode


def write_inputs(folder: Path, inputs: Mapping[str, Input], share: float) -> None:
    """Write the files; of text that is not compressed only so much of the last one, at the end of any byte."""
    for capture in inputs.values():
        for place, (name, content) in enumerate(capture.files.items()):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            is_text = content[:4] not in (b"PAR1", b"\x28\xb5\x2f\xfd") and content[:2] != b"\x1f\x8b"
            is_last = place == len(capture.files) - 1
            path.write_bytes(content[: int(len(content) * share)] if is_text and is_last else content)


def write_config(path: Path, folder: Path, inputs: Mapping[str, Input], output: str) -> Path:
    """A configuration with all inputs as its symbols."""
    text = [
        f'[service]\nstate_dir = "state"\noutput_dir = "data"\n[log]\nlevel = "error"\n[http]\nlisten = ""\n[output]\n{output}\n'
    ]
    for symbol_id, capture in inputs.items():
        paths = json.dumps([str(folder / name) for name in capture.files])
        text.append(
            f'[[symbol]]\nid = "{symbol_id}"\nname = {json.dumps(capture.name)}\nformat = "{capture.format}"\npaths = {paths}\n'
            f"price_decimals = {capture.price_decimals}\n"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(text))
    return path


def digests(directory: Path) -> dict[str, str]:
    """Of every part below a directory's output."""
    parts = sorted((directory / "data").glob("[!.]*/symbol=*/date=*/*.parquet"))
    return {str(path.relative_to(directory / "data")): hashlib.sha256(path.read_bytes()).hexdigest() for path in parts}


def differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Paths of parts that are not in both, or not the same."""
    return sorted(path for path in {*ours, *theirs} if ours.get(path) != theirs.get(path))


def explain(wrong: Sequence[str], ours: Path, theirs: Path) -> list[str]:
    """A line for each stream that differs."""
    lines = []
    for stream in sorted({path.partition("/")[0] for path in wrong}):
        paths = [path for path in wrong if path.partition("/")[0] == stream]
        both = [path for path in paths if (ours / "data" / path).exists() and (theirs / "data" / path).exists()]
        text = f"  {stream}: {len(paths)} parts differ, {len(paths) - len(both)} of them are in one output only"
        if both:
            here, there = (pq.read_schema(directory / "data" / both[0]).names for directory in (ours, theirs))
            only = [f"only this has {name}" for name in here if name not in there]
            only += [f"only the other has {name}" for name in there if name not in here]
            rows = [pq.read_metadata(directory / "data" / both[0]).num_rows for directory in (ours, theirs)]
            text += f"; {both[0]}: {rows[0]} rows here, {rows[1]} there{''.join(f'; {what}' for what in only)}"
        lines.append(text)
    return lines


def format_of(checkout: Path) -> int:
    """The version of the checkpoint format that a checkout writes."""
    program = "from cowbook.checkpoint.manifest import FORMAT_VERSION; print(FORMAT_VERSION)"
    environment = os.environ | {"PYTHONPATH": str(checkout / "daemon")}
    return int(subprocess.check_output([sys.executable, "-c", program], env=environment, text=True))


def compare(other: Path, output: str, label: str, work: Path) -> bool:
    """Print what came of one set of settings; whether all is the same."""
    folder = work / "input"
    inputs = make_inputs(other, work)
    write_inputs(folder, inputs, 1.0)
    results = {}
    for name, checkout in (("other", other), ("this", REPOSITORY)):
        cowbook(checkout, "run", str(write_config(work / name / "cowbook.toml", folder, inputs, output)), "--once")
        results[name] = digests(work / name)
    version = format_of(other)
    if version >= OLDEST_VERSION:
        config = write_config(work / "resumed" / "cowbook.toml", folder, inputs, output)
        write_inputs(folder, inputs, 0.5)
        cowbook(other, "run", str(config), "--once", check=False)  # a record that is cut in two may be one that cannot be read
        write_inputs(folder, inputs, 1.0)
        cowbook(REPOSITORY, "run", str(config), "--once")
        results["resumed"] = digests(work / "resumed")
    else:
        print(f"{label}, resumed: not compared, state of format {version} is refused")
    same = True
    for name in sorted(results.keys() - {"other"}, reverse=True):
        wrong = differences(results[name], results["other"])
        same &= not wrong
        print(f"{label}, {name}: {len(results[name])} parts of {len(inputs)} symbols, {len(wrong)} differ {wrong[:5] or ''}")
        print("".join(f"{line}\n" for line in explain(wrong, work / name, work / "other")), end="")
    total = hashlib.sha256(json.dumps(results["this"], sort_keys=True).encode()).hexdigest()
    print(f"{label}: digest over all parts {total[:16]}")
    return same and len(results["this"]) > len(inputs)


def main() -> int:
    """1 when anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    other = parser.parse_args().other.resolve()
    same = True
    small = 'part_events = 500\npart_interval = "15s"\nbook_levels = 3\nbook_interval = "100ms"'
    for label, output in (("default settings", ""), ("small parts", small)):
        work = Path(tempfile.mkdtemp(prefix="cowbook-versions-"))
        try:
            same &= compare(other, output, label, work)
        finally:
            shutil.rmtree(work)
    print("all equal" if same else "NOT equal")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
