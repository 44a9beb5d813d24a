"""The cluster query language: what it selects, how it is written, and what is said of what is wrong."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.errors import InvalidParameterException
from control_plane.domain.placement.query import And, Comparison, Not, Or, Term, parse_query
from control_plane.domain.placement.subjects import MATCHES, NOT_MATCHES, Subject, subject_named


@dataclass(frozen=True)
class Machine:
    agent_connected: bool = True
    agent_version: str | None = "1.14.5"
    ec2_instance_id: str = "i-abcd1234"
    registered_at: datetime | None = datetime(2018, 2, 13, 12, tzinfo=UTC)
    running_tasks: int = 2
    groups: Collection[str] = frozenset({"service:production", "family:web"})
    attributes: Mapping[str, str] = field(
        default_factory=lambda: {"stack": "prod", "cores": "16", "ecs.capability.external": "", "site": "New York"}
    )

    def attribute(self, name: str) -> str | None:
        return self.attributes.get(name)


@pytest.mark.parametrize(
    "text",
    [
        "attribute:stack == prod",
        "attribute:stack equals prod",
        "attribute:stack==prod",
        "  attribute:stack   ==   'prod'  ",
        'attribute:site == "New York"',
        "attribute:stack != test",
        "attribute:stack not_equals test",
        "attribute:stack in [test, prod]",
        "attribute:stack in['test','prod']",
        "attribute:stack !in [test]",
        "attribute:stack not_in [test]",
        "attribute:stack =~ p.*",
        "attribute:stack matches '(prod|test)'",
        "attribute:stack !~ t.*",
        "attribute:stack not_matches t.*",
        "attribute:stack exists",
        "attribute:ecs.capability.external exists",
        "attribute:ecs.capability.external != x",
        "attribute:rack !exists",
        "attribute:rack not_exists",
        "attribute:cores > 9",
        "attribute:cores greater_than 9",
        "attribute:cores >= 16.0",
        "attribute:cores greater_than_equal 16",
        "attribute:cores < 17",
        "attribute:cores less_than 17",
        "attribute:cores <= 16",
        "attribute:cores less_than_equal 16",
        "attribute:stack > apple",
        "agentConnected == true",
        "agentConnected in [true]",
        "agentVersion < 1.14.10",
        "agentVersion >= 1.14",
        "agentVersion == 1.14.5",
        "agentVersion != 1.14.5.1",
        "ec2InstanceId in ['i-abcd1234', 'i-wxyx7890']",
        "ec2InstanceId =~ i-[a-d]+[0-9]{4}",
        "registeredAt < 2018-02-14",
        "registeredAt > 2018-02-13",
        "registeredAt == 2018-02-13T12:00:00",
        "registeredAt <= 2018-02-13T12:00:00Z",
        "registeredAt >= 2018-02-13T13:00:00+01:00",
        "runningTasksCount == 2",
        "runningTasksCount != 1",
        "task:group == service:production",
        "task:group in [database, family:web]",
        "task:group =~ service:.*",
        "task:group != database",
        "task:group !in [database]",
        "task:group exists",
        "not(task:group == database)",
        "!(task:group == database)",
        "not attribute:rack exists",
        "attribute:stack == prod and agentConnected == true",
        "attribute:stack == prod && agentConnected == true",
        "attribute:stack == test or agentConnected == true",
        "attribute:stack == test || agentConnected == true",
        "attribute:stack==prod&&agentConnected==true",
        "attribute:stack==test||!attribute:rack exists&&attribute:stack in[prod]",
        "attribute:stack =~ test|prod and agentConnected == true",
        "attribute:stack\n==\tprod\r\nand agentConnected == true\n",
        "attribute:stack == prod or agentConnected == true and runningTasksCount == 99",
        "(attribute:stack == test or attribute:stack == prod) and runningTasksCount == 2",
        "not not attribute:stack exists",
        "((attribute:stack exists))",
    ],
)
def test_selected(text: str) -> None:
    assert parse_query(text).matches(Machine())


@pytest.mark.parametrize(
    "text",
    [
        "attribute:stack == Prod",
        "attribute:Stack == prod",
        "attribute:stack == 'prod '",
        "attribute:stack in ['test,prod', 'test']",
        "attribute:rack == prod",
        "attribute:rack != prod",
        "attribute:rack !in [prod]",
        "attribute:rack !~ prod",
        "attribute:rack > 1",
        "attribute:stack =~ pro",
        "attribute:stack !exists",
        "attribute:cores > 100",
        "agentConnected == false",
        "agentVersion < 1.14.5",
        "registeredAt < 2018-02-13",
        "runningTasksCount > 2",
        "task:group == database",
        "task:group != family:web",
        "task:group !~ service:.*",
        "task:group !exists",
        "not attribute:stack exists and agentConnected == true",
        "(attribute:stack == test or agentConnected == true) and runningTasksCount == 99",
    ],
)
def test_not_selected(text: str) -> None:
    assert not parse_query(text).matches(Machine())


@pytest.mark.parametrize("text", ["agentVersion != 1.0", "registeredAt > 2000-01-01"])
def test_what_is_not_known_is_not_selected(text: str) -> None:
    assert not parse_query(text).matches(Machine(agent_version=None, registered_at=None))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at character 1, expected agentConnected, agentVersion, attribute:NAME"),
        ("colour == red", "at character 1, expected agentConnected,"),
        ("attribute: == red", "at character 1, expected agentConnected,"),
        ("attribute:a", "at character 12, expected an operator that attribute:a takes: == (equals), != (not_equals)"),
        ("attribute:a is b", "at character 13, expected an operator that attribute:a takes"),
        ("agentVersion =~ 1.*", "at character 14, expected an operator that agentVersion takes"),
        ("agentVersion > new", "at character 16, expected a version such as 1.14.5, but found 'new'"),
        ("runningTasksCount > -1", "at character 21, expected a whole number, but found '-1'"),
        ("registeredAt > yesterday", "at character 16, expected a time such as 2018-06-18T22:28:28Z"),
        ("attribute:a ==", "at character 15, expected a value, but found the end"),
        ("attribute:a == 'b", "at character 16, expected a closing '"),
        ("attribute:a in b", "at character 16, expected a list such as [one, two], but found 'b'"),
        ("attribute:a in [b c]", "at character 19, expected ',' or ']', but found 'c]'"),
        ("attribute:a in []", "at character 17, expected a value, but found ']'"),
        ("attribute:a == b c", "at character 18, expected 'and', 'or' or the end"),
        ("attribute:a =~ g2.(a|b)", "(an argument with parentheses or spaces needs quotes), but found '(a|b)'"),
        ("(attribute:a exists", "at character 20, expected 'and', 'or' or ')', but found the end"),
        ("attribute:a exists and", "at character 23, expected agentConnected"),
        ("attribute:a exists AND attribute:b exists", "at character 20, expected 'and', 'or' or the end"),
        ("attribute:a EQUALS b", "at character 13, expected an operator that attribute:a takes"),
        ("attribute:a == b&&", "at character 19, expected agentConnected"),
        ("AgentConnected == true", "at character 1, expected agentConnected"),
        ("attribute:a =~ 'g2(' ", "at character 19, in this regular expression, this '(' has no ')'"),
        ("(" * 60, "at most 50 parentheses and negations within each other"),
        ("attribute:a == " + "b" * 2000, "The expression has 2015 characters, but at most 2000 are allowed."),
    ],
)
def test_what_is_wrong_is_pointed_at(text: str, message: str) -> None:
    with pytest.raises(InvalidParameterException) as raised:
        parse_query(text)
    assert message in raised.value.message


names = ["agentConnected", "agentVersion", "ec2InstanceId", "registeredAt", "runningTasksCount", "task:group"]
subjects = st.sampled_from([*names, "attribute:stack", "attribute:a/b\\c.d-e_1"]).map(subject_named)
values = st.text(
    st.characters(codec="utf-8", exclude_characters='"', exclude_categories=["Cs"]), max_size=12
) | st.sampled_from(["prod", "New York", "it's", "a,b", "[x]", "", "not", "(x)", "==", "a\\", "a&&b", "a||b"])
patterns = st.sampled_from(["p.*", "(prod|test)", "[a-c]{1,2}", "'+", "a||b", ""])
fitting = {
    "version": st.sampled_from(["1", "1.14.5", "v2.0.0-dev"]),
    "time": st.sampled_from(["2018-06-18", "2018-06-18T22:28:28+00:00", "2018-06-18T22:28:28Z"]),
    "number": st.integers(0, 999).map(str),
}


@st.composite
def comparisons(draw: st.DrawFn) -> Term:
    subject = draw(subjects)
    assert isinstance(subject, Subject)
    operator = draw(st.sampled_from(subject.operators))
    argument = fitting.get(subject.kind, patterns if operator in {MATCHES, NOT_MATCHES} else values)
    least, most = {0: (0, 0), 1: (1, 1), 2: (1, 3)}[operator.takes]
    return Comparison(subject.name, operator, tuple(draw(st.lists(argument, min_size=least, max_size=most))))


terms = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=6,
)


@st.composite
def written(draw: st.DrawFn, term: Term) -> str:
    """One of the ways in which a term can be written."""
    space = st.sampled_from(["", " ", "  ", "\n\t"])
    match term:
        case Comparison(subject, operator, arguments):
            quoted = [f'"{each}"' if "'" in each else f"'{each}'" for each in arguments]
            plain = [re.fullmatch(r"[A-Za-z0-9_.:+-]+", each) is not None and draw(st.booleans()) for each in arguments]
            texts = [each if bare else text for each, bare, text in zip(arguments, plain, quoted, strict=True)]
            listed = f"[{draw(space)}{(draw(space) + ',' + draw(space)).join(texts)}{draw(space)}]"
            symbol = draw(st.sampled_from([operator.symbol, operator.word]))
            between = " " if symbol[0].isalpha() or symbol in {"!in", "!exists"} else draw(space)
            argument = {0: "", 1: "".join(texts), 2: listed}[operator.takes]
            return f"{draw(space)}{subject}{between}{symbol}{between}{argument} "
        case Not(of):
            return draw(st.sampled_from(["!", "not "])) + draw(bracketed(of, bare=isinstance(of, Comparison | Not)))
        case And(parts):
            words = ["&&", " and ", "\nand "]
            texts = [draw(bracketed(each, bare=isinstance(each, Comparison | Not))) for each in parts]
        case Or(parts):
            words = ["||", " or "]
            texts = [draw(bracketed(each, bare=not isinstance(each, Or))) for each in parts]
    joined = texts[0]
    for each in texts[1:]:
        joined += draw(st.sampled_from(words)) + each
    return joined


@st.composite
def bracketed(draw: st.DrawFn, term: Term, *, bare: bool) -> str:
    """In parentheses where it needs them, or has them all the same."""
    text = draw(written(term))
    return text if bare and draw(st.booleans()) else f"({text})"


machines = st.builds(
    Machine,
    agent_connected=st.booleans(),
    agent_version=st.none() | st.sampled_from(["1.14.5", "0.1.0", "custom", ""]),
    registered_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    running_tasks=st.integers(0, 5),
    groups=st.frozensets(values, max_size=3),
    attributes=st.dictionaries(st.sampled_from(["stack", "a/b\\c.d-e_1"]), values),
)


@given(st.data(), terms)
def test_however_it_is_written_it_means_the_same(data: st.DataObject, term: Term) -> None:
    text = data.draw(written(term))
    assert parse_query(text).meaning == term
    assert str(parse_query(text)) == text


@given(terms, machines)
def test_an_expression_always_has_a_value(term: Term, machine: Machine) -> None:
    assert term.matches(machine) is not Not(term).matches(machine)


tokens = ("attribute:a", "==", "=~", "in", "[", "]", "(", ")", "'", "not", "!", "and", "||", "x", ",", *names)
words = st.sampled_from(tokens)


@given(st.text(max_size=80) | st.lists(words, max_size=20).map(" ".join))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        parse_query(text).matches(Machine())
    except InvalidParameterException as refused:
        assert refused.message.startswith("Invalid expression: at character")  # noqa: PT017 - most are
