"""The gateway's settings."""

import pytest
from pydantic import ValidationError

from heliograph_gateway.settings import GatewaySettings


def test_settings_come_from_the_environment_and_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOGRAPH_GATEWAY_NAMESPACES", "one, two,")
    monkeypatch.setenv("HELIOGRAPH_GATEWAY_API_KEY", "secret\n")
    monkeypatch.setenv("HELIOGRAPH_GATEWAY_PORT", "1234")
    settings = GatewaySettings(port=4321)
    assert settings.namespaces == ("one", "two")
    assert settings.port == 4321
    assert settings.api_key
    assert settings.api_key.get_secret_value() == "secret"
    assert "secret" not in repr(settings)


def test_namespaces_may_be_a_tuple_or_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GatewaySettings(namespaces=("one",)).namespaces == ("one",)
    monkeypatch.setenv("HELIOGRAPH_GATEWAY_NAMESPACES", "")
    assert GatewaySettings().namespaces == ()


@pytest.mark.parametrize("key", ["", " \n"])
def test_an_empty_key_does_not_open_the_gateway(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("HELIOGRAPH_GATEWAY_API_KEY", key)
    with pytest.raises(ValidationError, match="must not be empty"):
        GatewaySettings()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        GatewaySettings().port = 1  # type: ignore[misc]
