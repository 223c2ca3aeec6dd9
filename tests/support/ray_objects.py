"""Nodes of a Ray cluster are killed that have nothing in common but object storage and the captures."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from support.daemon_process import free_port
from support.fake_s3 import FakeS3
from support.ray_campaign import NODES, Feeder, RunningDriver, Seen, configure, kill_one, read_all
from support.ray_nodes import RayNodes

_KILLS = 3


def kill_nodes_over_objects(directory: Path, seed: int) -> Seen:
    """Kill nodes, each with a scratch directory that no other one sees. Its parts are those of a run on one machine."""
    chosen, seen = random.Random(seed), Seen()
    with FakeS3() as s3:
        os.environ |= s3.environment  # nodes, shards and drivers find it
        feeder, nodes = Feeder(directory, seed), RayNodes(directory / "ray")
        (directory / "scratch").mkdir()
        own_scratch = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {directory}/scratch && exec "$@"', "sh"]
        try:
            nodes.start("head")
            for name in NODES:
                nodes.start(name, prefix=own_scratch)
            port = free_port()
            driver = RunningDriver(_over_objects(directory, "cluster", port), port, nodes.address, "--shards", "2")
            driver.wait_for(lambda: driver.status()["ready"], "the shards are ready")
            feeder.start()
            for _ in range(_KILLS):
                time.sleep(chosen.uniform(0.5, 3.0))
                kill_one(nodes, driver, chosen, seen, own_scratch)
            read_all(directory, feeder, driver)
            assert driver.stop() == 0, driver.log.read_text()[-4000:]
        finally:
            nodes.close()
        for name in ("cluster", "alone"):
            command = [
                sys.executable,
                "-m",
                "cowbook",
                "run",
                str(_over_objects(directory, name, follow=False)),
                "--once",
                "--json",
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"COWBOOK_LOG__LEVEL": "warning"})
        expected, found = _parts(s3, "alone"), _parts(s3, "cluster")
    assert expected
    seen.parts = len(expected)
    seen.unequal = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    return seen


def _over_objects(directory: Path, name: str, port: int = 0, *, follow: bool = True) -> Path:
    """A configuration as that of the other campaigns, whose state and output are URLs."""
    path = configure(directory, name, port, follow=follow)
    text = path.read_text().replace(f'"{directory}/{name}/', f'"s3://bucket/{name}/')
    path.write_text(text.replace("[service]\n", f'[service]\nscratch_dir = "{directory}/scratch"\n'))
    return path


def _parts(s3: FakeS3, name: str) -> dict[str, bytes]:
    prefix = f"{name}/data/"
    return {key.removeprefix(prefix): content for key, content in s3.objects.items() if key.startswith(prefix)}
