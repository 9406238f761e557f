"""`trunkline methods`: what there is, and what each takes; the docs know every method."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import invoke, refused
from documented_json import check_keys, only_json

import trunkline
from trunkline.pipeline.config import parse_config
from trunkline.supermodel.methods.registry import methods

pytestmark = pytest.mark.golden

ROOT = Path(__file__).resolve().parents[2]
NAMES = list(methods())


def test_all_methods_are_listed() -> None:
    """Fixed ones first, as JSON and as a table."""
    content = only_json(invoke("methods", "--json"))
    check_keys("methods", content)
    assert sorted(found["name"] for found in content["methods"]) == NAMES
    kinds = [found["kind"] for found in content["methods"]]
    assert kinds == sorted(kinds)
    said = invoke("methods")
    assert said.code == 0 and all(name in said.out for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_says_all_of_itself(name: str) -> None:
    """Every word is there, every option has a description and a type that a user can write."""
    (found,) = only_json(invoke("methods", name, "--json"))["methods"]
    assert all(found[key] for key in ("kind", "units", "needs", "decides", "yields", "source"))
    assert [option["name"] for option in found["options"]] == list(methods()[name].Options.model_fields)
    for option in found["options"]:
        assert option["description"], option["name"]
        assert "anything" not in option["type"] and "object" not in option["type"], option
        assert not (option["required"] and option["default"] is not None)
    said = invoke("methods", name)
    assert said.code == 0 and said.out.startswith(f"{name}: {found['kind']}")


@pytest.mark.parametrize("name", NAMES)
def test_shown_defaults_are_those_of_pipelines(name: str) -> None:
    """A pipeline that writes down every default is the pipeline without them."""
    (found,) = trunkline.methods(name)
    given = {option.name: option.default for option in found.options if option.default is not None}
    if any(option.required for option in found.options):
        return
    written = parse_config({"search": {"method": name, **given}})
    assert written.search.options == parse_config({"search": {"method": name}}).search.options


def test_types_are_told_in_words() -> None:
    options = {option.name: option.type for option in trunkline.methods("automtl")[0].options}
    assert options["units"] == '"operator" or "block"'
    assert options["cost_table"] == "file or nothing"
    assert options["steps"] == "[whole number, whole number]"
    assert options["loss_weights"] == "table of numbers by name"
    assert options["temperature"] == "table of start, decay, every, floor"
    assert options["skip"] == "true or false"
    assert trunkline.methods("share-until")[0].options[0].required


@pytest.mark.abuse
def test_an_unknown_method_is_guessed() -> None:
    refused(invoke("methods", "autmtl"), 'there is no method "autmtl"', 'did you mean "automtl"?')


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_names_every_method(name: str) -> None:
    assert f"`{name}`" in (ROOT / "README.md").read_text()
