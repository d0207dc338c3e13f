"""The manifests on the command line of `heliograph serve`."""

from pathlib import Path

import pytest

from heliograph.serve.manifests import ManifestError, ServedModel, collect

MODEL = "parameters:\n  model: folder/model\n"
IMAGE_MODEL = """\
apiVersion: heliograph.dev/v1alpha1
kind: ImageModel
metadata:
  name: {name}
spec:
  parameters:
    model: folder/model
"""


def read(*paths: Path, models_dir: Path | None = None) -> tuple[list[ServedModel], list[str]]:
    warnings: list[str] = []
    return collect(paths, models_dir=models_dir, warn=warnings.append), warnings


def refuse(*paths: Path) -> str:
    with pytest.raises(ManifestError) as error:
        read(*paths)
    message = str(error.value)
    assert "\n" not in message
    return message


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_an_image_model_and_a_localai_file(tmp_path: Path) -> None:
    first = write(tmp_path / "a.yaml", IMAGE_MODEL.format(name="flux.1-dev"))
    second = write(tmp_path / "b.yaml", f"name: My Model\n{MODEL}")
    (found, warnings) = read(first, second)

    assert [(served.model.name, served.model.model_id) for served in found] == [
        ("flux.1-dev", "flux.1-dev"),
        ("my-model", "My Model"),
    ]
    assert [served.source for served in found] == [first, second]
    assert {served.models_dir for served in found} == {tmp_path}
    assert warnings == []


def test_several_documents(tmp_path: Path) -> None:
    text = "---\n".join(IMAGE_MODEL.format(name=name) for name in ("a", "b"))
    found, _ = read(write(tmp_path / "both.yaml", text))

    assert [served.model.name for served in found] == ["a", "b"]


def test_a_localai_file_without_a_name_is_called_as_its_file(tmp_path: Path) -> None:
    found, _ = read(write(tmp_path / "animagine.yaml", MODEL))

    assert [served.model.name for served in found] == ["animagine"]


def test_the_models_folder_can_be_named(tmp_path: Path) -> None:
    found, _ = read(write(tmp_path / "a.yaml", MODEL), models_dir=tmp_path / "weights")

    assert found[0].models_dir == tmp_path / "weights"


def test_a_folder_is_read_in_order_and_other_files_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "b.yml", MODEL)
    write(tmp_path / "a.yaml", MODEL)
    write(tmp_path / "README.md", "no manifest")
    write(tmp_path / "deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\n")
    (tmp_path / "c.yaml").mkdir()
    found, warnings = read(tmp_path)

    assert [served.model.name for served in found] == ["a", "b"]
    (warning,) = warnings
    assert warning.startswith(f"{tmp_path / 'deployment.yaml'}: kind: apps/v1 Deployment is not served here")
    assert warning.endswith("; the file is left out")


def test_a_folder_without_a_valid_file_is_refused(tmp_path: Path) -> None:
    assert refuse(tmp_path) == f"{tmp_path}: holds no model that can be served; it has no *.yaml or *.yml file"
    write(tmp_path / "a.yaml", "step: 20\n")
    assert "a.yaml: spec.parameters: " in refuse(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"step: '20'\n{MODEL}", "spec.step: "),
        (f"step: -1\n{MODEL}", "spec.step: "),
        ("parameters:\n  model: ../secret\n", "spec.parameters.model: must not contain '..'"),
        ("parameters:\n  model: /etc/passwd\n", "spec.parameters.model: must not be an absolute path"),
        (f"backend: llama-cpp\n{MODEL}", "spec.backend: "),
        ("name: x\n", "spec.parameters: parameters.model is required"),
        (
            f"diffusers: {{}}\noptions: ['vae_path:a']\n{MODEL}",
            "spec.options: ",
        ),
        ("a: [1\nb: 2\n", "manifest: is not valid YAML"),
        ("just text\n", "manifest: must be a"),
        ("", "is empty; write an ImageModel or a LocalAI model file"),
        ("kind: Pod\napiVersion: v1\n", "kind: v1 Pod is not served here; write apiVersion: heliograph.dev/v1alpha1"),
        (IMAGE_MODEL.format(name="Bad_Name"), "metadata.name: "),
        ("!!python/object/apply:os.system ['touch owned']\n", "manifest: is not valid YAML"),
    ],
)
def test_a_bad_file_is_refused_with_file_field_and_problem(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "bad.yaml", text)

    assert refuse(path).startswith(f"{path}: {message}")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.yaml"
    path.write_bytes(b"\xff\xfe\x00")

    assert refuse(path) == f"{path}: is not text in UTF-8; write a YAML manifest"


@pytest.mark.parametrize(
    "second",
    [
        "name: one\n" + MODEL,
        "name: two\n" + MODEL + "serving: {aliases: [one]}\n",
        "name: One\n" + MODEL,
    ],
)
def test_two_models_of_one_name_are_refused(tmp_path: Path, second: str) -> None:
    a, b = write(tmp_path / "a.yaml", f"name: one\n{MODEL}"), write(tmp_path / "b.yaml", second)

    assert refuse(a, b) == f"{b} and {a}: both name a model 'one'; rename one, or serve one of them"


def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", MODEL)

    assert "both name a model 'a'" in refuse(path, path)


def test_an_unknown_key_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", f"stepp: 20\n{MODEL}")
    _, (warning,) = read(path)

    assert warning.startswith(f"a ({path}): ")
    assert "stepp" in warning
    assert "step" in warning.replace("stepp", "")


def test_an_alias_of_nothing_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "name: a\nalias: gone\n")
    (served,), (warning,) = read(path)

    assert not served.has_runtime
    assert warning == f"a ({path}): spec.alias: no model 'gone' is served here; name its manifest too"
