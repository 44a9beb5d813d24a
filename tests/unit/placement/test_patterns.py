"""Regular expressions of clients: what they match, what is refused, and that none takes long."""

import re
import time

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from control_plane.domain.placement.patterns import MAX_PLACES, PatternError, parse_pattern


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("g2.*", ["g2.large", "g2"], ["cg2", "t2.small"]),
        ("g2", ["g2"], ["g2.large"]),
        ("", [""], ["a"]),
        ("^a$", ["a"], ["^a$", "aa"]),
        (r"a\$", ["a$"], ["a"]),
        (r"a\\$", ["a\\"], ["a"]),
        ("a|b|", ["a", "b", ""], ["ab"]),
        ("(eu|us)-(west|east)-[12][a-c]?", ["eu-west-1", "us-east-2c"], ["eu-north-1", "us-east-2d"]),
        ("(?:ab)+c?", ["ab", "ababc"], ["", "abcc", "aab"]),
        ("a{2}", ["aa"], ["a", "aaa"]),
        ("a{0}b", ["b"], ["ab"]),
        ("a{0,2}", ["", "a", "aa"], ["aaa"]),
        ("a{2,}", ["aa", "aaaaa"], ["a"]),
        ("(ab?){1,2}", ["a", "ab", "aab", "abab"], ["", "aaa"]),
        ("[^a-c]", ["d"], ["a", "", "dd"]),
        (r"[\d_.-]+", ["1_2.3-4"], ["a"]),
        (r"[\]a\-z]+", ["]-az"], ["b"]),
        (r"\d\w\s\D\W\S", ["1_ a x"], ["1_ 1 x"]),
        ("a.c", ["abc"], ["a\nc"]),
        ("a+?b*?", ["aab"], ["b"]),
        (r"\t", ["\t"], ["t"]),
        ("(|a)*b", ["b", "aab"], ["a"]),
    ],
)
def test_matching(pattern: str, matching: list[str], other: list[str]) -> None:
    parsed = parse_pattern(pattern)
    assert [text for text in (*matching, *other) if parsed.matches(text)] == matching


@pytest.mark.parametrize(
    ("pattern", "position", "words"),
    [
        ("a(b", 1, "has no ')'"),
        ("a)b", 1, "has no '('"),
        ("*a", 0, "nothing that '*' could repeat"),
        ("a**", 2, "possessive"),
        ("a++", 2, "possessive"),
        ("a{x}", 1, "expected {n}"),
        ("a{3,2}", 1, "expected {n}"),
        ("a{2", 1, "expected {n}"),
        ("[a", 0, "has no ']'"),
        ("[]", 0, "empty"),
        ("[z-a]", 1, "smaller character"),
        (r"[a-\d]", 3, "cannot end in"),
        ("[a&&b]", 2, "classes within"),
        ("[a[b]]", 2, "classes within"),
        (r"(a)\1", 3, "not supported"),
        (r"\p{Alpha}", 0, "not supported"),
        ("a\\", 1, "not supported"),
        ("(?=a)", 0, "are not supported"),
        ("(?i)a", 0, "are not supported"),
        ("a^b", 1, "beginning or end"),
        ("a$b", 1, "beginning or end"),
        ("a{201}", 0, f"more than {MAX_PLACES}"),
        ("((){999}){999}", 0, "repeats too much"),
        ("(" * 30 + ")" * 30, 21, "within each other"),
    ],
)
def test_refused(pattern: str, position: int, words: str) -> None:
    with pytest.raises(PatternError) as raised:
        parse_pattern(pattern)
    assert (raised.value.position, words in raised.value.message) == (position, True), raised.value.message


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(a|a)*b", "a*a*a*a*a*a*a*b", "(a?){99}a{99}", "(.*)*(.*)*x", "(a|b)*a.{90}"]
)
def test_no_pattern_takes_long(pattern: str) -> None:
    began = time.process_time()
    parse_pattern(pattern).matches("a" * 128)
    assert time.process_time() - began < 0.5


pieces = st.recursive(
    st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", "1"]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)


@given(pieces, st.text("ab1\n", max_size=8))
def test_it_agrees_with_pythons_own(pattern: str, text: str) -> None:
    try:
        parsed = parse_pattern(pattern)
    except PatternError as refused:
        event(refused.message)
        return
    assert parsed.matches(text) is (re.fullmatch(pattern, text) is not None)


@given(st.text(r"ab\^$.|?*+(){}[]-,12&:d", max_size=60), st.text(max_size=20))
def test_any_text_is_a_pattern_or_refused(pattern: str, text: str) -> None:
    try:
        parse_pattern(pattern).matches(text)
    except PatternError as refused:
        assert -1 <= refused.position <= len(pattern)  # noqa: PT017 - most are
