"""`cowbook checkpoint`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from urllib.parse import quote

from cowbook.cli.clients import ask
from cowbook.errors import ServiceError
from cowbook.plain.escaping import escaped


def main(arguments: argparse.Namespace) -> int:
    """Ask for checkpoints and print the epochs. Returns 1 if one failed. Raises ServiceError if there is no answer."""
    token = arguments.token or os.environ.get("COWBOOK_HTTP__TOKEN", "")
    query = [f"symbol={quote(arguments.symbol, safe='')}"] if arguments.symbol is not None else []
    query += [] if arguments.wait else ["wait=no"]
    code, answer = ask(arguments.url, "/checkpoint" + (f"?{'&'.join(query)}" if query else ""), method="POST", token=token)
    if not isinstance(answer, dict) or "checkpoints" not in answer:
        raise ServiceError(f"{arguments.url}: {answer.get('error', answer) if isinstance(answer, dict) else answer}")
    if arguments.json:
        print(json.dumps(answer, indent=2))
    else:
        for checkpoint in answer["checkpoints"]:
            if checkpoint["error"] is None:
                print(escaped(f"{checkpoint['id']}: {_epoch(checkpoint['epoch'], arguments.wait)}"))
    for checkpoint in answer["checkpoints"]:
        if checkpoint["error"] is not None:
            print(escaped(f"{checkpoint['id']}: {checkpoint['error']}"), file=sys.stderr)
    return 0 if code < 300 else 1


def _epoch(epoch: int | None, waited: bool) -> str:
    text = f"epoch {epoch}" if epoch else "nothing consumed yet"
    return text if waited else f"asked for; the newest so far: {text}"
