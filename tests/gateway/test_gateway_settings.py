"""The gateway's settings."""

from typing import Any

import pytest
from platformdirs import user_data_path
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


def test_the_data_folder_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HELIOGRAPH_GATEWAY_DATA_DIR")
    assert GatewaySettings().data_dir == user_data_path("heliograph", appauthor=False) / "gateway"


def test_lists_of_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOGRAPH_GATEWAY_IMAGE_URL_HOSTS", "*.example.org, cdn.test:8443,")
    assert GatewaySettings().image_url_hosts == ("*.example.org", "cdn.test:8443")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"database_url": "mysql://user:hidden@db/heliograph"}, "write sqlite:///PATH"),
        ({"database_url": "postgresql://user:hidden@db"}, "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
        ({"database_url": "postgresql://user:hid/den@db/heliograph"}, "percent encoding"),
        ({"database_url": "postgresql://user:5/hidden@db/heliograph"}, "percent encoding"),
        ({"database_url": "postgresql://user:hid@den@db/heliograph"}, "percent encoding"),
        ({"database_url": "postgresql://user:hid#den@db/heliograph"}, "percent encoding"),
        ({"database_url": "postgresql://user:hid?den@db/heliograph"}, "percent encoding"),
        ({"database_url": "postgresql://user:hid[den@db/heliograph"}, "percent encoding"),
        ({"files_url": "/var/lib/files"}, "file:///FOLDER"),
        ({"files_url": "file://var/lib/files"}, "file:///FOLDER"),
        ({"files_url": "ftp://files"}, "s3://BUCKET/PREFIX"),
        ({"files_url": "s3://"}, "s3://BUCKET/PREFIX"),
        ({"files_url": "s3://key:hidden@bucket"}, "no credentials"),
        ({"files_url": "s3://bucket?secret=hidden"}, "no credentials"),
        ({"database_url": "sqlite://hidden"}, "four slashes"),
        ({"external_url": "images.example.org"}, "http or https URL"),
        ({"external_url": "ftp://images.example.org"}, "http or https URL"),
        ({"external_url": "https://"}, "http or https URL"),
        ({"external_url": "https://images.example.org/?a=b"}, "http or https URL"),
        ({"external_url": "https://images.example.org/#a"}, "http or https URL"),
        ({"external_url": 'https://images.example.org/"'}, "http or https URL"),
        ({"external_url": "https://images.example.org/\r\n"}, "http or https URL"),
        ({"external_url": "https://me:hidden@images.example.org"}, "user name"),
        ({"signing_key": "hidden"}, "16 bytes or more"),
        ({"signing_key": ""}, "16 bytes or more"),
        ({"signing_key": f"{' ' * 16}hidden\n"}, "16 bytes or more"),
        ({"image_url_hosts": "https://example.org"}, "is no host"),
        ({"image_url_private_hosts": "*"}, "must name the hosts"),
        ({"image_url_private_hosts": "minio,*:9000"}, "must name the hosts"),
        ({"file_ttl_seconds": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_cannot_be_used(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem) as caught:
        GatewaySettings(**given)
    (error,) = caught.value.errors(include_input=False, include_url=False, include_context=False)
    assert "hidden" not in error["msg"]


def test_secrets_are_not_shown() -> None:
    settings = GatewaySettings(signing_key="canary-canary-canary\n", database_url="sqlite:////canary")
    assert "canary" not in repr(settings)
    assert settings.signing_key
    assert settings.signing_key.get_secret_value() == "canary-canary-canary"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        GatewaySettings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:p%40ss%2Fword@db:5432/heliograph?sslmode=verify-full",
        "postgres://user@one:5432,two:5432/heliograph?target_session_attrs=read-write",
        "postgresql://[::1]:5432/heliograph",
        "postgresql:///heliograph?host=/var/run/postgresql",
        "sqlite:////var/lib/heliograph/gateway.sqlite3",
    ],
)
def test_databases(url: str) -> None:
    settings = GatewaySettings(database_url=f"{url}\n")
    assert settings.database_url
    assert settings.database_url.get_secret_value() == url


@pytest.mark.parametrize(
    "url", ["file:///var/lib/files", "s3://bucket", "s3://bucket/a/b", "gs://bucket/a", "az://a/b"]
)
def test_places_for_files(url: str) -> None:
    assert GatewaySettings(files_url=url).files_url == url


def test_what_is_empty_is_as_if_it_were_absent() -> None:
    settings = GatewaySettings(database_url="", files_url="")
    assert (settings.database_url, settings.files_url) == (None, None)


@pytest.mark.parametrize(
    ("options", "most"), [({}, 25), ({"max_video_jobs": 3}, 1), ({"max_video_jobs_per_owner": 7}, 7)]
)
def test_one_owners_share_of_the_video_jobs(options: dict[str, int], most: int) -> None:
    assert GatewaySettings.model_validate(options).video_jobs_per_owner == most
