"""Prompts that mean something to somebody other than the model."""

from collections.abc import Iterator

from hostile.exchanges import Case, json_case

DRAWN: dict[str, str] = {
    "format string": "%s%s%n%x {0} {0.__class__.__mro__} {prompt!r}",
    "a template": "{{7*7}} ${7*7} #{7*7} <%= 7*7 %>",
    "a log4j look-up": "${jndi:ldap://127.0.0.1/a}",
    "terminal escapes": "\x1b[2J\x1b]0;owned\x07\x9b31m a cat",
    "NUL bytes": "a\0cat\0",
    "every control character": "".join(map(chr, range(32))) + "\x7f\x80\x9f",
    "right-to-left marks": "\u202e\u2066a cat\u2069\u202c",
    "zero-width characters": "\u200b\u200c\u200d\ufeff" * 500,
    "combining marks": "a" + "\u0301" * 1000,
    "emoji of many parts": "\U0001f469\u200d\U0001f469\u200d\U0001f467" * 300,
    "the last characters": "\U0010ffff\ufffe\uffff" * 100,
    "ligatures that grow": "\ufdfa" * 300,
    "text that was encoded twice": "\xc3\xa2\xe2\u201a\xac" * 200,
    "line breaks": "\r\n\u2028\u2029\x85" * 200,
    "a log line": "a\n2026-01-01 INFO heliograph: prompt accepted",
    "SQL": "'; DROP TABLE jobs; -- ",
    "a script": "<script>alert(1)</script>",
    "special tokens": "<|startoftext|><|endoftext|><pad></s>" * 50,
    "an embedding that is none": "embedding:../../x <../../x> <|x|>",
    "opened parentheses": "(" * 32_000,
    "closed parentheses": ")" * 3000,
    "parentheses in parentheses": "(" * 16_000 + "a" + ")" * 15_999,
    "weights in weights": "(" * 5000 + "a" + ":1.1)" * 5000,
    "a weight for every word": "(a:1.1) " * 300,
    "brackets in brackets": "[" * 3000 + "]" * 3000,
    "both of them crossed": "([" * 1500 + ")]" * 1500,
    "a huge weight": "(a:99999999999999999999)",
    "a weight of an exponent": "(a:1e400)",
    "a weight of many digits": "(a:" + "9" * 31_000 + ")",
    "a weight that is no number": "(a:nan) (b:inf) (c:-1) (d:0x10) (e:1_0) (f:\u0661)",
    "a weight of nothing": "(:1.2) (a:) (:) () []",
    "a weight of a point": "(a:.)",
    "a weight of several points": "(a:..5) (b:1.2.3) (c:+.)",
    "a tiny weight": "(a:0." + "0" * 60 + "1)",
    "a tag for a part of the steps": "a <lora:|high_noise|x:1> <lora:|x:1>",
    "backslashes": "\\" * 3000,
    "escaped parentheses": "\\(" * 2000,
    "colons": ":" * 3000,
    "pipes behind a word": "a" + "|" * 3000,
    "escaped pipes": "a" + "\\|" * 2000,
    "braces that hide pipes": "a" + "{" * 2000 + "|" + "}" * 2000,
    "a for the matcher": "a" * 6000 + "!",
    "blanks for the matcher": "a" + " " * 31_000 + "b",
    "tags that are never closed": "a " + "<lora:" * 500,
    "tags of another kind": "a <hypernet:x:1> <lyco:x:1> <LORA:x:1>",
    "alternation": "[a|b] [a:b:0.5] {a|b} a AND b BREAK c" * 100,
    "a script without blanks": "\u732b" * 2000,
}

REFUSED: dict[str, str] = {
    "more tokens than a model reads": "\u732b" * 32_000,
    "a LoRA by a path": "a <lora:../../x:1>",
    "a LoRA by an absolute path": "a <lora:/etc/passwd:1>",
    "a LoRA by URL": "a <lora:http:1>",
    "a LoRA by number": "a <lora:0:1>",
    "a LoRA by a number of 5000 digits": f"a <lora:{'9' * 5000}:1>",
    "a LoRA by a superscript": "a <lora:\u00b2:1>",
    "a LoRA of a long name": f"a <lora:{'x' * 31_000}:1>",
    "a LoRA of NUL bytes": "a <lora:" + "\0" * 31_000 + ":1>",
    "a LoRA of marks": "a <lora:" + "\U0010ffff" * 31_000 + ":1>",
    "a LoRA without a name": "a <lora::1>",
    "a LoRA without anything": "a <lora:>",
    "a LoRA of weight NaN": "a <lora:x:nan>",
    "a LoRA of a weight of an exponent": "a <lora:x:1e9>",
    "a LoRA of weight 11": "a <lora:x:11>",
    "a LoRA of two weights": "a <lora:x:1:2>",
    "65 LoRAs": "a " + "<lora:x:1>" * 65,
    "2000 LoRAs": "a " + "<lora:x:1>" * 2000,
    "a terminal escape for a LoRA": "a <lora:\x1b[2J:1>",
    "pipes alone": "",
}


def cases() -> Iterator[Case]:
    """Yield the cases."""
    small = {"size": "64x64", "steps": 1, "response_format": "b64_json"}
    for name, prompt in DRAWN.items():
        yield json_case(f"prompt: {name}", {"prompt": prompt[:32_000], **small}, statuses=(200, 400), param="prompt")
    for name in ("format string", "parentheses in parentheses", "every control character", "a weight for every word"):
        body = {"prompt": "a", "negative_prompt": DRAWN[name][:32_000], **small}
        yield json_case(f"negative prompt: {name}", body, statuses=(200, 400), param="negative_prompt")
    for name, prompt in REFUSED.items():
        yield json_case(f"prompt: {name}", {"prompt": prompt, **small}, param="prompt")
