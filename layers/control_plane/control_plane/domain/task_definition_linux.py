"""What a container may do on a Linux machine, and how much.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LinuxParameters.html
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.domain.errors import ClientException
from control_plane.domain.task_definition_texts import Container, check_number, repeated


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


KERNEL_CAPABILITIES = _words(
    """ALL AUDIT_CONTROL AUDIT_WRITE BLOCK_SUSPEND CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER
    KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW SETFCAP
    SETGID SETPCAP SETUID SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE
    SYS_TIME SYS_TTY_CONFIG SYSLOG WAKE_ALARM"""
)
MOUNT_OPTIONS = _words(
    """defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync remount mand nomand atime noatime diratime
    nodiratime bind rbind unbindable runbindable private rprivate shared rshared slave rslave relatime norelatime
    strictatime nostrictatime mode uid gid nr_inodes nr_blocks mpol"""
)
IPC_CONTROLS = _words(
    """kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni
    kernel.shm_rmid_forced"""
)
SECURITY_OPTIONS = ("no-new-privileges", "apparmor:", "label:", "credentialspec:")
MOST = 2**31 - 1
_GPUS = re.compile(r"[0-9]{1,9}")


def check_linux(container: Container) -> None:
    """Of one container. Raises ClientException."""
    name = container["name"]
    _check_linux_parameters(container.get("linuxParameters", {}), name)
    for limit in container.get("ulimits", ()):
        # -1 is no limit.
        if -1 < limit["hardLimit"] < limit["softLimit"] or (limit["softLimit"] == -1 < limit["hardLimit"]):
            raise ClientException(
                f"Invalid 'ulimits' setting for container '{name}'. The soft limit of {limit['name']} is greater than "
                "the hard limit."
            )
    for limit in repeated(each["name"] for each in container.get("ulimits", ())):
        raise ClientException(f"Invalid 'ulimits' setting for container '{name}'. {limit} is given more than once.")
    for option in container.get("dockerSecurityOptions", ()):
        if not option.startswith(SECURITY_OPTIONS):
            raise ClientException(f"Invalid 'dockerSecurityOptions' setting for container '{name}': {option[:100]}")
    check_resources(container)


def _check_linux_parameters(given: Mapping[str, Any], name: str) -> None:
    for part in ("add", "drop"):
        for each in given.get("capabilities", {}).get(part, ()):
            if each not in KERNEL_CAPABILITIES:
                raise ClientException(
                    f"Invalid 'linuxParameters.capabilities.{part}' setting for container '{name}': {each[:100]}"
                )
    for device in given.get("devices", ()):
        if not device.get("hostPath"):
            raise ClientException(f"Invalid 'linuxParameters.devices' setting for container '{name}': no hostPath.")
    for mount in given.get("tmpfs", ()):
        if not mount.get("containerPath", "").startswith("/"):
            raise ClientException(
                f"Invalid 'linuxParameters.tmpfs' setting for container '{name}'. Write an absolute containerPath."
            )
        check_number(mount.get("size", 0), (1, MOST), "linuxParameters.tmpfs.size", name)
        for option in mount.get("mountOptions", ()):
            if option.partition("=")[0] not in MOUNT_OPTIONS:
                raise ClientException(
                    f"Invalid 'linuxParameters.tmpfs.mountOptions' setting for container '{name}': {option[:100]}"
                )
    for member, limits in (("sharedMemorySize", (1, MOST)), ("maxSwap", (0, MOST)), ("swappiness", (0, 100))):
        if member in given:
            check_number(given[member], limits, f"linuxParameters.{member}", name)


def check_system_controls(containers: Sequence[Container], network_mode: str, ipc_mode: str | None) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_SystemControl.html. Raises ClientException."""
    for container in containers:
        for control in container["systemControls"]:
            name = control.get("namespace", "")
            is_ipc = name in IPC_CONTROLS or name.startswith("fs.mqueue.")
            if not (is_ipc or name.startswith("net.")) or not control.get("value"):
                raise ClientException(
                    f"Invalid 'systemControls' setting for container '{container['name']}': {name[:100] or 'no name'}"
                )
            if is_ipc and ipc_mode == "host":
                raise ClientException("IPC namespace systemControls are not supported when ipcMode=host.")
            if name.startswith("net.") and network_mode == "host":
                raise ClientException("Network namespace systemControls are not supported when networkMode=host.")


def check_resources(container: Container) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ResourceRequirement.html

    Raises ClientException.
    """
    name, requirements = container["name"], container.get("resourceRequirements", ())
    for requirement in requirements:
        kind, value = requirement["type"], requirement.get("value", "")
        if kind == "GPU" and value != "ALL" and not (_GPUS.fullmatch(value) and int(value)):
            raise ClientException(
                f"Invalid 'resourceRequirements' setting for container '{name}'. GPU: '{value[:100]}'"
            )
        if kind == "NeuronDevice" and value != "ALL":
            raise ClientException(
                f"Invalid 'resourceRequirements' setting for container '{name}'. NeuronDevice must be ALL."
            )
    for kind in repeated(each["type"] for each in requirements):
        raise ClientException(f"Invalid 'resourceRequirements' setting for container '{name}'. {kind} is given twice.")


def check_accelerators(definition: Mapping[str, Any]) -> None:
    """That what containers ask for is declared. Raises ClientException."""
    accelerators = definition.get("inferenceAccelerators", ())
    if any(not each.get("deviceName") or not each.get("deviceType") for each in accelerators):
        raise ClientException("InferenceAccelerator.deviceName and deviceType should not be null or empty.")
    names = [each["deviceName"] for each in accelerators]
    for name in repeated(names):
        raise ClientException(f"Inference accelerator '{name}' is declared more than once.")
    asked = [
        (each["type"], each.get("value", ""))
        for container in definition["containerDefinitions"]
        for each in container.get("resourceRequirements", ())
    ]
    for kind, value in asked:
        if kind == "InferenceAccelerator" and value not in names:
            raise ClientException(f"Inference accelerator '{value[:100]}' is not declared in inferenceAccelerators.")
    gpus = [value for kind, value in asked if kind == "GPU"]
    if "ALL" in gpus and len(gpus) > 1:
        raise ClientException("When a container specifies ALL GPUs, no other container of the task can specify GPUs.")
    if sum(kind == "NeuronDevice" for kind, _ in asked) > 1:
        raise ClientException("Only one container in a task can specify NeuronDevice resources.")
