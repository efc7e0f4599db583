"""Settings: flags over environment over file over defaults, and one clear line for what cannot be used."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path

import msgspec
import pytest

from model_repo import Provider
from server.secret import Secret
from server.settings import Settings, SettingsError, all_settings, load

NOTHING: dict[str, str] = {}


def toml(tmp_path: Path, text: str) -> str:
    path = tmp_path / "tutti.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_defaults_without_any_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load({}, NOTHING) == Settings()


def test_flags_win_over_variables_over_the_file(tmp_path: Path) -> None:
    config = toml(tmp_path, "port = 1\nlanes = 1\ncores = 1")
    found = load({"config": config, "port": "3"}, {"TUTTI_PORT": "2", "TUTTI_LANES": "2"})
    assert (found.port, found.lanes, found.cores) == (3, 2, 1)


def test_a_file_in_the_working_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml(tmp_path, "port = 7")
    monkeypatch.chdir(tmp_path)
    assert load({}, NOTHING).port == 7


def test_every_kind_of_value_comes_from_text() -> None:
    environ = {
        "TUTTI_PROVIDERS": "CUDAExecutionProvider, CPUExecutionProvider",
        "TUTTI_ACCESS_LOG": "yes",
        "TUTTI_POLL_INTERVAL_S": "0.5",
        "TUTTI_CONTROL_PORT": "",
    }
    found = load({"provider_policy": "strict"}, environ)
    assert found.providers == (Provider(name="CUDAExecutionProvider"), Provider(name="CPUExecutionProvider"))
    assert (found.access_log, found.poll_interval_s, found.control_port) == (True, 0.5, None)
    assert found.provider_policy == "strict"


def test_provider_options_come_from_the_file(tmp_path: Path) -> None:
    config = toml(tmp_path, '[[providers]]\nname = "CUDAExecutionProvider"\noptions = { device_id = "1" }')
    assert load({"config": config}, NOTHING).providers[0].options == {"device_id": "1"}


def test_the_token_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("a-long-enough-token\nsecond line\n", encoding="utf-8")
    assert load({}, {"TUTTI_CONTROL_TOKEN_FILE": str(path)}).control_token == Secret("a-long-enough-token")


@pytest.mark.parametrize(
    ("flags", "environ", "message"),
    [
        ({"port": "x"}, {}, "--port: port = 'x' is refused: expected a whole number from 0 to 65535"),
        ({}, {"TUTTI_PORT": "70000"}, "TUTTI_PORT: port = '70000' is refused: expected a whole number from 0 to 65535"),
        ({}, {"TUTTI_PLAN": "fast"}, "TUTTI_PLAN: plan = 'fast' is refused: expected one of auto, "),
        (
            {},
            {"TUTTI_ACCESS_LOG": "perhaps"},
            "TUTTI_ACCESS_LOG: access_log = 'perhaps' is refused: expected true",
        ),
        (
            {},
            {"TUTTI_CONTROL_TOKEN": "short"},
            "TUTTI_CONTROL_TOKEN: control_token has 5 characters, expected at least 16; its value is not shown",
        ),
        ({"config": "nowhere.toml"}, {}, "settings file 'nowhere.toml' cannot be read"),
        (
            {},
            {"TUTTI_CONTROL_TOKEN_FILE": "nowhere"},
            "TUTTI_CONTROL_TOKEN_FILE: control_token_file 'nowhere' cannot be read: No such",
        ),
    ],
)
def test_what_cannot_be_used_names_its_source(flags: dict[str, str], environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load(flags, environ)
    assert message in str(refusal.value)


def test_an_unknown_key_of_the_file_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown setting 'prot'; there are repository, host, port"):
        load({"config": toml(tmp_path, "prot = 1")}, NOTHING)


def test_every_default_is_within_its_own_limits(tmp_path: Path) -> None:
    for setting in all_settings():
        if isinstance(setting.default, str | int | float):
            assert load({setting.name: str(setting.default)}, NOTHING) is not None


TOKEN = "s3cret-s3cret-s3cret"


@pytest.mark.parametrize(
    ("flags", "environ", "text"),
    [
        ({"control_token": "s3cret"}, {}, ""),
        ({}, {"TUTTI_CONTROL_TOKEN": "s3cret"}, ""),
        ({}, {}, 'control_token = "s3cret"'),
        ({}, {}, f'control_token = ["{TOKEN}"]'),
        ({}, {}, f'[control_token]\nvalue = "{TOKEN}"'),
        ({}, {}, "control_token = s3cret"),
        ({}, {}, f'control_tokens = "{TOKEN}"'),
        ({"control_token_file": TOKEN}, {}, ""),
        ({}, {"TUTTI_CONTROL_TOKEN_FILE": TOKEN}, ""),
        ({}, {"TUTTI_CONTROL_TOKEN_FILE": "/" + TOKEN}, ""),
        ({}, {"TUTTI_CONTROL_TOKEN_FILE": TOKEN * 40}, ""),
        ({}, {}, f'control_token_file = "{TOKEN}/{TOKEN}"'),
    ],
)
def test_no_refusal_shows_a_secret(tmp_path: Path, flags: dict[str, str], environ: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load({"config": toml(tmp_path, text), **flags}, environ)
    told = "".join(traceback.format_exception(refusal.value)).split("Error: ", 1)[1]
    assert "s3cret" not in told
    assert "control_token" in told or "settings file" in told
    assert "\n" not in str(refusal.value)


def test_a_token_file_with_a_bad_first_line_is_named_without_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret\n", encoding="utf-8")
    with pytest.raises(SettingsError) as refusal:
        load({"control_token_file": str(path)}, NOTHING)
    assert str(refusal.value) == (
        f"--control-token-file: control_token_file {str(path)!r}: the first line has 6 characters, expected at least 16"
    )


def test_settings_with_a_secret_print_without_it() -> None:
    settings = load({"control_token": TOKEN}, NOTHING)
    assert settings.control_token is not None
    assert settings.control_token.matches(TOKEN)
    assert not settings.control_token.matches(TOKEN + "x")
    for told in (repr(settings), f"{settings.control_token}", str(settings.control_token), str(vars_of(settings))):
        assert "s3cret" not in told
    with pytest.raises(TypeError):
        msgspec.json.encode(settings)
    with pytest.raises(TypeError):
        pickle.dumps(settings)


def vars_of(settings: Settings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}
