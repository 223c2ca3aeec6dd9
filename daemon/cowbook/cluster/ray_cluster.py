"""Ray as the cluster: an actor for each shard, which Ray starts again on another node. The only module that knows Ray.

Ray is imported where it is used: without `--engine ray` nothing of it is loaded.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pickle
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cowbook.cluster.hosted_service import HostedService
from cowbook.cluster.node_check import describe_node
from cowbook.cluster.nodes import GoneError, Node, ShardTask, UnreachableError
from cowbook.errors import MissingExtraError, ServiceError
from cowbook.symbol.warm import warm

_CALLS_AT_ONCE = 8  # threads of an actor: a call that waits for a checkpoint keeps one
_CALL_SECONDS = 5.0
_LONG_CALL_SECONDS = 60.0
_LONG_CALLS = ("checkpoint", "read_book", "summaries")
_NODE_SECONDS = 60.0
_BEGIN_SECONDS = 30.0
"""What has not everything yet needs less time for that than another process would."""
_REFUSED_SECONDS = 60.0
"""A node on which a spare could not start gets no other one for so long."""
_KILL_SECONDS = 10.0
_KILL_POLL_SECONDS = 0.02
_REACH_SECONDS = 5.0
_OWN = "auto"
"""Ray's word for the cluster of this machine."""
_ALWAYS = -1
_RESOURCE = "cowbook"
"""What nodes declare (`ray start --resources`) that shards are to run on, where not all are meant."""
_KEPT = "cowbook"
"""The namespace of tasks in the store of the head."""
_SHARE = 0.0001  # the least that Ray counts: as many shards as one likes


def load_ray() -> Any:
    """Import Ray, which reports its use to nobody. Raises MissingExtraError."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # of like lines of several shards Ray would show one
    try:
        import ray  # noqa: PLC0415 - takes a second, and is there only with the extra
    except ImportError as error:
        raise MissingExtraError("ray", f"--engine ray needs Ray ({error})") from error
    return ray


class RayCluster:
    """A running Ray cluster. Shards of one state directory are found by it, from whatever driver."""

    def __init__(self, state_dir: Path, address: str | None = None) -> None:
        """`address` is that of the head, host:port; None finds the cluster of this machine.

        Raises MissingExtraError, and ServiceError if there is no cluster or this machine is no node of it.
        """
        self._ray = load_ray()
        self._is_declared = False
        self._spares: dict[str, list[_Spare]] = {}  # by node
        self._refused_at: dict[str, float] = {}  # when a spare of a node has ended before it was ready
        address = address or _OWN
        namespace = "cowbook-" + hashlib.blake2b(os.fsencode(state_dir), digest_size=8).hexdigest()
        try:
            _reach(address)
            self._ray.init(address=address, namespace=namespace, log_to_driver=True, logging_level="warning")
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            why = " ".join(str(error).split())[:300]
            advice = "start one with `ray start --head`, and join it from this machine with `ray start --address`"
            raise ServiceError(f"no Ray cluster at {address}: {why}; {advice}") from error

    def nodes(self) -> list[Node]:
        """As Cluster. If some nodes declare the resource `cowbook`, they are the only ones that count."""
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        declared = [node for node in alive if _RESOURCE in node["Resources"]]
        self._is_declared |= bool(declared)  # for good: others must not take over when all of these are gone
        meant = declared if self._is_declared else alive
        found = [Node(node["NodeID"], node.get("NodeName") or node["NodeManagerAddress"]) for node in meant]
        return sorted(found, key=lambda node: (node.name, node.id))

    def find(self) -> dict[str, Any]:
        """As Cluster."""
        found = {}
        for name in self._ray.util.list_named_actors():
            try:
                found[name] = self._ray.get_actor(name)
            except ValueError:  # it has ended meanwhile
                continue
        return found

    def assign(self, task: ShardTask) -> None:
        """As Cluster. The head keeps it, as it keeps what actors are made of, and for as long."""
        store, key = _open_store(), _key_of(self._ray, task.shard)
        with self._reaching_the_head():
            store._internal_kv_put(key, pickle.dumps(task), namespace=_KEPT)  # noqa: SLF001 - Ray has no public store

    def assigned(self, shard: str) -> ShardTask | None:
        """As Cluster."""
        with self._reaching_the_head():
            return _assigned(self._ray, shard)

    @contextmanager
    def _reaching_the_head(self) -> Iterator[None]:
        try:
            yield
        except (self._ray.exceptions.RayError, OSError) as error:
            raise UnreachableError(str(error)) from error

    def start(self, task: ShardTask, node: str | None, *, outlives: bool) -> Any:
        """As Cluster."""
        self.assign(task)
        if not outlives and node is not None and (begun := self._begin_in_spare(task.shard, node)) is not None:
            return begun
        options = self._options
        if outlives:  # others have no name: Ray would hand out the dead actor that had it
            options |= {"name": task.shard, "get_if_exists": True, "max_restarts": _ALWAYS, "lifetime": "detached"}
        if node is not None:
            options["scheduling_strategy"] = self._on(node, soft=True)
        return self._ray.remote(RayShard).options(**options).remote(task.shard)

    def keep_spares(self, nodes: Collection[str], count: int, formats: Collection[str]) -> dict[str, int]:
        """As Cluster."""
        self._spares = {node: self._spares.get(node, []) for node in nodes}  # those of a node that is gone end
        now = time.monotonic()
        for node, spares in self._spares.items():
            gone = [spare for spare in spares if not spare.is_there(self._ray)]
            if any(not spare.is_ready for spare in gone):
                self._refused_at[node] = now
            spares[:] = [spare for spare in spares if spare not in gone][:count]
            while len(spares) < count and now - self._refused_at.get(node, -_REFUSED_SECONDS) >= _REFUSED_SECONDS:
                options = self._options | {"scheduling_strategy": self._on(node)}
                spares.append(_Spare(self._ray.remote(RayShard).options(**options).remote(None, [*formats])))
        return {node: sum(spare.is_ready for spare in spares) for node, spares in self._spares.items()}

    def _begin_in_spare(self, shard: str, node: str) -> Any | None:
        """Have a spare process of a node be a shard's. Returns its handle, or None if there is none that can."""
        spares = self._spares.get(node, [])
        if not spares:
            return None
        spare = max(spares, key=lambda spare: spare.is_ready)
        spares.remove(spare)
        try:
            self._ray.get(spare.actor.begin.remote(shard), timeout=_BEGIN_SECONDS)
        except self._ray.exceptions.RayError:
            self._ray.kill(spare.actor, no_restart=True)  # it may begin yet
            return None
        return spare.actor

    @property
    def _options(self) -> dict[str, Any]:
        """Those of all actors. A shard waits most of the time, so that where it runs is the driver's to say."""
        options: dict[str, Any] = {"max_restarts": 0, "max_concurrency": _CALLS_AT_ONCE, "num_cpus": 0}
        return options | ({"resources": {_RESOURCE: _SHARE}} if self._is_declared else {})

    async def call(self, handle: Any, method: str, *arguments: Any) -> Any:
        """As Cluster."""
        errors = self._ray.exceptions
        seconds = _LONG_CALL_SECONDS if method in _LONG_CALLS else _CALL_SECONDS
        try:
            answer = getattr(handle, method).remote(*arguments)
            return await asyncio.wait_for(asyncio.wrap_future(answer.future()), seconds)
        except errors.ActorDiedError as error:
            raise GoneError(str(error)) from error
        except errors.RayTaskError as error:
            raise error.cause from error  # what the method has raised
        except (TimeoutError, errors.RayError) as error:
            raise UnreachableError(str(error) or "no answer in time") from error

    def kill(self, handle: Any, shard: str) -> None:
        """As Cluster."""
        self._ray.kill(handle, no_restart=True)
        deadline = time.monotonic() + _KILL_SECONDS
        while time.monotonic() < deadline:  # what is started under the name of one that still goes would be that one
            try:
                self._ray.get_actor(shard)
            except ValueError:
                return
            time.sleep(_KILL_POLL_SECONDS)

    def close(self) -> None:
        """As Cluster."""
        self._ray.shutdown()

    def describe(self, nodes: list[Node], request: Mapping[str, Any]) -> dict[str, dict[str, Any] | str]:
        """Returns what each node says of itself (`node_check.describe_node`), by its id: a text where it cannot."""
        task = self._ray.remote(describe_node)
        pending = {
            node.id: task.options(num_cpus=0, max_retries=0, scheduling_strategy=self._on(node.id)).remote(request)
            for node in nodes
        }
        return {node: self._fetch(answer) for node, answer in pending.items()}

    def _fetch(self, answer: Any) -> dict[str, Any] | str:
        try:
            found: dict[str, Any] = self._ray.get(answer, timeout=_NODE_SECONDS)
        except self._ray.exceptions.RayError as error:
            return str(error).strip().splitlines()[-1]
        return found

    def _on(self, node: str, *, soft: bool = False) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415 - as in load_ray

        return NodeAffinitySchedulingStrategy(node, soft=soft)


class _Spare:
    """An actor that waits for a shard (ADR 36)."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.is_ready = False
        """Whether it has loaded everything."""
        self._answer = actor.wait.remote()

    def is_there(self, ray: Any) -> bool:
        """Whether nothing is known of its end. Asks it, and waits for no answer."""
        if ray.wait([self._answer], timeout=0)[0]:
            try:
                ray.get(self._answer)
            except ray.exceptions.RayError:
                return False
            self.is_ready = True
            self._answer = self.actor.wait.remote()
        return True


def _reach(address: str) -> None:
    """Raises OSError unless somebody listens at an address: Ray itself would try for minutes."""
    if address != _OWN:
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS).close()


def _key_of(ray: Any, shard: str) -> str:
    """Returns where a shard's task is kept: under the state directory's name, as its actor is."""
    return f"{ray.get_runtime_context().namespace}/{shard}"


def _open_store() -> Any:
    from ray.experimental import internal_kv  # noqa: PLC0415 - as in load_ray

    return internal_kv


def _assigned(ray: Any, shard: str) -> ShardTask | None:
    """Returns the task that is kept for a shard; None without one of this release."""
    kept = _open_store()._internal_kv_get(_key_of(ray, shard), namespace=_KEPT)  # noqa: SLF001 - as in `assign`
    try:
        # Whoever may write there may run programs on all nodes: Ray itself unpickles what actors are made of.
        task = pickle.loads(kept) if kept is not None else None  # noqa: S301
    except (pickle.UnpicklingError, AttributeError, ImportError, TypeError, ValueError):
        return None
    return task if isinstance(task, ShardTask) else None


def _process_seconds() -> float:
    """Returns how long ago this process was started."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # proc(5): starttime
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


class RayShard(HostedService):
    """The actor. Wherever and by whomever it is started, it begins with the task that is assigned to it then."""

    def __init__(self, shard: str | None, formats: Collection[str] = ()) -> None:
        """Without a shard it waits for one (`begin`), having loaded the kernels of these formats."""
        if shard is not None:
            self.begin(shard, _process_seconds())
        else:
            warm(formats)

    def wait(self) -> None:
        """Answer, once everything is loaded."""

    def begin(self, shard: str, process_seconds: float = 0.0) -> None:
        """Be a shard from now on."""
        ray = load_ray()
        task = _assigned(ray, shard)
        if task is None:
            raise ServiceError(
                f"no task of this release is assigned to shard {shard}: is another cowbook installed on this node?"
            )
        node, host = ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()
        super().__init__(task, node, host, process_seconds)
