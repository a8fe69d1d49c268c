"""cno/config/options.py: the table, and which source of a value wins."""

import pytest

from cno.config.errors import ConfigError
from cno.config.options import OPTIONS, Config


def test_defaults_are_those_of_uvicorn() -> None:
    config = Config()
    assert (config.host, config.port, config.uds, config.fd) == ("127.0.0.1", 8000, None, None)
    assert (config.backlog, config.timeout_keep_alive) == (2048, 5)
    assert config.timeout_graceful_shutdown is None
    assert (config.loop, config.lifespan, config.log_level) == ("auto", "auto", "info")
    assert config.access_log
    assert config.server_header
    assert config.date_header
    assert config.http2
    assert (config.root_path, config.header, config.factory) == ("", (), False)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_is_described(option) -> None:
    assert option.help.endswith(".")
    assert option.group
    assert option.flag == option.flag.strip()
    assert option.variables[0] == f"CNO_{option.name.upper()}"
    if option.default is not None and not option.argument:
        assert option.check(option.default) == option.default


def test_a_config_does_not_change() -> None:
    with pytest.raises(AttributeError):
        Config().port = 1


@pytest.mark.parametrize(
    ("name", "hint"), [("hots", "'host'"), ("headers", "'header'"), ("acess_log", "'access_log'")]
)
def test_unknown_name_gets_the_closest(name: str, hint: str) -> None:
    with pytest.raises(TypeError, match=f"{name!r}; did you mean {hint}"):
        Config(**{name: 1})


def test_unknown_name_without_anything_close() -> None:
    with pytest.raises(TypeError, match=r"there is no option 'zzzzzz'$"):
        Config(zzzzzz=1)


def test_unset_is_none_where_it_is_the_default() -> None:
    assert Config(fd=None, timeout_graceful_shutdown=None).fd is None


def test_what_excludes_each_other() -> None:
    with pytest.raises(ConfigError, match="only one of them"):
        Config(uds="/tmp/x", fd=3)
    with pytest.raises(ConfigError, match="needs ssl_certfile"):
        Config(ssl_keyfile="key.pem")


# ---- where a value comes from -------------------------------------------------------------------


def test_flag_beats_own_variable_beats_uvicorns() -> None:
    environ = {"UVICORN_PORT": "1"}
    assert Config.from_environment(environ).port == 1
    environ["CNO_PORT"] = "2"
    assert Config.from_environment(environ).port == 2
    assert Config.from_environment(environ, {"port": "3"}).port == 3
    assert Config.from_environment({}).port == 8000


def test_empty_variable_is_no_variable() -> None:
    assert Config.from_environment({"CNO_PORT": "", "UVICORN_PORT": "1"}).port == 1


def test_variables_hold_switches_applications_and_fields() -> None:
    config = Config.from_environment(
        {"CNO_ACCESS_LOG": "no", "UVICORN_APP": "a:b", "UVICORN_HEADERS": "X: 1"}
    )
    assert not config.access_log
    assert config.app == "a:b"
    assert config.header == ((b"x", b"1"),)


def test_only_the_command_reads_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNO_PORT", "1")
    assert Config().port == 8000


@pytest.mark.parametrize(
    ("environ", "flags", "source"),
    [
        ({"CNO_PORT": "x"}, {}, "$CNO_PORT"),
        ({"UVICORN_PORT": "x"}, {}, "$UVICORN_PORT"),
        ({}, {"port": "x"}, "--port"),
        ({}, {"timeout_keep_alive": "x"}, "--timeout-keep-alive"),
    ],
)
def test_wrong_value_says_where_it_was_found(environ, flags, source: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_environment(environ, flags)
    assert str(caught.value).startswith(f"{source}: 'x' is not a ")
