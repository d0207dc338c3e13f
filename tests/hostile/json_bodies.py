"""Bodies that are no JSON, or JSON that no reader should trust."""

from collections.abc import Iterator

from hostile.exchanges import GENERATIONS, Case, json_case

_DEEP = 100_000
_LONG_NUMBER = "9" * 5000

MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" \t\r\n ",
    "NUL bytes": b"\0" * 64,
    "a NUL behind the object": b'{"prompt": "a"}\0',
    "a NUL in a key": b'{"pro\0mpt"',
    "an open object": b'{"prompt": "a"',
    "an open string": b'{"prompt": "a',
    "an open escape": b'{"prompt": "\\',
    "an open unicode escape": b'{"prompt": "\\u12',
    "an unknown escape": b'{"prompt": "\\x41"}',
    "a key without quotes": b'{prompt: "a"}',
    "single quotes": b"{'prompt': 'a'}",
    "a comma too many": b'{"prompt": "a",}',
    "a comment": b'{"prompt": "a" /* b */}',
    "two objects": b'{"prompt": "a"}{"prompt": "b"}',
    "one object a line": b'{"prompt": "a"}\n{"prompt": "b"}',
    "a form": b"prompt=a&model=tiny",
    "XML with an entity": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "a pickle": b"\x80\x04\x95\x1e\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x85\x94R\x94.",
    "YAML with a tag": b"!!python/object/apply:os.system ['id']",
    "UTF-16": '{"prompt": "a"}'.encode("utf-16"),
    "UTF-32": '{"prompt": "a"}'.encode("utf-32"),
    "Latin-1": '{"prompt": "é"}'.encode("latin-1"),
    "a byte order mark": b'\xef\xbb\xbf{"prompt": "a"}',
    "a surrogate in UTF-8": b'{"prompt": "\xed\xa0\x80"}',
    "an overlong slash": b'{"prompt": "\xc0\xaf"}',
    "half of a surrogate pair": b'{"prompt": "\\ud800"}',
    "half of one in a key": b'{"prompt": "a", "\\udfff": 1}',
    "half of one deep inside": b'{"prompt": "a", "x": [{"y": "\\ud83d"}]}',
    "a pair the wrong way round": b'{"prompt": "\\udc00\\ud800"}',
    "NaN": b'{"prompt": "a", "seed": NaN}',
    "infinity": b'{"prompt": "a", "seed": Infinity}',
    "minus infinity": b'{"prompt": "a", "x": -Infinity}',
    "NaN alone": b"NaN",
    "a number with a leading zero": b'{"prompt": "a", "seed": 007}',
    "a number in hexadecimal": b'{"prompt": "a", "seed": 0xff}',
    "a number with a plus": b'{"prompt": "a", "seed": +1}',
    "a bare fraction": b'{"prompt": "a", "seed": .5}',
    "an integer of 5000 digits": f'{{"prompt": "a", "seed": {_LONG_NUMBER}}}'.encode(),
    "5000 digits where nobody looks": f'{{"prompt": "a", "x": [{_LONG_NUMBER}]}}'.encode(),
    "lists without end": b"[" * _DEEP,
    "objects without end": b'{"a":' * _DEEP,
    "lists as deep as they are closed": b'{"prompt": "a", "x": ' + b"[" * _DEEP + b"]" * _DEEP + b"}",
    "deep where a picture should be": b'{"prompt": "a", "image": ' + b'{"image_url":' * 2000 + b"1" + b"}" * 2001,
    "brackets that never match": b"[}" * 5000,
    "a million quotes": b'"' * 1_000_001,
    "a million colons": b"{" + b":" * 1_000_000 + b"}",
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xabV*(\xca\xcf-(Q\xb2RPJT\xaa\x05\0\x1e\xc7\xbf\x95\x0f\0\0\0",
}

NO_OBJECTS: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "a number": b"1",
    "a huge exponent": b"1e999999",
    "a string": b'"prompt"',
    "an empty list": b"[]",
    "a list": b'["a"]',
    "a list of objects": b'[{"prompt": "a"}]',
    "pairs": b'[["prompt", "a"]]',
}

ODD_OBJECTS: dict[str, bytes] = {
    "an empty object": b"{}",
    "an empty key": b'{"": "a"}',
    "no prompt but its neighbours": b'{"Prompt": "a", "prompt ": "a", "prompts": ["a"]}',
    "a null prompt": b'{"prompt": null}',
    "a prompt of blanks": b'{"prompt": " \\t\\n "}',
    "an empty list of prompts": b'{"prompt": []}',
    "a list with an empty prompt": b'{"prompt": ["a", ""]}',
    "a list with a number": b'{"prompt": ["a", 1]}',
    "a list with a list": b'{"prompt": [["a"]]}',
    "a prompt that is a number": b'{"prompt": 1}',
    "a prompt that is true": b'{"prompt": true}',
    "a prompt that is an object": b'{"prompt": {"text": "a"}}',
    "the last of two prompts": b'{"prompt": "a", "prompt": 1}',
    "a prompt of 32001 characters": b'{"prompt": "' + b"a" * 32_001 + b'"}',
    "100000 prompts": b'{"prompt": [' + b",".join([b'"a"'] * 100_000) + b"]}",
    "three prompts": b'{"prompt": ["a", "b", "c"]}',
}

_WITHOUT_HARM: dict[str, bytes] = {
    "100000 unknown keys": b"{" + b",".join(b'"k%d":1' % number for number in range(100_000)) + b"}",
    "a key of a million characters": b'{"' + b"k" * 1_000_000 + b'": 1}',
    "keys of a prototype": b'{"__proto__": {"a": 1}, "constructor": {"prototype": 1}, "__class__": "a"}',
    "keys of a query": b'{"$where": "sleep(1000)", "$ne": null, "; DROP TABLE jobs; --": 1}',
    "deep, but bounded": b'{"x": ' + b"[" * 40 + b"]" * 40 + b"}",
}


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for name, body in MALFORMED.items():
        yield json_case(name, body, param=None)
    for name, body in NO_OBJECTS.items():
        yield json_case(f"{name} for an object", body, param=None)
    for name, body in ODD_OBJECTS.items():
        yield json_case(name, body, param="prompt")
    for name, body in _WITHOUT_HARM.items():
        # Refused for the lack of a prompt, so it went through all the rest.
        yield json_case(name, body, param="prompt")
    for target in ("/v1/images/edits", "/video", "/v1/videos", "/sdapi/v1/txt2img", "/sdapi/v1/img2img"):
        for name in ("nothing", "lists without end", "NaN", "an integer of 5000 digits", "half of a surrogate pair"):
            yield json_case(f"{name} at {target}", MALFORMED[name], target=target, param=None)
        if target.startswith("/sdapi"):
            continue
        for name, body in NO_OBJECTS.items():
            yield json_case(f"{name} at {target}", body, target=target, param=None)
    for depth in (60, 200, 300, 450, 600, 900, 960, 990, 1100):
        # A body that one reader takes and the next can't write again is a fault of the first.
        nested = b"[" * depth + b"]" * depth
        for target in (GENERATIONS, "/v1/videos", "/sdapi/v1/txt2img", "/sdapi/v1/options"):
            body = b'{"prompt": "a", "n": 0, "x": ' + nested + b"}"
            yield json_case(f"{depth} lists at {target}", body, target=target, statuses=(200, 400))
        picture = b'{"image_url": "data:image/png;base64,iVBORw0KGgo=", "x": ' + nested + b"}"
        for target in ("/v1/videos", "/sdapi/v1/img2img", "/v1/images/edits"):
            body = b'{"prompt": "a", "init_images": [' + picture + b"]}"
            yield json_case(f"{depth} lists in a picture at {target}", body, target=target, statuses=(200, 400))
