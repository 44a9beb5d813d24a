"""What a container gets with the credentials of its task's execution role, before it is made.

Nothing of it is kept but ECR's tokens, in memory. No text of an error shows a value.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
"""

import base64
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ecs_anywhere_agent.aws import Aws, AwsCall, AwsError, CallAws
from ecs_anywhere_agent.container_secrets import EcrRegistry, MalformedReferenceError, Registry, SecretRegistry
from ecs_anywhere_agent.container_spec import ContainerSpec
from ecs_anywhere_agent.environment_file import merged
from ecs_anywhere_agent.role_credentials import HeldCredentials
from ecs_anywhere_agent.secret_values import UnusableAnswerError, Values, questions
from ecs_protocol.messages import RoleCredentials

_TOKEN_ENDS_EARLY = timedelta(minutes=30)
"""Of its twelve hours; as with Amazon's agent."""
_NOTHING_PULLED = "unable to pull secrets or registry auth"


class CannotFetchError(Exception):
    """It cannot be had; the text says why."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{_NOTHING_PULLED}: {why}")


class NoEcrTokenError(Exception):
    """Amazon ECR gives no token; the text says why."""


class RegistryLogin(NamedTuple):
    """Not to be stored."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "RegistryLogin(...)"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a container's spec does not have. Not to be stored as it is; no representation shows it."""

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Instead of what the spec has under the same name."""
    log_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    objects: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Of S3, by ARN."""

    def into(self, spec: ContainerSpec) -> ContainerSpec:
        """The spec, completed: as little to be stored as this."""
        environment = {**dict(spec.environment), **self.environment}
        logs = spec.logs and spec.logs._replace(options=(*spec.logs.options, *self.log_options.items()))
        return spec._replace(environment=tuple(environment.items()), logs=logs)

    def hidden_in(self, text: str) -> str:
        """The words of somebody who was told the values."""
        return hidden((*self.environment.values(), *self.log_options.values()), text)


def hidden(values: tuple[str, ...], text: str) -> str:
    """The text without the values; the longest first, as one may be a part of another."""
    for value in sorted(filter(None, values), key=len, reverse=True):
        text = text.replace(value, "***")
    return text


class ExecutionRoles:
    """For threads."""

    def __init__(
        self,
        held: HeldCredentials,
        call: CallAws | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._held = held
        self._call = call or Aws()
        self._now = now
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, str], tuple[RegistryLogin, datetime]] = {}
        """By role and region, with their ends."""

    def fetch(self, task_id: str, spec: ContainerSpec) -> Fetched:
        """Secrets and files of variables. Raises CannotFetchError."""
        if not spec.needs_execution_role:
            return Fetched()
        of_log = spec.logs.secret_options if spec.logs else ()
        of_router = (spec.routes_logs and spec.routes_logs.external) or None
        objects = [of_router] if of_router else []
        try:
            asked = questions((*spec.secrets, *of_log), spec.environment_files, spec.origin.region, objects=objects)
        except MalformedReferenceError as error:
            raise CannotFetchError(str(error)) from None
        values, problems = Values({}, [], {}), []
        answers = self._call(self._credentials(task_id), [each.call for each in asked])
        for question, answer in zip(asked, answers, strict=True):
            try:
                question.take(answer, values)
            except UnusableAnswerError as error:
                problems.append(str(error))
        if problems:
            raise CannotFetchError(";".join(problems))
        plain = dict(spec.environment)
        of_files = {name: value for name, value in merged(values.files).items() if name not in plain}
        return Fetched(
            {**of_files, **{each.name: values.secrets[each.value_from] for each in spec.secrets}},
            {each.name: values.secrets[each.value_from] for each in of_log},
            values.objects,
        )

    def login(self, task_id: str, registry: Registry) -> RegistryLogin:
        """Raises CannotFetchError, NoEcrTokenError."""
        credentials = self._credentials(task_id)
        if isinstance(registry, EcrRegistry):
            return self._ecr_login(credentials, registry)
        return self._secret_login(credentials, registry)

    def close(self) -> None:
        """What is on its way fails."""
        self._call.close()

    def _credentials(self, task_id: str) -> RoleCredentials:
        credentials = self._held.get(task_id, "execution")
        if credentials is None:
            raise CannotFetchError("unable to find execution role credentials")
        return credentials

    def _ecr_login(self, credentials: RoleCredentials, registry: EcrRegistry) -> RegistryLogin:
        key = credentials.role_arn, registry.region
        with self._lock:
            known = self._tokens.get(key)
        if known is not None and self._now() < known[1] - _TOKEN_ENDS_EARLY:
            return known[0]
        (answer,) = self._call(credentials, [AwsCall("ecr", "get_authorization_token", registry.region, {})])
        if isinstance(answer, AwsError):
            raise NoEcrTokenError(f"ecr auth: {answer}")
        try:
            data = answer["authorizationData"][0]
            username, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
            end = datetime.fromisoformat(data["expiresAt"])
        except (KeyError, IndexError, ValueError):
            raise NoEcrTokenError("ecr auth: AuthorizationData is malformed") from None
        login = RegistryLogin(username, password)
        with self._lock:
            self._tokens[key] = login, end
        return login

    def _secret_login(self, credentials: RoleCredentials, registry: SecretRegistry) -> RegistryLogin:
        call = AwsCall("secretsmanager", "get_secret_value", registry.region, {"SecretId": registry.secret_id})
        (answer,) = self._call(credentials, [call])
        if isinstance(answer, AwsError):
            raise CannotFetchError(f"asm fetching secret from the service for {registry.secret_id}: {answer}")
        try:
            given = json.loads(answer.get("SecretString") or "")
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise CannotFetchError("asm fetching authorization data: unable to unmarshal secret value, invalid schema")
        for name in RegistryLogin._fields:
            if not given.get(name) or not isinstance(given[name], str):
                raise CannotFetchError(f"asm fetching {name}: AuthorizationData is malformed, empty field")
        return RegistryLogin(given["username"], given["password"])
