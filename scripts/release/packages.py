"""Builds what a release is made of from the commit that is checked out: the same bytes anywhere and at any time.

`python -m release.packages` writes dist/: the source archive and the wheel that is built from it, the charts, bills of
materials, and SHA256SUMS of them all. It takes the files of the commit alone, the commit's time as SOURCE_DATE_EPOCH
and the versions of the build tools that requirements/release.lock has installed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from release import sbom, version
from steps import Reporter, StepError, run, run_program

ROOT = Path(__file__).resolve().parents[2]


def git(root: Path, *arguments: str) -> str:
    """Return what git prints.

    Raises:
        StepError: git is missing, or fails: this is no clone, say.
    """
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise StepError("git is needed to build what a commit holds: install it") from error
    if done.returncode != 0:
        raise StepError(f"git {arguments[0]} failed: {done.stderr.strip()}\nPackages are built from a clone")
    return done.stdout.strip()


def export(root: Path, folder: Path) -> None:
    """Write the files of the commit that is checked out into a folder, with the commit's time.

    Raises:
        StepError: git fails.
    """
    archive = folder.with_suffix(".tar")
    git(root, "archive", "--format=tar", f"--output={archive}", "HEAD")
    shutil.unpack_archive(archive, folder)
    archive.unlink()


def build(root: Path, target: Path, reporter: Reporter) -> list[Path]:
    """Build everything of root's commit, in place of what `target` held.

    Returns:
        The files, without SHA256SUMS.

    Raises:
        StepError: The places that state the version do not agree, or a step failed.
    """
    if git(root, "status", "--porcelain"):
        reporter.say("Changes that are not committed are left out.")
    time = git(root, "log", "-1", "--format=%ct")
    with tempfile.TemporaryDirectory(prefix="heliograph-dist-") as folder:
        sources, made = Path(folder) / "sources", Path(folder) / "made"
        export(root, sources)
        stated = version.check(sources)
        package(sources, made, time=time, reporter=reporter)
        for name in ("charts", "sbom"):
            (made / name).mkdir()
        for chart in sorted(sources.glob("charts/*/Chart.yaml")):
            packing = [str(helm()), "package", str(chart.parent), "--destination", str(made / "charts")]
            run(packing, reporter=reporter, doing=f"Packing the chart {chart.parent.name}")
        for archive in (made / "charts").iterdir():
            set_time(archive, int(time))
        for lock in sbom.SHIPPED:
            sbom.write(sources, lock, made / "sbom" / f"heliograph-{stated}-{lock}.cdx.json", reporter)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(made, target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(target)}\n" for file in files]
    (target / "SHA256SUMS").write_text("".join(lines))
    return files


def package(sources: Path, target: Path, *, time: str, reporter: Reporter) -> None:
    """Build the source archive, and the wheel from it.

    Args:
        sources: The files of the commit.
        target: The folder to write to.
        time: The commit's time in seconds since 1970, which every file in the packages gets.
        reporter: What to tell the user with.

    Raises:
        StepError: The build failed.
    """
    command = ["env", f"SOURCE_DATE_EPOCH={time}", sys.executable, "-m", "build", "--no-isolation"]
    doing = "Building the source archive, and the wheel from it"
    run([*command, "--outdir", str(target), str(sources)], reporter=reporter, doing=doing)


def set_time(archive: Path, time: int) -> None:
    """Give every file in a .tgz, and the .tgz itself, a time: helm writes that of the packing.

    Args:
        archive: The .tgz, which is written anew.
        time: Seconds since 1970.
    """
    packed = archive.read_bytes()
    with (
        tarfile.open(fileobj=io.BytesIO(packed)) as old,
        archive.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=time) as unpacked,
        tarfile.open(fileobj=unpacked, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in old:
            member.mtime = time
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member))


def helm() -> Path:
    """Return the environment's helm."""
    return Path(sys.executable).with_name("helm")


def main() -> int:
    """Build and tell what there is; return the exit status."""

    def work(reporter: Reporter) -> int:
        files = build(ROOT, ROOT / "dist", reporter)
        reporter.clear()
        for file in files:
            print(f"{file.stat().st_size / 1e3:8.0f} kB  {file.relative_to(ROOT)}")
        print("SHA-256 of each in dist/SHA256SUMS")
        return 0

    return run_program(work)


if __name__ == "__main__":
    sys.exit(main())
