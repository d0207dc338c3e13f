r"""Weights in a prompt, in the syntax that AUTOMATIC1111's web UI brought up and most tools share.

`(x)` weighs x 1.1 times, `(x:1.3)` as much as it says and `[x]` 1/1.1 times; brackets nest and multiply. `\(`, `\)`,
`\[`, `\]` and `\\` stand for the character itself. `BREAK` begins a new section. A bracket without a partner stands for
itself, so that an emoticon is no syntax.
"""

import re
from dataclasses import dataclass

MAX_WEIGHT = 10.0
"""Largest weight in either direction, nested ones multiplied; half precision overflows on much larger ones."""

_STRONGER = 1.1
_PARTNERS = {")": "(", "]": "["}
_TOKEN = re.compile(
    r"""
    \\ (?P<escaped> [()\[\]\\])
    | (?P<open> [(\[])
    | : \s* (?P<weight> [+-]? (?: \d+ (?: \.\d* )? | \.\d+ )) \s* (?P<weighted> \))
    | (?P<close> [)\]])
    | (?P<section> \b BREAK \b)
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class WeightedText:
    """A text without syntax.

    Attributes:
        text: The text.
        weights: One weight for each character; 1 where nothing is said.
    """

    text: str
    weights: tuple[float, ...]

    @property
    def is_weighted(self) -> bool:
        """Return whether some weight is not 1."""
        return any(weight != 1.0 for weight in self.weights)


Prompt = tuple[WeightedText, ...]
"""The sections of a prompt, at least one."""


def literal_prompt(text: str) -> Prompt:
    """Return a prompt as one section in which nothing is syntax."""
    return (WeightedText(text, (1.0,) * len(text)),)


def parse_prompt(text: str) -> Prompt:
    """Return a prompt in which brackets and BREAK are syntax; sections that hold nothing are left out."""
    matches = list(_TOKEN.finditer(text))
    factors = _match_brackets(matches)
    sections = [_Section()]
    stack = [1.0]
    end = 0
    for place, match in enumerate(matches):
        sections[-1].add(text[end : match.start()], stack[-1])
        end = match.end()
        if place in factors:
            factor = factors[place]
            if factor is None:
                stack.pop()
            else:
                stack.append(max(-MAX_WEIGHT, min(stack[-1] * factor, MAX_WEIGHT)))
        elif match["section"]:
            sections.append(_Section())
        else:
            sections[-1].add(match["escaped"] or match[0], stack[-1])
    sections[-1].add(text[end:], stack[-1])
    found = tuple(section.finished() for section in sections)
    return tuple(section for section in found if section.text.strip()) or found[:1]


def join_sections(prompt: Prompt) -> WeightedText:
    """Return a prompt as one text, for encoders that read it as a whole."""
    first, *rest = prompt
    text, weights = first.text, first.weights
    for section in rest:
        text, weights = f"{text} {section.text}", (*weights, 1.0, *section.weights)
    return WeightedText(text, weights)


class _Section:
    def __init__(self) -> None:
        self._texts: list[str] = []
        self._weights: list[float] = []

    def add(self, text: str, weight: float) -> None:
        self._texts.append(text)
        self._weights += [weight] * len(text)

    def finished(self) -> WeightedText:
        return WeightedText("".join(self._texts), tuple(self._weights))


def _match_brackets(matches: list[re.Match[str]]) -> dict[int, float | None]:
    """Return, by their places, the factor of each opening bracket with a partner, and None for each closing one.

    A closing bracket takes the last opening one of its kind; those of the other kind in between have no partner.
    """
    found: dict[int, float | None] = {}
    unmatched: list[int] = []
    kinds = [match["open"] for match in matches]
    count = dict.fromkeys("([", 0)
    for place, match in enumerate(matches):
        if opened := match["open"]:
            unmatched.append(place)
            count[opened] += 1
            continue
        partner = _PARTNERS.get(match["close"] or match["weighted"])
        if partner is None or not count[partner]:
            continue
        while kinds[opening := unmatched.pop()] != partner:
            count[kinds[opening]] -= 1
        count[partner] -= 1
        factor = float(match["weight"]) if match["weight"] else _STRONGER
        found[opening] = factor if partner == "(" else 1 / _STRONGER
        found[place] = None
    return found
