"""Options that are made from a settings class."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from heliograph.settings_command import options_of, read_settings


class Part(BaseModel):
    size: int


class ExampleSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HELIOGRAPH_EXAMPLE_", frozen=True, use_attribute_docstrings=True)

    manifest: Path
    """File to read."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 8080
    """Port to
    listen on."""
    ratio: float | None = None
    watch: bool = False
    level: Literal["info", "debug"] = "info"
    names: tuple[str, ...] = ()
    parts: Mapping[str, Part] = {}
    key: SecretStr | None = None

    @model_validator(mode="after")
    def _check(self) -> "ExampleSettings":
        if self.watch and not self.names:
            raise ValueError("names is required with watch: name what to watch")
        return self


Run = Callable[..., tuple[Result, list[ExampleSettings]]]


@pytest.fixture
def run() -> Run:
    def run_with(*arguments: str, **environment: str) -> tuple[Result, list[ExampleSettings]]:
        read: list[Any] = []

        def callback(**given: object) -> None:
            read.append(
                read_settings(ExampleSettings, {name: value for name, value in given.items() if value is not None})
            )

        command = click.Command("example", params=list(options_of(ExampleSettings)), callback=callback)
        env = {f"HELIOGRAPH_EXAMPLE_{name}": value for name, value in environment.items()}
        return CliRunner().invoke(command, arguments, env=env), read

    return run_with


def test_every_kind_of_option(run: Run) -> None:
    result, (settings,) = run(
        *("--manifest", "a.json", "--port", "9000", "--ratio", "0.5", "--watch", "--level", "debug"),
        *("--names", "a", "--names", "b, c", "--parts", '{"x": {"size": 1}}'),
    )

    assert result.exit_code == 0
    assert settings == ExampleSettings(
        manifest=Path("a.json"),
        port=9000,
        ratio=0.5,
        watch=True,
        level="debug",
        names=("a", "b", "c"),
        parts={"x": Part(size=1)},
    )


def test_options_win_over_the_environment(run: Run) -> None:
    _, (settings,) = run(
        "--port", "9000", "--no-watch", MANIFEST="b.json", PORT="1", WATCH="true", NAMES="[]", LEVEL="debug"
    )

    assert (settings.manifest, settings.port, settings.watch, settings.level) == (Path("b.json"), 9000, False, "debug")


def test_a_secret_has_no_option(run: Run) -> None:
    result, _ = run("--manifest", "a", "--key", "s3cret")
    assert result.exit_code == 2
    assert "No such option" in result.output

    _, (settings,) = run("--manifest", "a", KEY="s3cret")
    assert settings.key
    assert settings.key.get_secret_value() == "s3cret"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Error: --manifest (HELIOGRAPH_EXAMPLE_MANIFEST): Field required"),
        (["--manifest", "a", "--port", "0"], "Error: --port (HELIOGRAPH_EXAMPLE_PORT): Input should be greater than"),
        (["--manifest", "a", "--port", "http"], "Error: --port (HELIOGRAPH_EXAMPLE_PORT): Input should be a valid int"),
        (["--manifest", "a", "--watch"], "Error: names is required with watch: name what to watch"),
        (["--manifest", "a", "--parts", "{"], "Error: Invalid value for '--parts': is not valid JSON: "),
        (["--manifest", "a", "--level", "loud"], "Error: Invalid value for '--level': "),
    ],
)
def test_a_bad_value_is_named(run: Run, arguments: list[str], message: str) -> None:
    result, read = run(*arguments)

    assert (result.exit_code, read) == (2, [])
    assert message in result.output


def test_a_bad_variable_is_named(run: Run) -> None:
    result, _ = run("--manifest", "a", PORT="http")
    assert (result.exit_code, "--port (HELIOGRAPH_EXAMPLE_PORT): " in result.output) == (2, True)

    result, _ = run("--manifest", "a", PARTS="{")
    assert result.exit_code == 2
    assert "parts" in result.output


def test_help_is_the_docstring_with_the_default(run: Run) -> None:
    result, _ = run("--help")

    assert "Port to listen on. [default: 8080]" in " ".join(result.output.split())
    assert "--level [info|debug]" in result.output
