"""`cowbook run` and `cowbook check` with an engine: on all nodes of a cluster."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cowbook.cli.run import print_summaries
from cowbook.cluster.driver import BALANCE_SECONDS, Driver
from cowbook.cluster.node_check import StorageProbe, describe_node, judge_nodes
from cowbook.cluster.ray_cluster import RayCluster
from cowbook.config import Config
from cowbook.errors import ConfigError
from cowbook.plain.durable_files import storage_error
from cowbook.symbol.symbol_thread import LOOPS


@contextmanager
def _cluster_at(arguments: argparse.Namespace, config: Config) -> Iterator[RayCluster]:
    state = config.service.state_dir if config.objects is None else Path(config.objects.state_url)
    cluster = RayCluster(state, arguments.address)
    try:
        yield cluster
    finally:
        cluster.close()


def run_on_cluster(arguments: argparse.Namespace, load: Callable[[], Config]) -> int:
    """Run a configuration on a cluster, as `cowbook run` does on one machine. Returns 1 if a symbol failed."""
    config = load()
    with _cluster_at(arguments, config) as cluster:
        balance_seconds = BALANCE_SECONDS if arguments.balance is None else arguments.balance / 1e9
        driver = Driver(
            cluster,
            load,
            os.environ,
            shards=arguments.shards,
            once=arguments.once,
            detach=arguments.detach,
            balance_seconds=balance_seconds,
        )
        with asyncio.Runner(loop_factory=LOOPS[config.service.loop]) as runner:
            code = runner.run(driver.run())
    if arguments.once:
        if driver.was_stopped:
            raise KeyboardInterrupt
        print_summaries(driver.summaries, config, as_json=arguments.json)
    return code


def check_cluster(arguments: argparse.Namespace, config: Config) -> list[str]:
    """Look at all nodes of a cluster. Returns warnings. Raises ConfigError with every problem, StorageError, ServiceError."""
    directories = [config.service.state_dir, config.service.output_dir] if config.objects is None else []  # else not shared
    with _cluster_at(arguments, config) as cluster:
        nodes = cluster.nodes()
        try:
            with StorageProbe(directories) as probe:
                request = probe.request(config)
                own = describe_node(request)
                problems, warnings = judge_nodes(nodes, cluster.describe(nodes, request), own, probe)
        except OSError as error:
            raise storage_error("write", directories[0], error) from error
    if problems:
        raise ConfigError(str(arguments.config), problems)
    return [*warnings, f"{len(nodes)} nodes with cowbook {own['cowbook']} and Python {own['python']} share state and output"]
