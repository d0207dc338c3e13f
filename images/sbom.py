"""Write what an image holds as a CycloneDX 1.6 document: Debian's packages and Python's distributions.

Runs while the image is built, with the base's own Python; what wheels carry along within them is their own to tell.
Source: cyclonedx.org/docs/1.6/json, github.com/package-url/purl-spec.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]

DPKG_STATUS = Path("var/lib/dpkg/status")
OS_RELEASE = Path("etc/os-release")
SITE_PACKAGES = "opt/heliograph/lib/python3*/site-packages"


def debian_packages(root: Path) -> Iterator[Component]:
    """Yield the packages that dpkg's list says are installed."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', (root / OS_RELEASE).read_text(), re.MULTILINE))
    distro = f"{release['ID']}-{release['VERSION_ID']}"
    for stanza in (root / DPKG_STATUS).read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", stanza, re.MULTILINE))
        if not fields.get("Status", "").endswith(" installed"):
            continue
        name, version = fields["Package"], fields["Version"]
        query = f"arch={fields['Architecture']}&distro={distro}"
        yield component(name, version, f"pkg:deb/{release['ID']}/{quote(name)}@{quote(version, safe='')}?{query}")


def python_distributions(root: Path) -> Iterator[Component]:
    """Yield what is installed in the image's environment."""
    folders = [str(folder) for folder in root.glob(SITE_PACKAGES)]
    for found in importlib.metadata.distributions(path=folders):
        name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
        made = component(name, found.version, f"pkg:pypi/{name}@{quote(found.version, safe='')}")
        if expression := found.metadata.json.get("license_expression"):
            made["licenses"] = [{"expression": expression}]
        yield made


def component(name: str, version: str, purl: str) -> Component:
    """Return one component."""
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def document(root: Path, *, name: str, version: str) -> dict[str, Any]:
    """Return the document of the image that is rooted at `root`; the same for the same content."""
    found = [
        component("python", platform.python_version(), f"pkg:generic/python@{platform.python_version()}"),
        *debian_packages(root),
        *python_distributions(root),
    ]
    found.sort(key=lambda it: str(it["purl"]))
    serial = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps([name, version, found], sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": name, "name": name, "version": version}},
        "components": found,
    }


def main() -> None:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(description="Write what an image holds as a CycloneDX document.")
    parser.add_argument("--root", type=Path, default=Path("/"), help="root of the image")
    parser.add_argument("name", help="name of the image; its version is that of Heliograph in it")
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    (ours,) = [it for it in python_distributions(options.root) if it["name"] == "heliograph"]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document(options.root, name=options.name, version=ours["version"]), indent=1)
    options.output.write_text(text + "\n", encoding="utf-8")
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    for path in (options.output, *options.output.parents[:2]):
        os.utime(path, (epoch, epoch))


if __name__ == "__main__":
    main()
