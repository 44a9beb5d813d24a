"""`sam build` of the checkout's template, kept by what it was made from, so that the next stack need not wait for it."""

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ecs_anywhere_cli.local import processes
from ecs_anywhere_cli.problem import ProblemError

_KEPT_BUILDS = 6
_SOURCES = ("functions", "layers")
_NOT_SOURCES = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", "build"})
ARCHITECTURE = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
"""MiniStack runs functions with its own interpreter, so they are built for that."""


def checkout() -> Path:
    """The directory with template.yaml. Raises ProblemError."""
    directory = Path(__file__).resolve().parents[3]
    if not (directory / "template.yaml").is_file():
        raise ProblemError(
            "A local stack is deployed from a checkout of ECS Anywhere, and this command was installed without one. "
            "Clone the repository and run `make install`; the command is .venv/bin/ecs-anywhere there."
        )
    return directory


class Build:
    """Where a build of these sources for this interpreter is, or will be."""

    def __init__(self, sources: Path) -> None:
        self._sources = sources
        self.digest = source_digest(sources)
        self._cache = cache_directory()
        self.directory = self._cache / "builds" / self.digest
        self.template = self.directory / "template.yaml"

    def exists(self) -> bool:
        return self.template.is_file()

    def make(self, log: Path) -> None:
        """Built elsewhere and put in place when whole, so that two stacks may do it at once. Raises ProblemError."""
        builds = self._cache / "builds"
        builds.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._cache, prefix="building-") as temporary:
            staged = Path(temporary) / "sources"
            _stage(self._sources, staged)
            processes.run(
                [
                    *(sam_command(), "build", "--template-file", "template.yaml", "--parallel"),
                    *("--build-dir", str(Path(temporary) / "build"), "--cached", "--cache-dir", str(self._cache / "sam")),
                    *("--parameter-overrides", f"PythonRuntime={RUNTIME}", f"Architecture={ARCHITECTURE}"),
                ],
                what="Building the functions",
                environment=sam_environment(),
                log=log,
                directory=staged,
            )
            if not self.exists():
                shutil.rmtree(self.directory, ignore_errors=True)
                (Path(temporary) / "build").rename(self.directory)
        for old in sorted(builds.iterdir(), key=lambda build: build.stat().st_mtime, reverse=True)[_KEPT_BUILDS:]:
            shutil.rmtree(old, ignore_errors=True)


def source_digest(sources: Path) -> str:
    """Of all that a build depends on, the interpreter included."""
    digest = hashlib.sha256(f"{RUNTIME} {ARCHITECTURE} {importlib.metadata.version('aws-sam-cli')}".encode())
    for file in _source_files(sources):
        digest.update(f"\0{file.relative_to(sources)}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:24]


def cache_directory() -> Path:
    """Not part of a stack: anything in it may be deleted at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = Path(base) / "ecs-anywhere"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def sam_command() -> str:
    return str(Path(sys.executable).with_name("sam"))


def sam_environment() -> dict[str, str]:
    """The caller's, for pip's and proxies' sake, without its AWS settings; sam finds this interpreter on PATH."""
    settings = cache_directory() / "sam-settings"
    settings.mkdir(exist_ok=True)
    (settings / "metadata.json").write_text(
        json.dumps({"telemetryEnabled": False, "lastVersionCheck": datetime.now(UTC).timestamp()})
    )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return inherited | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(settings),
    }


def _source_files(sources: Path) -> Iterator[Path]:
    yield sources / "template.yaml"
    for name in _SOURCES:
        for file in sorted((sources / name).rglob("*")):
            parts = file.relative_to(sources).parts
            generated = any(part in _NOT_SOURCES or part.endswith(".egg-info") for part in parts)
            if file.is_file() and not generated and file.suffix != ".pyc":
                yield file


def _stage(sources: Path, target: Path) -> None:
    """A copy without what tools have left among the sources, and that nobody edits meanwhile."""
    for file in _source_files(sources):
        copy = target / file.relative_to(sources)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
