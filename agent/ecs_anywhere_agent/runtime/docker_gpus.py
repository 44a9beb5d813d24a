"""The GPUs of this machine that Docker can give to containers.

As with Amazon's agent: where ECS_ENABLE_GPU_SUPPORT says so, and by the runtime that NVIDIA's container toolkit adds to
the Engine, which shows a container only those that NVIDIA_VISIBLE_DEVICES names. Which GPUs there are, the driver says.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-gpu.html
https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
"""

import logging
import re
import subprocess
from collections.abc import Mapping
from typing import Any, NamedTuple

from ecs_protocol.messages import MAX_GPUS

VISIBLE_DEVICES = "NVIDIA_VISIBLE_DEVICES"

_DEFAULT_RUNTIME = "nvidia"
_PATIENCE_SECONDS = 30.0
"""For a driver that first has to wake its GPUs."""
_GPU = re.compile(r"^GPU \d+: .*\(UUID: (GPU-[0-9a-fA-F-]{1,60})\)\s*$", re.MULTILINE)

_log = logging.getLogger(__name__)


class GpuSettings(NamedTuple):
    """Whoever runs the agent has these."""

    enabled: bool = False
    runtime: str = _DEFAULT_RUNTIME
    """Of the Engine's, that which makes containers with GPUs."""


def find_gpus(settings: GpuSettings, info: Mapping[str, Any]) -> tuple[str, ...]:
    """Ids. `info` is the Engine's. None where one of the things that it takes is missing, which the log names."""
    if not settings.enabled:
        return ()
    if settings.runtime not in (info.get("Runtimes") or {}):
        _log.warning("GPUs cannot be used: Docker has no runtime %s (NVIDIA Container Toolkit)", settings.runtime)
        return ()
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=_PATIENCE_SECONDS
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("GPUs cannot be used: the NVIDIA driver does not list them (%s)", error)
        return ()
    return tuple(sorted(set(_GPU.findall(listed))))[:MAX_GPUS]
