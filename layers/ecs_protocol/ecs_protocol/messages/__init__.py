"""Every message between the control plane and an agent, over MQTT and at registration.

Each is one JSON object in camelCase with a `type` and a version `v`. Both sides ignore members that they do not
know; a member is only ever added with a default and never changes its meaning (rule 11 of the design).

    agent  ── topics.requests ─────────►  RegisterContainerInstance | Reconcile | DescribeTasks | ReportOrphans
                                          | RotateCertificate | MessageRejected | DeregistrationNoted
    agent  ── topics.credentials ──────►  GetCredentials
    agent  ── topics.taskStateChanges ─►  TaskStateChanges
    agent  ◄─ topics.commands ──────────  RegistrationRequired | Reconciliation | TaskCommands | OrphansNoted | Probe
                                          | Refused | RotationRequired | CertificateIssued | TaskCredentials
                                          | Deregistered | OpenLogs | OpenExec

What is said in a stream that OpenLogs or OpenExec opens is in streams.py.
"""

from ecs_protocol.messages.base import (
    AT_FIRST_USE,
    MAX_GPUS,
    MAX_MESSAGE_BYTES,
    Attribute,
    GpuId,
    HostPort,
    Message,
    NetworkBinding,
    PinnedGpus,
    SessionId,
    TaskId,
    Timestamp,
)
from ecs_protocol.messages.commands import (
    CONTROL_PLANE_MESSAGE,
    DUPLICATE_IDENTITY,
    CertificateIssued,
    ControlPlaneMessage,
    CredentialsRefused,
    Deregistered,
    ListedTask,
    OpenExec,
    OpenLogs,
    OrphansNoted,
    Probe,
    Reconciliation,
    Refused,
    RegistrationRequired,
    RoleCredentials,
    RotationRequired,
    TaskCommand,
    TaskCommands,
    TaskCredentials,
)
from ecs_protocol.messages.identity import (
    ActivateRequest,
    ActivationRefused,
    Identity,
    Topics,
)
from ecs_protocol.messages.reports import (
    ContainerReport,
    RestartsInPlace,
    TaskReport,
    TaskStateChanges,
)
from ecs_protocol.messages.requests import (
    AGENT_REQUEST,
    MAX_CREDENTIALS_WANTED,
    MAX_ORPHANS,
    AgentRequest,
    CredentialsWanted,
    DeregistrationNoted,
    DescribeTasks,
    GetCredentials,
    MessageRejected,
    OrphanReport,
    Reconcile,
    RegisterContainerInstance,
    ReportOrphans,
    RoleKind,
    RotateCertificate,
)

__all__ = [
    "AGENT_REQUEST",
    "AT_FIRST_USE",
    "CONTROL_PLANE_MESSAGE",
    "DUPLICATE_IDENTITY",
    "MAX_CREDENTIALS_WANTED",
    "MAX_GPUS",
    "MAX_MESSAGE_BYTES",
    "MAX_ORPHANS",
    "ActivateRequest",
    "ActivationRefused",
    "AgentRequest",
    "Attribute",
    "CertificateIssued",
    "ContainerReport",
    "ControlPlaneMessage",
    "CredentialsRefused",
    "CredentialsWanted",
    "Deregistered",
    "DeregistrationNoted",
    "DescribeTasks",
    "GetCredentials",
    "GpuId",
    "HostPort",
    "Identity",
    "ListedTask",
    "Message",
    "MessageRejected",
    "NetworkBinding",
    "OpenExec",
    "OpenLogs",
    "OrphanReport",
    "OrphansNoted",
    "PinnedGpus",
    "Probe",
    "Reconcile",
    "Reconciliation",
    "Refused",
    "RegisterContainerInstance",
    "RegistrationRequired",
    "ReportOrphans",
    "RestartsInPlace",
    "RoleCredentials",
    "RoleKind",
    "RotateCertificate",
    "RotationRequired",
    "SessionId",
    "TaskCommand",
    "TaskCommands",
    "TaskCredentials",
    "TaskId",
    "TaskReport",
    "TaskStateChanges",
    "Timestamp",
    "Topics",
]
