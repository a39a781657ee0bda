"""/openapi.json, and that what is read and answered is read and answered by it."""

from typing import Any

import pytest

from node.errors import ConfigError
from node.web.api import account, drive, drivechanges, sharing, status
from node.web.http.shapes import check, shape
from node.web.site import own_site
from tests.node.web.asking import ADDRESS, Browser, parts_of

PERSON = shape(
    {"name": {"type": "string", "minLength": 2, "maxLength": 3}, "age": {"type": ["integer", "null"]}}, ("age",)
)


async def test_every_call_is_there() -> None:
    document = (await Browser(own_site(parts_of(), {}, ADDRESS)).ask("GET", "/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    found = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    parts = parts_of()
    groups = (account, drive, drivechanges, sharing, status)
    wanted = {(call.method, call.path) for group in groups for call in group.calls(parts)}
    assert wanted <= found
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["responses"]["500"] == {"$ref": "#/components/responses/500"}
    assert document["paths"]["/v1/account"]["get"]["security"] == [{"session": []}]
    assert "security" not in document["paths"]["/healthz"]["get"]
    assert document["paths"]["/v1/account/unlock"]["post"]["requestBody"]["required"]
    assert not document["paths"]["/v1/account/lock"]["post"]["requestBody"]["required"]
    assert document["paths"]["/v1/drive/search"]["get"]["parameters"][0]["required"]


@pytest.mark.parametrize(
    "value", [{"name": "ab"}, {"name": "abc", "age": 3}, {"name": "é€", "age": None}, {"name": "ab", "age": -(10**40)}]
)
def test_what_fits(value: object) -> None:
    check(value, PERSON, "")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({}, "the body: 'name' is missing"),
        ({"name": "a"}, "name: want at least 2 characters"),
        ({"name": "abcd"}, "name: want at most 3 characters"),
        ({"name": 1}, "name: want text"),
        ({"name": "ab", "age": True}, "age: want a whole number or null"),
        ({"name": "ab", "age": 1.5}, "age: want a whole number or null"),
        ({"name": "ab", "secret": 1}, "the body: a field that this call does not know"),
        ([], "the body: want an object"),
    ],
)
def test_what_does_not(value: object, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(value, PERSON, "")
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ([1, 2, 3], {"type": "array", "maxItems": 2}),
        ([1, "x"], {"type": "array", "items": {"type": "integer"}}),
        ({"a": 1, "b": 2}, {"type": "object", "maxProperties": 1}),
        ({"a": "x"}, {"type": "object", "additionalProperties": {"type": "integer"}}),
        (5, {"type": "integer", "maximum": 4}),
        (0, {"type": "integer", "minimum": 1}),
        ("x", {"type": "string", "enum": ["y"]}),
        (None, {"type": "boolean"}),
    ],
)
def test_what_does_not_either(value: object, schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        check(value, schema, "it")
