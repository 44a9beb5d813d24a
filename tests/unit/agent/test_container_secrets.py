"""What a container definition says of what the execution role fetches, and how it is read."""

from typing import Any

import pytest

from ecs_anywhere_agent.container_secrets import (
    EcrRegistry,
    MalformedReferenceError,
    Registry,
    SecretReference,
    SecretRegistry,
    region_of,
    registry_of,
    s3_object,
    secret_reference,
)
from ecs_anywhere_agent.environment_file import UnusableFileError, merged, variables_of

SECRET = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbCdEf"
ECR = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/app:1"


@pytest.mark.parametrize(
    ("value_from", "read"),
    [
        pytest.param(SECRET, SecretReference(SECRET), id="the-whole-secret"),
        pytest.param(f"{SECRET}:password::", SecretReference(SECRET, "password"), id="a-member"),
        pytest.param(f"{SECRET}::AWSPREVIOUS:", SecretReference(SECRET, None, "AWSPREVIOUS"), id="a-stage"),
        pytest.param(f"{SECRET}:::9d4cb84b", SecretReference(SECRET, None, None, "9d4cb84b"), id="a-version"),
        pytest.param(f"{SECRET}:a:b:c", SecretReference(SECRET, "a", "b", "c"), id="all-of-them"),
    ],
)
def test_a_secret_is_named_with_its_member_stage_and_version(value_from: str, read: SecretReference) -> None:
    assert secret_reference(value_from) == read


@pytest.mark.parametrize(
    "value_from", [f"{SECRET}:password", f"{SECRET}:a:b", f"{SECRET}:a:b:c:d", "secret:a:b:c:d:e:f"]
)
def test_what_is_no_secrets_arn_is_said_to_be_none(value_from: str) -> None:
    with pytest.raises(MalformedReferenceError, match="an invalid ARN format for the AWS Secrets Manager secret"):
        secret_reference(value_from)


@pytest.mark.parametrize(
    ("reference", "region"),
    [
        pytest.param("arn:aws:ssm:eu-west-1:1:parameter/a", "eu-west-1", id="an-arns-own"),
        pytest.param("arn:aws:s3:::bucket/key", "here", id="an-arn-without-one"),
        pytest.param("/app/password", "here", id="a-name"),
    ],
)
def test_the_region_of_what_is_named(reference: str, region: str) -> None:
    assert region_of(reference, "here") == region


def test_an_object_of_s3() -> None:
    assert s3_object("arn:aws-cn:s3:::bucket/a/b.env") == ("bucket", "a/b.env")
    with pytest.raises(MalformedReferenceError, match=r"invalid s3 arn: arn:aws:s3:::bucket$"):
        s3_object("arn:aws:s3:::bucket")


@pytest.mark.parametrize(
    ("container", "role", "registry"),
    [
        pytest.param({"image": ECR}, True, EcrRegistry("eu-central-1"), id="ecr"),
        pytest.param({"image": ECR}, False, None, id="ecr-without-a-role"),
        pytest.param({"image": "public.ecr.aws/app:1"}, True, None, id="the-public-gallery"),
        pytest.param({"image": "registry.example/111122223333.dkr.ecr.x.y/app"}, True, None, id="only-its-looks"),
        pytest.param(
            {"image": "r.example/app", "repositoryCredentials": {"credentialsParameter": SECRET}},
            True,
            SecretRegistry(SECRET, "eu-west-1"),
            id="a-private-registry",
        ),
        pytest.param(
            {"image": ECR, "repositoryCredentials": {"credentialsParameter": "login"}},
            True,
            SecretRegistry("login", "here"),
            id="whose-secret-is-a-name",
        ),
    ],
)
def test_how_an_image_is_pulled(container: dict[str, Any], role: bool, registry: Registry | None) -> None:
    assert registry_of(container, execution_role=role, region="here") == registry


def test_a_file_of_variables_is_read_as_amazons_agent_does() -> None:
    content = b'A=1\r\n#B=2\n # C=3\nD="4 "\nE=5=6\n=7\nF=\nG\n\nexport H=8\nA=9\n\xff=\xfe'
    assert variables_of(content) == {
        "A": "9",
        " # C": "3",
        "D": '"4 "',
        "E": "5=6",
        "export H": "8",
        "\ufffd": "\ufffd",
    }


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"A=1\nB=" + b"x" * 65536, "line 2 is longer than 65536 bytes", id="a-line-too-long"),
        pytest.param(b"A=\0", "line 1 has a NUL byte", id="a-byte-that-no-variable-can-have"),
    ],
)
def test_a_file_that_cannot_be_used_says_where(content: bytes, why: str) -> None:
    with pytest.raises(UnusableFileError, match=why):
        variables_of(content)


def test_the_first_of_several_files_counts() -> None:
    assert merged([{"A": "1"}, {"A": "2", "B": "2"}, {"B": "3", "C": "3"}]) == {"A": "1", "B": "2", "C": "3"}
