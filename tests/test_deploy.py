"""The files in examples/deploy are what Docker and Kubernetes take, and agree with each other."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

FOLDER = Path(__file__).parent.parent / "examples" / "deploy"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))
POD: dict[str, Any] = next(item for item in OBJECTS if item["kind"] == "Deployment")["spec"]["template"]
CONTAINER: dict[str, Any] = POD["spec"]["containers"][0]


def of_the_server(keyword: str) -> Any:
    """What agent.py passes to `AgentServer`."""
    calls = [node for node in ast.walk(ast.parse((FOLDER / "agent.py").read_text())) if isinstance(node, ast.Call)]
    [call] = [call for call in calls if ast.unparse(call.func) == "AgentServer"]
    [value] = [each.value for each in call.keywords if each.arg == keyword]
    return ast.literal_eval(value)


@pytest.mark.parametrize("version", ["1.29", "1.37"])
@pytest.mark.parametrize("item", OBJECTS, ids=lambda item: item["kind"])
def test_kubernetes_takes_every_object(item: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(item, version, strict=True)


def test_the_check_of_the_schema_would_find_a_wrong_field() -> None:
    wrong = {**OBJECTS[0], "spec": {**OBJECTS[0]["spec"], "terminationGracePeriodSeconds": 5}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


def test_docker_takes_the_dockerfile_and_its_linter_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    assert hadolint is not None
    done = subprocess.run([hadolint, FOLDER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_pod_may_take_longer_to_end_than_its_calls() -> None:
    assert POD["spec"]["terminationGracePeriodSeconds"] >= of_the_server("drain_timeout") + 60


def test_the_ports_are_the_workers() -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert ports == {"health": 8081, "metrics": of_the_server("prometheus_port")}
    assert POD["metadata"]["annotations"]["prometheus.io/port"] == str(ports["metrics"])
    assert re.findall(r"^EXPOSE (.+)$", DOCKERFILE, re.M) == [" ".join(str(port) for port in ports.values())]
    assert f"'localhost', {ports['health']}, " in DOCKERFILE


def test_the_metrics_are_where_the_pod_may_write() -> None:
    folder = re.findall(r"PROMETHEUS_MULTIPROC_DIR=(\S+)", DOCKERFILE)[0]
    assert any(folder.startswith(mount["mountPath"] + "/") for mount in CONTAINER["volumeMounts"])


def test_every_key_comes_from_the_secret() -> None:
    secret = {"LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "OPENAI_API_KEY"}
    from_secret = {
        each["name"]: each["valueFrom"]["secretKeyRef"] for each in CONTAINER["env"] if "secretKeyRef" in str(each)
    }
    assert from_secret == {name: {"name": "agent-keys", "key": name} for name in secret}


def test_the_user_of_the_image_is_the_pods() -> None:
    [user] = re.findall(r"^USER (\d+)$", DOCKERFILE, re.M)
    assert POD["spec"]["securityContext"]["runAsUser"] == int(user)
    assert f"--uid {user} " in DOCKERFILE


def test_every_file_the_image_copies_is_there() -> None:
    copied = re.findall(r"^COPY (\S+) \./$", DOCKERFILE, re.M)
    assert sorted(copied) == sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".py", ".txt"))
