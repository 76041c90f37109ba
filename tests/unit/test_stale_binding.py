"""A name that the binding doesn't know, and the topology at hand does."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import polybus
from polybus.bus.rights import Checker
from polybus.embedded.plan import local_binding
from polybus.topology.file import loads

BEFORE = '[bus]\nname = "shop"\n[topics.orders]\n[subscriptions.billing]\ntopic = "orders"\n'
AFTER = BEFORE + "[queues.thumbs]\n"


@pytest.fixture
def stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> polybus.Binding:
    """A binding of the topology as it was; the folder has it as it is now."""
    (tmp_path / "polybus.toml").write_text(AFTER)
    (tmp_path / "services").mkdir()
    monkeypatch.chdir(tmp_path / "services")
    return local_binding(loads(BEFORE, source="polybus.toml"), backend="memory")


@pytest.mark.parametrize("ask", ["target", "source", "operated"])
def test_it_is_named_as_the_cause(stale: polybus.Binding, ask: str, tmp_path: Path) -> None:
    with pytest.raises(polybus.BindingError) as raised:
        getattr(Checker(stale, None), ask)("thumbs")
    assert str(raised.value).startswith("nothing named 'thumbs' to ")
    assert f"{tmp_path / 'polybus.toml'} declares it, and the binding was made before it did" in str(raised.value)


def test_it_is_not_where_something_else_is_the_cause(stale: polybus.Binding, tmp_path: Path) -> None:
    for binding, name in (
        (stale, "thumb"),  # declared nowhere
        (msgspec.structs.replace(stale, bus="other"), "thumbs"),
        (msgspec.structs.replace(stale, digest=""), "thumbs"),
    ):
        with pytest.raises(polybus.BindingError, match=r"there are: |did you mean "):
            Checker(binding, None).target(name)
    (tmp_path / "polybus.toml").write_text("[bus")
    with pytest.raises(polybus.BindingError, match="there are: "):
        Checker(stale, None).target("thumbs")


async def test_a_bus_and_an_app_say_it_too(stale: polybus.Binding) -> None:
    app = polybus.App()

    @app.handler("thumbs")
    async def work(body: str) -> None: ...

    async with polybus.connect(stale) as bus:
        with pytest.raises(polybus.BindingError, match="declares it, and the binding was made before it did"):
            await bus.publish("thumbs", "x")
        with pytest.raises(polybus.ConfigError, match=r"handler .*work .*: .* the binding was made before it did"):
            async with app.running(bus=bus):
                pass
