"""Regular expressions that clients send, matched in time that they cannot choose.

Python's `re` tries one way after the other and can be made to try for ever, by `(a+)+b` or a product of stars; a limit
on length does not help, and pure code has no clock to stop it. So a pattern becomes an automaton (automaton.py),
for which a character of the text costs at most MAX_PLACES steps. What an automaton cannot do, back references and
looking around, is refused by name.

The rest of Java's syntax that matters for attributes is here: literals, `.`, classes, `\\d \\w \\s`, groups, `|`, `*`,
`+`, `?` and `{m,n}`. A pattern matches the whole text, as String.matches does.

https://docs.oracle.com/javase/6/docs/api/java/util/regex/Pattern.html
"""

from collections.abc import Mapping

from control_plane.domain.placement.automaton import NOTHING, Accepts, Part, Pattern, bits

MAX_PLACES = 200
"""Characters, dots and classes of a pattern, once its counted repetitions are written out."""

MAX_DEPTH = 20
"""Groups within groups."""

_MAX_READ = 2000
"""Parts that are read, those that match no character included: `((){999}){999}` has no places, and no end."""

_ESCAPED: Mapping[str, str] = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_SETS: Mapping[str, Accepts] = {
    "d": lambda char: char in "0123456789",
    "w": lambda char: char == "_" or (char.isascii() and char.isalnum()),
    "s": lambda char: char in " \t\n\x0b\f\r",
}


class PatternError(Exception):
    """`position` counts from 0 within the pattern."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position
        self.message = message


def parse_pattern(text: str) -> Pattern:
    """Raises PatternError."""
    reader = _Reader(text)
    whole = reader.read()
    return Pattern(text, tuple(reader.accepts), tuple(reader.follow), whole)


class _Reader:
    """Reads a pattern from left to right. A counted repetition reads what it repeats as often as it may occur."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._end = len(text)
        self._at = 0
        self._read = 0
        self.accepts: list[Accepts] = []
        self.follow: list[int] = []

    def read(self) -> Part:
        if self._text.startswith("^"):  # what is matched is the whole text anyway
            self._at = 1
        escapes = len(self._text) - 1 - len(self._text[:-1].rstrip("\\"))
        if self._text.endswith("$") and escapes % 2 == 0 and self._end > self._at:
            self._end -= 1
        part = self._choice(0)
        if self._at < self._end:
            raise PatternError(self._at, "a ')' has no '(' before it")
        return part

    def _next(self) -> str:
        return self._text[self._at] if self._at < self._end else ""

    def _choice(self, depth: int) -> Part:
        if depth > MAX_DEPTH:
            raise PatternError(self._at, f"there are more than {MAX_DEPTH} groups within each other")
        part = self._sequence(depth)
        while self._next() == "|":
            self._at += 1
            other = self._sequence(depth)
            part = Part(part.empty or other.empty, part.first | other.first, part.last | other.last)
        return part

    def _sequence(self, depth: int) -> Part:
        part = NOTHING
        while self._next() not in {"", "|", ")"}:
            part = self._joined(part, self._repeated(depth))
        return part

    def _joined(self, one: Part, two: Part) -> Part:
        for place in bits(one.last):
            self.follow[place] |= two.first
        return Part(
            one.empty and two.empty,
            one.first | (two.first if one.empty else 0),
            two.last | (one.last if two.empty else 0),
        )

    def _repeated(self, depth: int) -> Part:
        begin = self._at
        part = self._single(depth)
        after = self._at
        least, most = self._count()
        if self._at == after:
            return part
        done = self._at
        if self._next() == "?":  # the shortest of several ways matches the same texts
            done += 1
        elif self._next() and self._next() in "*+{":
            raise PatternError(self._at, "a repetition cannot be repeated or be possessive: use a group")
        copies = max(least, 1) if most is None else most
        whole = NOTHING
        for number in range(copies):
            if number:
                self._at = begin
                part = self._single(depth)
            if most is None and number == copies - 1:
                for place in bits(part.last):
                    self.follow[place] |= part.first
            whole = self._joined(whole, part if number < least else Part(True, part.first, part.last))
        self._at = done
        return whole

    def _count(self) -> tuple[int, int | None]:
        """Least and most, the latter None where there is no most; moves on if there is a repetition."""
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        char = self._next()
        if char in simple:
            self._at += 1
            return simple[char]
        if char != "{":
            return 1, 1
        close = self._text.find("}", self._at, self._end)
        low, comma, high = self._text[self._at + 1 : close].partition(",") if close > 0 else ("", "", "")
        if not _is_number(low) or (high and not _is_number(high)) or (high and int(high) < int(low)):
            raise PatternError(self._at, "expected {n}, {n,} or {n,m} with numbers below 1000")
        self._at = close + 1
        return int(low), (int(high) if high else None) if comma else int(low)

    def _single(self, depth: int) -> Part:
        self._read += 1
        if self._read > _MAX_READ:
            raise PatternError(self._at, "the pattern repeats too much: shorten it")
        char = self._next()
        if char in "*+?{":
            raise PatternError(self._at, f"there is nothing that '{char}' could repeat")
        if char in "^$":
            raise PatternError(self._at, f"'{char}' may stand only at the beginning or end: the whole text is matched")
        if char == "(":
            return self._group(depth)
        if char == "[":
            return self._place(self._class())
        self._at += 1
        match char:
            case ".":
                return self._place(lambda each: each not in "\n\r")
            case "\\":
                return self._place(self._escape())
            case _:
                return self._place(lambda each: each == char)

    def _group(self, depth: int) -> Part:
        begin = self._at
        self._at += 1
        if self._text.startswith("?", self._at):
            if not self._text.startswith("?:", self._at):
                raise PatternError(begin, "groups of the kind (?…) are not supported, but for (?:…)")
            self._at += 2
        part = self._choice(depth + 1)
        if self._next() != ")":
            raise PatternError(begin, "this '(' has no ')'")
        self._at += 1
        return part

    def _place(self, accepts: Accepts) -> Part:
        if len(self.accepts) >= MAX_PLACES:
            raise PatternError(self._at - 1, f"the pattern matches more than {MAX_PLACES} characters: shorten it")
        self.accepts.append(accepts)
        self.follow.append(0)
        bit = 1 << len(self.accepts) - 1
        return Part(empty=False, first=bit, last=bit)

    def _escape(self) -> Accepts:
        """What follows a backslash."""
        char = self._next()
        self._at += 1
        if char in _SETS:
            return _SETS[char]
        if char.lower() in _SETS:
            inner = _SETS[char.lower()]
            return lambda each: not inner(each)
        if not char or (char.isascii() and char.isalnum() and char not in _ESCAPED):
            raise PatternError(self._at - 2, f"'\\{char}' is not supported")
        meant = _ESCAPED.get(char, char)
        return lambda each: each == meant

    def _class(self) -> Accepts:
        begin = self._at
        self._at += 1
        negated = self._next() == "^"
        self._at += negated
        members: list[Accepts] = []
        while self._next() != "]":
            if not self._next():
                raise PatternError(begin, "this '[' has no ']'")
            if self._next() == "[" or self._text.startswith("&&", self._at):
                raise PatternError(self._at, "classes within classes are not supported")
            members.append(self._member())
        if not members:
            raise PatternError(begin, "the class is empty")
        self._at += 1
        return lambda char: any(accepts(char) for accepts in members) is not negated

    def _member(self) -> Accepts:
        """A character, a range of them or a set, of a class."""
        begin = self._at
        first = self._next()
        self._at += 1
        if first == "\\":
            if self._next().lower() in _SETS:
                return self._escape()
            first = self._literal()
        if self._next() != "-" or self._text.startswith("-]", self._at):
            return lambda char: char == first
        self._at += 1
        last = self._next()
        self._at += 1
        if last == "\\":
            last = self._literal()
        if not last or last < first:
            raise PatternError(begin, "a range goes from a smaller character to a greater one")
        return lambda char: first <= char <= last

    def _literal(self) -> str:
        """The character that an escape within a class stands for."""
        char = self._next()
        self._escape()
        if char.lower() in _SETS:
            raise PatternError(self._at - 2, f"a range cannot end in '\\{char}'")
        return _ESCAPED.get(char, char)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 3
