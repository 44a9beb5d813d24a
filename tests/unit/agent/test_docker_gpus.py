"""GPUs of a machine, as its driver lists them, and as Docker is told to give them to a container."""

import logging
from pathlib import Path
from typing import Any

import pytest

from ecs_anywhere_agent.container_spec import Origin, container_specs
from ecs_anywhere_agent.core.values import ContainerRef
from ecs_anywhere_agent.runtime.docker_config import container_config
from ecs_anywhere_agent.runtime.docker_features import features_of
from ecs_anywhere_agent.runtime.docker_gpus import GpuSettings, find_gpus
from ecs_anywhere_agent.runtime.docker_labels import origin_of
from ecs_anywhere_agent.settings import read_settings
from shows import shows

FIRST, SECOND = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-0f3b7b4e-1111-2222-3333-444455556666"
LISTED = f"""\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: {FIRST})
  MIG 1g.5gb      Device  0: (UUID: MIG-9a8b7c6d-1111-2222-3333-444455556666)
GPU 1: Tesla V100 (UUID: {SECOND})
"""
ON = GpuSettings(enabled=True)
INFO: dict[str, Any] = {"Runtimes": {"runc": {"path": "runc"}, "nvidia": {"path": "nvidia-container-runtime"}}}


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of nvidia-smi."""
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    says(program, LISTED)
    return program


def says(program: Path, text: str, code: int = 0) -> None:
    (program.parent / "list").write_text(text)
    program.write_text(f'#!/bin/sh\n[ "$*" = -L ] || exit 9\ncat {program.parent}/list\nexit {code}\n')
    program.chmod(0o755)


def test_they_are_those_that_the_driver_lists(driver: Path) -> None:
    assert find_gpus(ON, INFO) == (SECOND, FIRST)
    says(driver, "")
    assert find_gpus(ON, INFO) == ()


@pytest.mark.parametrize(
    ("settings", "info", "told"),
    [
        pytest.param(GpuSettings(), INFO, "", id="nobody-has-switched-it-on"),
        pytest.param(ON, {"Runtimes": {"runc": {}}}, "Docker has no runtime nvidia", id="docker-has-not-the-runtime"),
        pytest.param(ON, {}, "Docker has no runtime nvidia", id="a-docker-without-runtimes"),
        pytest.param(GpuSettings(True, "mine"), INFO, "Docker has no runtime mine", id="a-runtime-of-another-name"),
    ],
)
@pytest.mark.usefixtures("driver")
def test_there_are_none_where_they_cannot_be_used(
    settings: GpuSettings, info: dict[str, Any], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert find_gpus(settings, info) == ()
    assert told in caplog.text
    assert bool(told) == bool(caplog.text)


def test_a_driver_that_fails_is_no_reason_not_to_run(driver: Path, caplog: pytest.LogCaptureFixture) -> None:
    says(driver, LISTED, code=9)
    assert find_gpus(ON, INFO) == ()
    driver.unlink()
    assert find_gpus(ON, INFO) == ()
    assert caplog.text.count("the NVIDIA driver does not list them") == 2


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param({}, GpuSettings(False, "nvidia"), id="off-unless-said-otherwise"),
        pytest.param({"ECS_ENABLE_GPU_SUPPORT": "true"}, GpuSettings(True, "nvidia"), id="on"),
        pytest.param({"ECS_ENABLE_GPU_SUPPORT": "false"}, GpuSettings(False, "nvidia"), id="off"),
        pytest.param(
            {"ECS_ENABLE_GPU_SUPPORT": "1", "ECS_NVIDIA_RUNTIME": "mine"}, GpuSettings(True, "mine"), id="runtime"
        ),
    ],
)
def test_settings_are_those_of_amazons_agent(environment: dict[str, str], expected: GpuSettings) -> None:
    settings = read_settings("", environment).settings
    assert GpuSettings(settings.gpus, settings.nvidia_runtime) == expected


def test_the_feature_is_announced_where_there_are_some() -> None:
    assert features_of({}, limits_tasks=False, gpus=True) - features_of({}, limits_tasks=False) == {"gpu"}


@shows("resourceRequirements.type", "resourceRequirements.value")
def test_docker_is_told_to_show_a_container_its_own() -> None:
    definition = {
        "family": "web",
        "revision": 7,
        "containerDefinitions": [
            {"name": "main", "image": "i", "environment": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]},
            {"name": "side", "image": "i"},
        ],
    }
    main, side = container_specs(
        definition,
        {},
        container_instance_arn="instance",
        cluster="cluster",
        task_arn="task",
        gpu_ids={"main": [FIRST, SECOND]},
    )
    told = container_config(ContainerRef("a" * 32, "main"), main, "/data", gpu_runtime="mine")
    assert told["Env"] == [f"NVIDIA_VISIBLE_DEVICES={FIRST},{SECOND}"]
    assert told["HostConfig"]["Runtime"] == "mine"
    assert origin_of(told["Labels"]) == main.origin
    told = container_config(ContainerRef("a" * 32, "side"), side, "/data")
    assert told["Env"] == []
    assert "Runtime" not in told["HostConfig"]
    assert origin_of(told["Labels"]).gpu_ids == ()


@pytest.mark.parametrize("gpu_ids", [pytest.param((), id="none"), pytest.param((FIRST, SECOND), id="two")])
def test_an_origin_is_read_as_it_was_written(gpu_ids: tuple[str, ...]) -> None:
    origin = Origin("i", "c", "t", "web:7", essential=True, stop_timeout=3, gpu_ids=gpu_ids)
    assert Origin.from_json(origin.to_json()) == origin
    assert len(origin.to_json()) == (10 if gpu_ids else 8)
