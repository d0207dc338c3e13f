"""Fixtures: a cluster of one real node with Heliograph installed in it, which the tests share.

Each test has models of its own and removes them. What a test of the whole installation does to it (uninstall, upgrade)
happens in another namespace.
"""

from collections.abc import Generator, Iterator

import pytest

from cluster.addresses import routable_address
from devcluster.cluster import Cluster, ClusterExistsError
from devcluster.machine import check_machine
from node import diagnostics
from node.claims import fill_claim
from node.client import Client
from node.configured import VALUES, values_file
from node.images import Images, build_images
from node.kubectl import Kubectl
from node.models import EXAMPLES, wait_ready
from node.release import Release
from runtime.file_host import FileHost, file_host
from runtime.hub_host import add_repository
from steps import StepError

NAMESPACE = "heliograph"
_KUBECTL: list[Kubectl] = []
"""That of the running cluster, for the reports of failures."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the cluster where a test failed; a skipped one has failed, since everything it needs can be had."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
    if report.failed and _KUBECTL:
        report.sections.append(("Cluster", diagnostics.report(_KUBECTL[0])))
    return report


@pytest.fixture(scope="session")
def fit() -> None:
    """A machine that the cluster can be made on; where it is not one, the run ends and says why."""
    cluster = Cluster()
    try:
        check_machine(cluster.layout)
    except StepError as error:
        pytest.exit(str(error), 2)
    if cluster.is_there():
        pytest.exit("there is a development cluster, which the tests would change: end it with `make cluster-down`", 2)


@pytest.fixture(scope="session")
def images(fit: None, request: pytest.FixtureRequest) -> Images:
    """The images, built as far as they are not there."""
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        return build_images()


@pytest.fixture(scope="session")
def machine(request: pytest.FixtureRequest, images: Images) -> Iterator[Cluster]:
    """A new cluster with one node, which has the images."""
    cluster = Cluster()
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        try:
            cluster.up(anew=True)
            for archive in images.all:
                cluster.import_image(archive)
        except ClusterExistsError:  # somebody's, made since the check
            raise
        except BaseException:
            cluster.down()
            raise
    yield cluster
    cluster.down()


@pytest.fixture(scope="session")
def busybox(machine: Cluster) -> str:
    """Name of an image with a shell and its usual commands, which the node has."""
    return machine.busybox


@pytest.fixture(scope="session")
def kubectl(machine: Cluster) -> Iterator[Kubectl]:
    """kubectl in the namespace `default`."""
    program = Kubectl(machine.kubectl_program, machine.kubeconfig)
    _KUBECTL.append(program)
    yield program
    _KUBECTL.clear()


@pytest.fixture(scope="session")
def release(kubectl: Kubectl) -> Release:
    """Heliograph as `helm install` makes it with default values, in a namespace that takes restricted pods alone."""
    release = Release(kubectl.make_namespace(NAMESPACE))
    release.define()
    release.install()
    return release


@pytest.fixture(scope="session")
def client(release: Release, images: Images) -> Client:
    """An application's pod with OpenAI's client, in another namespace."""
    return Client.start(release.kubectl, name="client", image=images.client_name, url=release.url, key=release.key)


@pytest.fixture(scope="session")
def examples(release: Release, busybox: str) -> Release:
    """The release, and the claim that the manifests of examples/ name, filled."""
    fill_claim(release.kubectl, busybox=busybox)
    return release


@pytest.fixture(scope="session")
def tiny(examples: Release) -> Release:
    """The release with examples/tiny.yaml applied as it is, and ready."""
    examples.kubectl("apply", "--filename", EXAMPLES / "tiny.yaml")
    wait_ready(examples.kubectl, "tiny")
    return examples


@pytest.fixture(scope="session")
def hub() -> Iterator[FileHost]:
    """A model hub on the node, as pods reach it, with one repository: the tiny model."""
    folder = EXAMPLES / "tiny-model" / "model"
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with file_host("0.0.0.0") as host:
        add_repository(host, "heliograph/tiny-model", files)
        yield host


@pytest.fixture(scope="session")
def configured(examples: Release, hub: FileHost, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The release with values beside the default ones, such as a GPU profile and a hub of its own."""
    values = VALUES | {"weights": {"env": {"HF_ENDPOINT": f"http://{routable_address()}:{hub.port}"}}}
    examples.upgrade("--values", str(values_file(tmp_path_factory.mktemp("values"), values)))
    return examples
