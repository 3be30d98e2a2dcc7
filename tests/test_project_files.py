"""What a contributor meets first: the workflow, the templates, the changelog."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.ground.json_records import read_json

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_what_is_published_is_strict_json() -> None:
    """Not even NaN, which Python writes and most other readers refuse."""
    published = [
        path
        for folder in ("benchmarks", "docs")
        for path in sorted((ROOT / folder).rglob("*.json"))
    ]
    faults = []
    for path in published:
        try:
            read_json(path)
        except ValueError as error:
            faults.append(str(error))
    assert len(published) > 100 and faults == []


def targets(text: str) -> set[str]:
    """The make targets that a script calls."""
    lines = re.findall(r"\bmake ((?:[a-z-]+ ?)+)", text)
    return {name for line in lines for name in line.split()}


def test_the_workflow_checks_what_the_local_script_checks() -> None:
    of_workflows = {
        name
        for path in WORKFLOWS
        for job in read(path)["jobs"].values()
        for step in job["steps"]
        for name in targets(step.get("run", ""))
    }
    local = targets((ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert local >= {"lint", "test", "test-all", "wheel", "docs"}
    assert local <= of_workflows
    made = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert of_workflows <= {*made}


def test_the_workflow_runs_every_supported_python() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    supported = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    matrices = [
        job["strategy"]["matrix"]["python-version"]
        for path in WORKFLOWS
        for job in read(path)["jobs"].values()
        if "strategy" in job
    ]
    assert matrices == [supported]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read(path: Path) -> None:
    assert read(path)["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for job in read(path)["jobs"].values())


@pytest.mark.parametrize(
    "path", [form for form in FORMS if form.name != "config.yml"], ids=lambda path: path.name
)
def test_an_issue_form_asks_for_something(path: Path) -> None:
    form = read(path)
    assert form["name"] and form["description"]
    assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_the_changelog_has_the_version_of_the_project() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"', project, re.M)
    assert version is not None
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.M)
    assert headings[0] == ("Unreleased", "")
    assert version[1] == headings[1][0]
    citation = read(ROOT / "CITATION.cff")
    assert (citation["version"], str(citation["date-released"])) == headings[1]
