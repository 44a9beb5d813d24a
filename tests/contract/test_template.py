"""What template.yaml and the code must agree on, and what every function, queue and alarm of it must have."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

import pytest

from contract.the_template import PREFIX, ROOT, of_type, referred, resolved, template
from control_plane.store import instances, services, tasks
from ecs_protocol.names import rule_name, stream_client_id, stream_topic, thing_name, topics
from world import TABLE_SCHEMA, World

FUNCTIONS = of_type("AWS::Serverless::Function")
QUEUES = of_type("AWS::SQS::Queue")
ALARMS = of_type("AWS::CloudWatch::Alarm")
RULES = of_type("AWS::IoT::TopicRule")
THING = thing_name(PREFIX, "0" * 32)


def event_sources(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(function, the properties of an event source)."""
    for name, function in FUNCTIONS.items():
        for source in function.get("Events", {}).values():
            if source["Type"] == kind:
                yield name, source["Properties"]


def dead_letter_queues() -> dict[str, str]:
    """Of every queue that has one, by logical id."""
    return {
        name: referred(queue["RedrivePolicy"]["deadLetterTargetArn"])
        for name, queue in QUEUES.items()
        if "RedrivePolicy" in queue
    }


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    """(role, a statement of its policies)."""
    for name, role in of_type("AWS::IAM::Role").items():
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement
    for policy in of_type("AWS::IAM::Policy").values():
        for role in policy["Roles"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield referred(role), statement


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_every_folder_is_a_function_and_the_other_way_round() -> None:
    folders = {f"functions/{folder.parent.name}/" for folder in (ROOT / "functions").glob("*/app.py")}
    assert {function["CodeUri"] for function in FUNCTIONS.values()} == folders
    assert len(FUNCTIONS) == len(folders)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function(name: str) -> None:
    function, folder = FUNCTIONS[name], FUNCTIONS[name]["CodeUri"].split("/")[1]
    assert name == folder.title().replace("_", "")
    assert resolved(function["FunctionName"]) == f"{PREFIX}-{folder.replace('_', '-')}"
    assert function["MemorySize"] >= 256
    assert 0 < function["Timeout"] <= 60
    assert template()["Globals"]["Function"]["Tracing"] == "Active"
    log = of_type("AWS::Logs::LogGroup")[f"{name}Log"]
    assert resolved(log["LogGroupName"]) == f"/aws/lambda/{resolved(function['FunctionName'])}"
    assert log["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_a_role_of_its_own(name: str) -> None:
    assert referred(FUNCTIONS[name]["Role"]) == f"{name}Role"
    role = of_type("AWS::IAM::Role")[f"{name}Role"]
    assert "ManagedPolicyArns" not in role
    assert [policy["PolicyName"] for policy in role["Policies"]] == ["function"]


def test_iam_decides_who_logs_in_and_nothing_of_it_is_there_where_iam_does_not() -> None:
    routes = of_type("AWS::ApiGatewayV2::Route")
    by_iam = {route["RouteKey"] for route in routes.values() if route["AuthorizationType"] == "AWS_IAM"}
    assert by_iam == {"POST /credentials", "POST /credentials/administrator"}
    conditional = {
        name for name, each in template()["Resources"].items() if each.get("Condition") == "HasIamCredentials"
    }
    of_logging_in = re.compile(r"(Api|Administrator)?Credentials(Integration|Route|Permission|Role|Log)?")
    assert conditional == {name for name in template()["Resources"] if of_logging_in.fullmatch(name)}


def test_nobody_may_do_all_of_anything() -> None:
    for role, statement in statements():
        for action in as_list(statement["Action"]):
            assert "*" not in action, f"{role} may {action}"
        assert statement["Effect"] == "Allow"


KNOWS_NO_RESOURCE = "the action knows no resource"
OF_ANY_RESOURCE = {
    "xray:PutTraceSegments": KNOWS_NO_RESOURCE,
    "xray:PutTelemetryRecords": KNOWS_NO_RESOURCE,
    "dynamodb:ListStreams": "Lambda asks for it to read the stream; it tells names of streams, of all tables",
    "iot:CreateCertificateFromCsr": KNOWS_NO_RESOURCE,
    "iot:DescribeEndpoint": KNOWS_NO_RESOURCE,
    "iot:AttachPolicy": "its resource is the certificate, whose id AWS IoT has just made up",
    "iot:AttachThingPrincipal": KNOWS_NO_RESOURCE,
    "iot:DetachThingPrincipal": KNOWS_NO_RESOURCE,
}
"""What may stand with `Resource: "*"`, and why. https://docs.aws.amazon.com/service-authorization/latest/reference/"""


def of_any_resource() -> set[tuple[str, str]]:
    """(role, action) wherever a statement is for any resource, however that is written."""
    return {
        (role, action)
        for role, statement in statements()
        if any(re.fullmatch(r"\*|arn:[^/]*:\*", str(resolved(each))) for each in as_list(statement["Resource"]))
        for action in as_list(statement["Action"])
    }


def test_any_resource_is_allowed_only_where_that_is_listed_with_its_reason() -> None:
    assert {action for _, action in of_any_resource()} == set(OF_ANY_RESOURCE)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_what_its_role_says_and_nothing_by_other_ways(name: str) -> None:
    """No managed policies, no permissions for others but those that the flow needs, a role for it alone."""
    role = template()["Resources"][f"{name}Role"]["Properties"]
    assert set(role) == {"AssumeRolePolicyDocument", "Policies"}
    assert "Policies" not in FUNCTIONS[name], "SAM would make a role of its own"
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Principal"], trust["Action"]) == ({"Service": "lambda.amazonaws.com"}, "sts:AssumeRole")
    users = [other for other, function in FUNCTIONS.items() if referred(function["Role"]) == f"{name}Role"]
    assert users == [name]


def test_no_variable_of_a_function_holds_a_secret() -> None:
    """The secrets' ARNs are there; what they hold a function reads itself."""
    secrets = set(of_type("AWS::SecretsManager::Secret"))
    variables = [template()["Globals"]["Function"]["Environment"]["Variables"]]
    variables += [function.get("Environment", {}).get("Variables", {}) for function in FUNCTIONS.values()]
    given = {name: value for each in variables for name, value in each.items()}
    assert "{{resolve:" not in json.dumps(template())
    hidden = {name for name, parameter in template()["Parameters"].items() if parameter.get("NoEcho")}
    assert not hidden, "a secret would be a parameter of the stack"
    for name, value in given.items():
        if isinstance(value, dict) and secrets & {str(value.get("Ref")), str(value.get("Fn::GetAtt", [""])[0])}:
            assert name.endswith("_SECRET_ARN")
            assert value["Fn::GetAtt"][1] == "Id"


OWN_KEY = {"Fn::GetAtt": ["EncryptionKey", "Arn"]}
IF_WANTED = {"Fn::If": ["HasCustomerManagedKey", OWN_KEY, {"Ref": "AWS::NoValue"}]}


def test_all_that_is_stored_is_encrypted_and_with_the_accounts_own_key_if_it_wants_one() -> None:
    for queue in QUEUES.values():
        assert queue["SqsManagedSseEnabled"] == {"Fn::If": ["HasCustomerManagedKey", False, True]}
        assert queue["KmsMasterKeyId"] == IF_WANTED
    for kind in ("AWS::Logs::LogGroup", "AWS::SecretsManager::Secret"):
        assert {name: each.get("KmsKeyId") for name, each in of_type(kind).items()} == dict.fromkeys(
            of_type(kind), IF_WANTED
        )
    [table] = of_type("AWS::DynamoDB::Table").values()
    encrypted = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": OWN_KEY}
    assert table["SSESpecification"]["Fn::If"] == ["HasCustomerManagedKey", encrypted, {"Ref": "AWS::NoValue"}]


def test_the_key_lets_in_those_who_deliver_and_nobody_else() -> None:
    [key] = of_type("AWS::KMS::Key").values()
    assert key["EnableKeyRotation"] is True
    by_sid = {each["Sid"]: resolved(each) for each in key["KeyPolicy"]["Statement"]}
    assert by_sid.pop("IamOfThisAccountAdministersIt")["Action"] == "kms:*"
    told = {sid: (each["Principal"], each["Condition"]) for sid, each in by_sid.items()}
    logs = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:/aws"
    through = [f"{service}.${{AWS::Region}}.${{AWS::URLSuffix}}" for service in ("dynamodb", "sqs", "secretsmanager")]
    assert told == {
        "ThroughTheServicesThatHoldIt": (
            {"AWS": "*"},
            {"StringEquals": {"kms:CallerAccount": "AWS::AccountId", "kms:ViaService": through}},
        ),
        "EventBridgeDeliversToAQueue": (
            {"Service": "events.amazonaws.com"},
            {"StringEquals": {"aws:SourceAccount": "AWS::AccountId"}},
        ),
        "LogsOfThisDeployment": (
            {"Service": "logs.${AWS::Region}.amazonaws.com"},
            {
                "ArnLike": {
                    "kms:EncryptionContext:aws:logs:arn": [
                        f"{logs}/lambda/{PREFIX}-*",
                        f"{logs}/vendedlogs/{PREFIX}-*",
                    ]
                }
            },
        ),
    }
    for sid, each in by_sid.items():
        assert not any("*" in action for action in each["Action"]), sid
    groups = [resolved(each["LogGroupName"]) for each in of_type("AWS::Logs::LogGroup").values()]
    assert all(name.startswith((f"/aws/lambda/{PREFIX}-", f"/aws/vendedlogs/{PREFIX}-")) for name in groups)


def test_no_queue_answers_without_tls() -> None:
    denied: set[str] = set()
    for policy in of_type("AWS::SQS::QueuePolicy").values():
        for each in policy["PolicyDocument"]["Statement"]:
            statement = each["Fn::If"][1] if "Fn::If" in each else each
            if statement["Effect"] == "Deny":
                assert (statement["Principal"], statement["Action"]) == ("*", "sqs:*")
                assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
                denied |= {referred(queue) for queue in policy["Queues"]}
    assert denied == set(QUEUES)


@pytest.mark.parametrize(("name", "source"), list(event_sources("SQS")))
def test_a_function_behind_a_queue(name: str, source: dict[str, Any]) -> None:
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert 2 <= source["ScalingConfig"]["MaximumConcurrency"] <= 1000
    assert source.get("Enabled", True) is True
    queue = QUEUES[referred(source["Queue"])]
    window = source.get("MaximumBatchingWindowInSeconds", 0)
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    assert queue["VisibilityTimeout"] >= 6 * FUNCTIONS[name]["Timeout"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5
    assert source["BatchSize"] <= 10 or window >= 1
    permitted = [statement for role, statement in statements() if role == f"{name}Role"]
    receive = next(each for each in permitted if "sqs:ReceiveMessage" in as_list(each["Action"]))
    assert set(receive["Action"]) == {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
    assert source["Queue"] in as_list(receive["Resource"])


@pytest.mark.parametrize(("name", "source"), list(event_sources("DynamoDB")))
def test_a_function_behind_the_stream(name: str, source: dict[str, Any]) -> None:
    assert name.startswith("Stream")
    assert source["BisectBatchOnFunctionError"] is True
    assert source["MaximumRecordAgeInSeconds"] == {"Ref": "StreamRecordMaxAge"}
    assert template()["Parameters"]["StreamRecordMaxAge"]["Default"] == -1
    assert referred(source["DestinationConfig"]["OnFailure"]["Destination"]) == "StreamFailures"


def test_two_functions_read_the_stream() -> None:
    """DynamoDB allows two readers of a shard."""
    assert len(list(event_sources("DynamoDB"))) == 2


def test_streams_filter_by_kinds_that_the_store_writes() -> None:
    written = {
        tasks.KIND,
        instances.KIND,
        instances.REGISTRATION_KIND,
        services.KIND,
        services.EVENT_KIND,
    }
    filtered: dict[str, set[str]] = {}
    for name, source in event_sources("DynamoDB"):
        for each in source["FilterCriteria"]["Filters"]:
            filtered.setdefault(name, set()).update(json.loads(each["Pattern"])["dynamodb"]["NewImage"]["kind"]["S"])
    assert filtered == {"StreamAgentCommands": {tasks.KIND}, "StreamEvents": written}


def test_queues_keep_what_nobody_could_handle() -> None:
    consumed = {referred(source["Queue"]) for _, source in event_sources("SQS")}
    redriven = dead_letter_queues()
    assert consumed == set(redriven)
    for name, queue in QUEUES.items():
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600, name
    for name, dead in redriven.items():
        assert dead == f"{name}Dlq"
        assert QUEUES[name].get("FifoQueue", False) == QUEUES[dead].get("FifoQueue", False)
        ends = "-dlq.fifo" if QUEUES[dead].get("FifoQueue") else "-dlq"
        assert resolved(QUEUES[dead]["QueueName"]) == resolved(QUEUES[name]["QueueName"]).removesuffix(".fifo") + ends


def alarmed(metric: str) -> set[str]:
    """What the alarms on a metric look at, by logical id."""
    found = [alarm for alarm in ALARMS.values() if alarm["MetricName"] == metric and alarm.get("Dimensions")]
    return {referred(alarm["Dimensions"][0]["Value"]) for alarm in found}


def test_every_queue_has_an_alarm() -> None:
    consumed = {referred(source["Queue"]) for _, source in event_sources("SQS")}
    assert alarmed("ApproximateNumberOfMessagesVisible") == set(QUEUES) - consumed
    assert alarmed("ApproximateAgeOfOldestMessage") == consumed
    assert alarmed("IteratorAge") == {name for name, _ in event_sources("DynamoDB")}


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_says_where_to_read_on(name: str) -> None:
    alarm = ALARMS[name]
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs/operations.md").read_text(encoding="utf-8"), re.MULTILINE)
    pointed = re.search(r"See (\w+) in docs/operations\.md\.$", alarm["AlarmDescription"])
    assert pointed
    assert pointed[1] in headings
    assert name.endswith(f"{pointed[1]}Alarm")
    assert alarm["TreatMissingData"] == "notBreaching"
    assert alarm["AlarmActions"]["Fn::If"][0] == "HasAlarmTopic"


def test_operations_describe_no_alarm_that_there_is_not() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^### (.+)$", text.split("\n## Alarms\n")[1], re.MULTILINE))
    assert described == {re.findall(r"See (\w+) in", alarm["AlarmDescription"])[0] for alarm in ALARMS.values()}


def test_operations_name_the_queues_that_can_be_replayed() -> None:
    names = {resolved(QUEUES[name]["QueueName"]).removeprefix(f"{PREFIX}-") for name in dead_letter_queues()}
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert {name.removesuffix(".fifo") for name in names} == set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))


def test_the_table_is_the_one_that_the_tests_use() -> None:
    [table] = of_type("AWS::DynamoDB::Table").values()
    for name, value in TABLE_SCHEMA.items():
        assert table[name] == value, name
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_IMAGE"}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expiresAt", "Enabled": True}
    assert set(table) - set(TABLE_SCHEMA) == {
        "TableName",
        "DeletionProtectionEnabled",
        "PointInTimeRecoverySpecification",
        "SSESpecification",
        "StreamSpecification",
        "TimeToLiveSpecification",
    }


def test_stored_items_have_the_keys_that_the_table_asks_for(world: World, moto_dynamodb: Any) -> None:
    """moto, like DynamoDB, refuses a key of another type."""
    world.cluster()
    world.task_definition()
    machine = world.machine()
    items = moto_dynamodb.scan(TableName="world")["Items"]
    assert items
    assert all(set(item["pk"]) == {"S"} and set(item["sk"]) == {"S"} for item in items)
    assert any(item.get("instanceId") == {"S": machine} for item in items)
    kinds = {item["kind"]["S"] for item in items if "kind" in item}
    assert {instances.KIND, instances.REGISTRATION_KIND} <= kinds


@pytest.mark.parametrize(
    ("rule", "what", "topic"),
    [
        ("AgentRequestRule", "agent_request", topics(PREFIX, THING).requests),
        ("TaskStateChangeRule", "task_state_change", topics(PREFIX, THING).task_state_changes),
        ("CredentialsRule", "credentials", topics(PREFIX, THING).credentials),
    ],
)
def test_a_rule_takes_what_agents_publish(rule: str, what: str, topic: str) -> None:
    name = resolved(RULES[rule]["RuleName"])
    assert name == rule_name(PREFIX, what)
    assert re.fullmatch(r"[a-zA-Z0-9_]+", name)
    sql = resolved(RULES[rule]["TopicRulePayload"]["Sql"])
    [source] = re.findall(r"FROM '([^']+)'$", sql)
    # Basic Ingest: what follows the rule's name is the topic that the rule sees.
    seen = topic.removeprefix(f"$aws/rules/{name}/")
    assert seen != topic
    assert re.fullmatch(source.replace("+", "[^/]+"), seen)
    members = re.findall(r"(\w+\([^)]*\)) AS (\w+)", sql)
    assert {to: function for function, to in members} == {
        "principal": "principal()",
        "clientId": "clientid()",
        "topic": "topic()",
        "receivedAt": "timestamp()",
        "payload": "encode(*, 'base64')",
    }


def test_only_one_function_may_assume_roles_of_tasks_and_only_those_under_the_path_or_with_the_tag() -> None:
    may = {
        (role, resolved(statement["Resource"], TaskRolePath="/work/"), str(resolved(statement.get("Condition"))))
        for role, statement in statements()
        if {"sts:AssumeRole", "sts:TagSession"} & set(as_list(statement["Action"]))
    }
    arn = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role"
    tagged = {"StringEquals": {"aws:ResourceTag/ecs-anywhere": "TaskRoleTag"}}
    assert may == {
        ("IotCredentialsRole", f"{arn}/work/*", "None"),
        ("IotCredentialsRole", f"{arn}/*", str(tagged)),
        ("ApiEcsRole", "StreamRole.Arn", "None"),
        ("ApiOperatorRole", "StreamRole.Arn", "None"),
    }
    assert template()["Parameters"]["TaskRolePath"]["Default"] == "/ecs-anywhere/"


def test_who_asks_whether_a_role_can_be_assumed_knows_whom_to_ask_and_may() -> None:
    """Those that start tasks, and the one that says why none starts."""
    may = {
        role.removesuffix("Role")
        for role, statement in statements()
        if "lambda:InvokeFunction" in as_list(statement["Action"]) and "IotCredentials" in str(statement["Resource"])
    }
    know = {
        name
        for name, function in FUNCTIONS.items()
        if "CREDENTIALS_FUNCTION_NAME" in function.get("Environment", {}).get("Variables", {})
    }
    assert may == know == {"ApiEcs", "ApiOperator", "QueueRunTask", "QueueServiceScheduler"}


@pytest.mark.parametrize(("rule", "event"), [("ConnectedRule", "connected"), ("DisconnectedRule", "disconnected")])
def test_a_rule_takes_presence_of_this_deployments_things_only(rule: str, event: str) -> None:
    assert resolved(RULES[rule]["RuleName"]) == rule_name(PREFIX, event)
    sql = resolved(RULES[rule]["TopicRulePayload"]["Sql"])
    taken = re.search(r" FROM '(.+)' WHERE regexp_matches\(clientId, '(.+)'\)$", sql)
    assert taken
    assert taken[1] == f"$aws/events/presence/{event}/+"
    assert re.search(taken[2], THING)
    assert not re.search(taken[2], thing_name(f"{PREFIX}-other", "0" * 32))
    assert not re.search(taken[2], thing_name(f"other-{PREFIX}", "0" * 32))


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_ends_in_a_queue(rule: str) -> None:
    payload = RULES[rule]["TopicRulePayload"]
    [action] = payload["Actions"]
    assert action["Sqs"]["UseBase64"] is False
    assert referred(action["Sqs"]["QueueUrl"]) in dead_letter_queues()
    assert referred(payload["ErrorAction"]["Sqs"]["QueueUrl"]) == "RuleErrors"
    assert payload["AwsIotSqlVersion"] == "2016-03-23"


def test_an_agent_may_use_its_own_topics_and_no_others() -> None:
    [policy] = of_type("AWS::IoT::Policy").values()
    allowed = {
        statement["Action"]: [
            re.sub(r"^arn:.*?:\$\{AWS::AccountId\}:", "", each).replace("${iot:Connection.Thing.ThingName}", THING)
            for each in as_list(resolved(statement["Resource"]))
        ]
        for statement in policy["PolicyDocument"]["Statement"]
    }
    own = topics(PREFIX, THING)
    stream = stream_topic(own.commands, "*")
    assert allowed == {
        "iot:Connect": [f"client/{THING}"],
        "iot:Publish": [
            f"topic/{own.requests}",
            f"topic/{own.task_state_changes}",
            f"topic/{own.credentials}",
            f"topic/{stream}/out",
        ],
        "iot:Subscribe": [f"topicfilter/{own.commands}", f"topicfilter/{stream}/in"],
        "iot:Receive": [f"topic/{own.commands}", f"topic/{stream}/in"],
    }
    connect = policy["PolicyDocument"]["Statement"][0]
    assert connect["Condition"] == {"Bool": {"iot:Connection.Thing.IsAttached": "true"}}


@pytest.mark.parametrize("name", template()["Parameters"])
def test_a_parameter_explains_itself(name: str) -> None:
    """Those that say by their values alone what they are need no more words."""
    parameter = template()["Parameters"][name]
    assert "Default" in parameter, "a stack can be deployed without a question"
    assert parameter.get("Description") or parameter.get("AllowedValues")


def test_outputs_are_what_clients_look_for() -> None:
    assert set(template()["Outputs"]) >= {
        "EcsEndpoint",
        "RegistrationEndpoint",
        "EventBusName",
        "AdministratorKeySecretArn",
        "OperatorFunctionName",
        "TableName",
        "Prefix",
    }


def test_a_function_gets_every_variable_that_it_reads_for_its_work() -> None:
    """Who sends to a queue knows its address, and may."""
    root = (ROOT / "layers/control_plane/control_plane/runtime.py").read_text(encoding="utf-8")
    read = set(re.findall(r'env\("([A-Z0-9_]+)"', root)) - {"AWS_REGION"}  # Lambda sets that one
    given = set(template()["Globals"]["Function"]["Environment"]["Variables"])
    for name, function in FUNCTIONS.items():
        own = function.get("Environment", {}).get("Variables", {})
        assert set(own) <= read, f"{name} is given what nobody reads"
        given |= set(own)
        permitted = {
            referred(resource)
            for role, statement in statements()
            if role == f"{name}Role" and "sqs:SendMessage" in as_list(statement["Action"])
            for resource in as_list(statement["Resource"])
            if "Fn::GetAtt" in resource
        }
        queues = {referred(value) for variable, value in own.items() if variable.endswith("_QUEUE_URL")}
        assert queues == permitted - {"StreamFailures", "SweepDlq"}, name
    assert read <= given


def test_only_the_stacks_own_rule_and_rules_that_are_named_for_it_bring_work() -> None:
    """docs/guide.md: a rule of the account's takes the place of one with an ECS target."""
    [statement, _over_tls] = of_type("AWS::SQS::QueuePolicy")["RunTaskQueuePolicy"]["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    arn = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule"
    named = [f"{arn}/{PREFIX}-run-task-*", f"{arn}/*/{PREFIX}-run-task-*"]
    assert resolved(statement["Condition"]) == {"ArnLike": {"aws:SourceArn": ["RunTaskRule.Arn", *named]}}


def test_operators_may_join_streams_and_no_rule_hears_of_it() -> None:
    stream = stream_topic(topics(PREFIX, THING).commands, "0" * 32)
    client = stream_client_id(PREFIX, "0" * 32)
    [role] = [of_type("AWS::IAM::Role")["StreamRole"]]
    [policy] = role["Policies"]
    allowed = {
        action: resolved(statement["Resource"]).rpartition(":")[2]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in as_list(statement["Action"])
    }
    assert allowed == {
        "iot:Connect": f"client/{PREFIX}_stream_*",
        "iot:Publish": f"topic/{PREFIX}/*/streams/*",
        "iot:Receive": f"topic/{PREFIX}/*/streams/*",
        "iot:Subscribe": f"topicfilter/{PREFIX}/*/streams/*",
    }
    assert fnmatch(f"client/{client}", allowed["iot:Connect"])
    for topic in (f"{stream}/in", f"{stream}/out"):
        assert fnmatch(f"topic/{topic}", allowed["iot:Publish"])
    for rule in RULES.values():
        sql = resolved(rule["TopicRulePayload"]["Sql"])
        heard = re.search(r"FROM '([^']*)'", sql)
        assert heard is not None
        assert not re.fullmatch(heard[1].replace("$", r"\$").replace("+", "[^/]+"), f"{stream}/out")
        of_clients = re.search(r"regexp_matches\(clientId, '(.*)'\)", sql)
        assert of_clients is None or not re.fullmatch(of_clients[1], client)
