"""The documentation tells what there is: every setting, metric, command and error status."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server import metrics, settings
from tutti import COMMANDS

ROOT = Path(__file__).parent.parent


def test_the_settings_page_is_the_settings_table() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert settings.markdown() in page, "run: python -m server.settings, and paste its table into the page"


def test_the_metrics_page_is_the_metrics_table() -> None:
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert metrics.markdown() in page, "run: python -m server.metrics, and paste its table into the page"


@pytest.mark.parametrize("setting", list(settings.all_settings()), ids=lambda s: s.name)
def test_every_setting_says_how_to_choose(setting: settings.Setting) -> None:
    assert len(setting.description) > 20


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"tutti {command}" in readme


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        for target in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
