"""The Dockerfile and the objects for Kubernetes, as far as they can be held without either: their form, and what they promise."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cowbook.config import load_config
from cowbook.plain.shards import parse_shard
from cowbook.telemetry import http

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "config"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, with what they are given; continued lines as one."""
    text = re.sub(r"^#.*\n", "", (CONFIG / "container" / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines()) if word]


def objects() -> dict[str, Any]:
    """The objects for Kubernetes, by kind."""
    found = list(yaml.safe_load_all((CONFIG / "kubernetes" / "cowbook.yaml").read_text()))
    return {item["kind"]: item for item in found}


def routes() -> set[str]:
    """Paths that the HTTP endpoint answers."""
    return set(re.findall(r'"(/[a-z]+)"', Path(http.__file__).read_text()))


def test_the_image_runs_as_nobody_special() -> None:
    """The last user is a number other than root's, so that Kubernetes can see it, and the same as the pod's."""
    user = [rest for word, rest in instructions() if word == "USER"][-1]
    uid, _, gid = user.partition(":")
    pod = objects()["StatefulSet"]["spec"]["template"]["spec"]["securityContext"]
    assert uid != "0"
    assert (int(uid), int(gid)) == (pod["runAsUser"], pod["runAsGroup"])
    assert pod["runAsNonRoot"]


def test_kernels_are_compiled_before_the_user_changes() -> None:
    """As root, whose files the user trusts, for a processor that does not depend on the machine that builds."""
    words = [(word, rest) for word, rest in instructions() if word in ("RUN", "USER", "ENV")]
    warmed = next(place for place, (word, rest) in enumerate(words) if word == "RUN" and "cowbook warm" in rest)
    assert [word for word, _ in words].index("USER") > warmed
    assert "chmod -R a+rX,go-w /opt/cowbook/cache" in words[warmed][1]
    environment = next(rest for word, rest in words if word == "ENV")
    assert "NUMBA_CPU_NAME=$CPU NUMBA_CPU_FEATURES= " in re.sub(r"\s+", " ", environment)


def test_the_build_has_all_files_that_it_needs() -> None:
    """Those that pyproject.toml, setup.py and MANIFEST.in name are not left out of the context."""
    lines = (CONFIG / "container" / "Dockerfile.dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    needed = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml", "setup.py", "daemon"}
    needed |= {str(path).split("/")[0] for paths in project["tool"]["setuptools"]["data-files"].values() for path in paths}
    needed |= set(re.findall(r'"(config|systemd)"', (REPOSITORY / "setup.py").read_text()))
    assert needed <= kept
    assert all((REPOSITORY / name).exists() for name in kept)


def test_probes_ask_what_is_answered() -> None:
    """On the port on which the image listens."""
    (container,) = objects()["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["path"] for name, probe in asked.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {probe["path"] for probe in asked.values()} <= routes()
    listen = re.search(r"COWBOOK_HTTP__LISTEN=0\.0\.0\.0:(\d+)", (CONFIG / "container" / "Dockerfile").read_text())
    assert listen is not None
    assert {ports[probe["port"]] for probe in asked.values()} == {int(listen[1])}


def test_the_root_is_read_only_and_state_lies_on_the_volume() -> None:
    """Nothing but the volume is written to."""
    spec = objects()["StatefulSet"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    writable = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert list(writable) == [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]]
    environment = next(rest for word, rest in instructions() if word == "ENV")
    assert f"STATE_DIRECTORY={writable['data']}" in environment


def test_the_configuration_of_the_pod_is_valid(tmp_path: Path) -> None:
    """It is loaded as the image's command does, from where it is mounted."""
    text = objects()["ConfigMap"]["data"]["cowbook.toml"]
    (tmp_path / "cowbook.toml").write_text(text)
    config = load_config(
        tmp_path / "cowbook.toml", {"STATE_DIRECTORY": "/var/lib/cowbook", "COWBOOK_HTTP__LISTEN": "0.0.0.0:9464"}
    )
    assert config.service.state_dir == Path("/var/lib/cowbook/state")
    (container,) = objects()["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert Path(container["args"][1]).parent == Path("/etc/cowbook")
    assert all(path.startswith("/captures/") for path in config.symbol[0].paths)


@pytest.mark.parametrize("kind", ["ConfigMap", "Service", "StatefulSet"])
def test_the_objects_fit_their_schemas(kind: str) -> None:
    """Kubernetes' own, in which no unknown field is allowed."""
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed: make setup")
    validator.validate(objects()[kind], validator.latest_version(), strict=True)


def test_each_pod_is_a_shard() -> None:
    """Its number comes from Kubernetes, and there are as many shards as replicas."""
    found = objects()["StatefulSet"]["spec"]
    (container,) = found["template"]["spec"]["containers"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert variables["SHARDS"] == str(found["replicas"])
    names = [variable["name"] for variable in container["env"]]
    assert names == ["SHARDS", "POD", "COWBOOK_SERVICE__SHARD"]  # a variable knows those before it
    given = variables["COWBOOK_SERVICE__SHARD"].replace("$(POD)", "0").replace("$(SHARDS)", variables["SHARDS"])
    assert str(parse_shard(given)) == "0/1"


def test_pods_may_share_a_volume_and_be_more_as_the_page_says() -> None:
    """A claim of ReadWriteMany in place of the templates, and other numbers fit the schemas."""
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed: make setup")
    text = " ".join(
        (REPOSITORY / "docs" / "machines.md").read_text().partition("## Kubernetes\n")[2].partition("\n## ")[0].split()
    )
    assert "With a claim of `ReadWriteMany` instead of `volumeClaimTemplates`" in text
    assert "change `replicas` and `SHARDS`" in text
    changed = objects()["StatefulSet"]
    spec = changed["spec"]
    (template,) = spec.pop("volumeClaimTemplates")
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **template}
    claim["spec"] |= {"accessModes": ["ReadWriteMany"]}
    spec["replicas"] = 3
    pod = spec["template"]["spec"]
    pod["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}})
    (container,) = pod["containers"]
    next(variable for variable in container["env"] if variable["name"] == "SHARDS")["value"] = "3"
    for changed_object in (changed, claim):
        validator.validate(changed_object, validator.latest_version(), strict=True)
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
