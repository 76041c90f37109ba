"""The README says what is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from polybus.cli.main import COMMANDS
from polybus.plan.diagram import mermaid
from polybus.topology.file import load

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def between(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_diagram_is_the_examples() -> None:
    topology = load(ROOT / "examples" / "training_pipeline" / "polybus.toml")
    assert between("diagram") == f"```mermaid\n{mermaid(topology)}```\n", "run `polybus diagram` and paste it"


def test_the_first_service_can_be_imported(tmp_path: Path) -> None:
    service = re.search(r"```python\n(# billing\.py.*?)```", README, re.DOTALL)
    assert service is not None
    assert len(service[1].rstrip().splitlines()) <= 17
    (tmp_path / "billing.py").write_text(service[1])
    subprocess.run([sys.executable, "-c", "import billing; assert billing.app.handlers"], cwd=tmp_path, check=True)


def test_every_command_is_named() -> None:
    table = README[README.index("## The command line") : README.index("## Beside others")]
    for name in COMMANDS:
        assert f"`polybus {name}" in table or f"`{name}" in table


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/contract.md", "docs/reliability.md"]
)
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_no_file_names_a_package_registrys_address() -> None:
    """Where packages come from is the installer's configuration: behind a mirror, an address in a lock file fails."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    hosts = [b".".join(host) for host in ((b"pypi", b"org"), (b"pythonhosted", b"org"), (b"npmjs", b"org"))]
    assert [str(path) for path in files if any(host in path.read_bytes() for host in hosts)] == []
