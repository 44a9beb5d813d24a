"""Which calls bring the values that a container needs, and how their answers are read. Pure.

The words of problems are those of Amazon's agent; none shows a value.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
"""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ecs_anywhere_agent.aws import Answer, AwsCall, AwsError
from ecs_anywhere_agent.container_secrets import Secret, SecretReference, region_of, s3_object, secret_reference
from ecs_anywhere_agent.environment_file import MOST_BYTES, UnusableFileError, variables_of

_PARAMETERS_OF_A_CALL = 10


class Values(NamedTuple):
    """What came. Not to be stored, nor to be shown."""

    secrets: dict[str, str]
    """By `valueFrom`."""
    files: list[dict[str, str]]
    """In the order of the task definition."""
    objects: dict[str, bytes]
    """Of S3, by ARN."""


class UnusableAnswerError(Exception):
    """The text says why."""


class Question(NamedTuple):
    """A call, and what puts its answer among the values; that raises UnusableAnswerError."""

    call: AwsCall
    take: Callable[[Answer, Values], None]


def questions(
    secrets: Sequence[Secret], files: Sequence[str], own_region: str, *, objects: Sequence[str] = ()
) -> list[Question]:
    """Each value is asked for once, whoever wants it. Raises MalformedReferenceError."""
    return [
        *_parameters([each.value_from for each in secrets if not each.is_of_secrets_manager], own_region),
        *_secrets([each.value_from for each in secrets if each.is_of_secrets_manager], own_region),
        *_files(files, own_region),
        *(_object(arn, own_region) for arn in objects),
    ]


def _parameters(names: Sequence[str], own_region: str) -> Iterator[Question]:
    by_region: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        by_region.setdefault(region_of(name, own_region), []).append(name)
    for region, wanted in by_region.items():
        for start in range(0, len(wanted), _PARAMETERS_OF_A_CALL):
            yield _some_parameters(region, wanted[start : start + _PARAMETERS_OF_A_CALL])


def _some_parameters(region: str, names: list[str]) -> Question:
    def take(answer: Answer, values: Values) -> None:
        about = f"fetching secret data from SSM Parameter Store in {region}"
        if isinstance(answer, AwsError):
            raise UnusableAnswerError(f"{about}: {answer}")
        found = {name: each["Value"] for each in answer.get("Parameters", ()) for name in _names_of(each)}
        missing = [name for name in names if name not in found]
        if missing:
            raise UnusableAnswerError(f"{about}: invalid parameters: {','.join(missing)}")
        values.secrets.update({name: found[name] for name in names})

    return Question(AwsCall("ssm", "get_parameters", region, {"Names": names, "WithDecryption": True}), take)


def _names_of(parameter: dict[str, Any]) -> Iterator[str]:
    """It may have been asked for by name or by ARN, both with a `:version` or `:label`, which is the selector then."""
    for name in (parameter.get("Name"), parameter.get("ARN")):
        if name:
            yield name + (parameter.get("Selector") or "")


def _secrets(references: Sequence[str], own_region: str) -> Iterator[Question]:
    for value_from in dict.fromkeys(references):
        yield _secret(value_from, secret_reference(value_from), region_of(value_from, own_region))


def _secret(value_from: str, reference: SecretReference, region: str) -> Question:
    given = {
        "SecretId": reference.secret_id,
        "VersionStage": reference.version_stage,
        "VersionId": reference.version_id,
    }

    def take(answer: Answer, values: Values) -> None:
        try:
            values.secrets[value_from] = _secret_value(reference, answer)
        except UnusableAnswerError as error:
            raise UnusableAnswerError(
                f"fetching secret data from AWS Secrets Manager in region {region}: secret {value_from}: {error}"
            ) from None

    parameters = {name: value for name, value in given.items() if value is not None}
    return Question(AwsCall("secretsmanager", "get_secret_value", region, parameters), take)


def _secret_value(reference: SecretReference, answer: Answer) -> str:
    if isinstance(answer, AwsError):
        if answer.code == "ResourceNotFoundException":
            raise UnusableAnswerError(
                f"The task can't retrieve the secret with ARN '{reference.secret_id}' from AWS Secrets Manager. Check "
                f"that the secret ARN is correct: {answer}"
            )
        raise UnusableAnswerError(str(answer))
    text = answer.get("SecretString")
    if not isinstance(text, str):
        raise UnusableAnswerError("it holds binary data, which no environment variable can hold")
    if reference.json_key is None:
        return _without_nul(text)
    try:
        members = json.loads(text)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise UnusableAnswerError("retrieved secret from Secrets Manager is no JSON object")
    if reference.json_key not in members:
        raise UnusableAnswerError(
            f"retrieved secret from Secrets Manager did not contain json key {reference.json_key}"
        )
    value = members[reference.json_key]
    return _without_nul(value) if isinstance(value, str) else json.dumps(value)


def _without_nul(value: str) -> str:
    """Raises UnusableAnswerError."""
    if "\0" in value:
        raise UnusableAnswerError("it has a NUL character, which no environment variable can have")
    return value


def _files(arns: Sequence[str], own_region: str) -> Iterator[Question]:
    for arn in arns:
        yield _file(*s3_object(arn), own_region)


def _file(bucket: str, key: str, region: str) -> Question:
    def take(answer: Answer, values: Values) -> None:
        about = f"unable to download env file with key {key} from bucket {bucket}, error"
        if isinstance(answer, AwsError):
            raise UnusableAnswerError(f"{about}: {answer}")
        content = base64.b64decode(answer["Body"])
        if len(content) > MOST_BYTES:
            raise UnusableAnswerError(f"{about}: it is larger than {MOST_BYTES} bytes")
        try:
            values.files.append(variables_of(content))
        except UnusableFileError as error:
            raise UnusableAnswerError(f"{about}: {error}") from None

    return Question(AwsCall("s3", "get_object", region, {"Bucket": bucket, "Key": key}), take)


def _object(arn: str, region: str) -> Question:
    """The configuration of a log router."""
    bucket, key = s3_object(arn, "firelensConfiguration")

    def take(answer: Answer, values: Values) -> None:
        about = f"unable to download firelens s3 config file: unable to download s3 config {key} from bucket {bucket}"
        if isinstance(answer, AwsError):
            raise UnusableAnswerError(f"{about}: {answer}")
        values.objects[arn] = base64.b64decode(answer["Body"])

    return Question(AwsCall("s3", "get_object", region, {"Bucket": bucket, "Key": key}), take)
