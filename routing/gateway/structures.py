"""Checks of the chat parameters that are objects or lists: tools, formats, choices, preferences.

Each is a `Check`: (value, name of the parameter) -> None, raising `BadRequest` with the path of the field at
fault. JSON Schemas in tools and formats are the provider's to judge.
"""

from typing import Any

from komilion.common.errors import BadRequest
from routing.gateway.checks import boolean, inner, mapping, number, one_of, string, text, wrong
from routing.gateway.messages import check_function_name

TOOLS_MOST = 128
STOPS_MOST = 4
BIASES_MOST = 1_024
METADATA_PAIRS_MOST = 16

_bias = number(-100, 100)
_metadata_name = text(64)
_metadata_value = text(512, 0)
_format_type = one_of("text", "json_object", "json_schema")
_choice_word = one_of("none", "auto", "required")
_allowed_mode = one_of("auto", "required")


def check_tools(value: Any, name: str) -> None:
    """Function tools (and OpenAI's custom ones), at most 128."""
    if type(value) is not list or len(value) > TOOLS_MOST:
        raise wrong(name, f"a list of at most {TOOLS_MOST} tools")
    for index, tool in enumerate(value):
        where = f"{name}[{index}]"
        mapping(tool, where)
        kind = tool.get("type")
        if kind not in ("function", "custom"):
            raise wrong(where + ".type", '"function" or "custom"')
        _check_function(tool.get(kind), f"{where}.{kind}")


def check_functions(value: Any, name: str) -> None:
    """The deprecated form of `tools`."""
    if type(value) is not list or len(value) > TOOLS_MOST:
        raise wrong(name, f"a list of at most {TOOLS_MOST} functions")
    for index, function in enumerate(value):
        _check_function(function, f"{name}[{index}]")


def _check_function(function: Any, where: str) -> None:
    mapping(function, where)
    check_function_name(function.get("name"), where + ".name")
    for field, check in (("description", string), ("parameters", mapping), ("strict", boolean)):
        if function.get(field) is not None:
            check(function[field], f"{where}.{field}")


def check_tool_choice(value: Any, name: str) -> None:
    """A word, one tool by name, or a list of allowed ones."""
    if type(value) is str:
        _choice_word(value, name)
        return
    if type(value) is not dict:
        raise wrong(name, "a string or an object")
    kind = value.get("type")
    if kind == "allowed_tools":
        where = name + ".allowed_tools"
        allowed = inner(value, "allowed_tools", name)
        _allowed_mode(allowed.get("mode"), where + ".mode")
        if type(allowed.get("tools")) is not list:
            raise wrong(where + ".tools", "a list of tools")
    elif kind in ("function", "custom"):
        check_function_name(inner(value, kind, name).get("name"), f"{name}.{kind}.name")
    else:
        raise wrong(name + ".type", 'one of "function", "custom", "allowed_tools"')


def check_function_call(value: Any, name: str) -> None:
    """The deprecated form of `tool_choice`."""
    if type(value) is dict:
        check_function_name(value.get("name"), name + ".name")
    elif value not in ("none", "auto"):
        raise wrong(name, '"none", "auto" or an object with a name')


def check_response_format(value: Any, name: str) -> None:
    """Text, any JSON object, or JSON of a named schema."""
    mapping(value, name)
    _format_type(value.get("type"), name + ".type")
    if value["type"] == "json_schema":
        where = name + ".json_schema"
        schema = inner(value, "json_schema", name)
        check_function_name(schema.get("name"), where + ".name")
        for field, check in (("description", string), ("schema", mapping), ("strict", boolean)):
            if schema.get(field) is not None:
                check(schema[field], f"{where}.{field}")


def check_stop(value: Any, name: str) -> None:
    """A string, or up to four of them."""
    if type(value) is str:
        return
    if type(value) is not list or len(value) > STOPS_MOST:
        raise wrong(name, f"a string or a list of at most {STOPS_MOST} strings")
    for index, stop in enumerate(value):
        string(stop, f"{name}[{index}]")


def check_logit_bias(value: Any, name: str) -> None:
    """Token id -> -100..100."""
    mapping(value, name)
    if len(value) > BIASES_MOST:
        raise wrong(name, f"an object of at most {BIASES_MOST} tokens")
    for token, bias in value.items():
        if not token.isdecimal():
            raise wrong(name, "an object whose keys are token ids")
        _bias(bias, f"{name}.{token[:20]}")


def check_stream_options(value: Any, name: str) -> None:
    """`include_usage` and `include_obfuscation`, the only two there are."""
    mapping(value, name)
    for option, setting in value.items():
        if option not in ("include_usage", "include_obfuscation"):
            raise BadRequest(f"`{name}` has no option {option[:64]!r}.", param=name)
        if setting is not None:
            boolean(setting, f"{name}.{option}")


def check_prediction(value: Any, name: str) -> None:
    """Predicted output: a text, or text parts."""
    mapping(value, name)
    if value.get("type") != "content":
        raise wrong(name + ".type", '"content"')
    content = value.get("content")
    if type(content) is str:
        return
    if type(content) is not list:
        raise wrong(name + ".content", "a string or a list of text parts")
    for index, part in enumerate(content):
        where = f"{name}.content[{index}]"
        mapping(part, where)
        string(part.get("text"), where + ".text")


def check_modalities(value: Any, name: str) -> None:
    """Text and nothing else: audio output has no price here yet."""
    if type(value) is not list or any(type(item) is not str for item in value):
        raise wrong(name, "a list of strings")
    if any(item != "text" for item in value):
        raise BadRequest(f'`{name}` may hold only "text": other output has no price here yet.', param=name)


def check_service_tier(value: Any, name: str) -> None:
    """The tiers that cost what the price list says."""
    string(value, name)
    if value not in ("auto", "default"):
        raise BadRequest(f'`{name}` may be "auto" or "default": others have no price here yet.', param=name)


def check_metadata(value: Any, name: str) -> None:
    """Up to 16 pairs of short strings; `tags` may be a list (checked where it is read)."""
    mapping(value, name)
    if len(value) > METADATA_PAIRS_MOST:
        raise wrong(name, f"an object of at most {METADATA_PAIRS_MOST} pairs")
    for key, item in value.items():
        _metadata_name(key, name)
        if item is not None and not (key == "tags" and type(item) is list):
            _metadata_value(item, f"{name}.{key}")


def check_provider_preferences(value: Any, name: str) -> None:
    """OpenRouter's `provider`: wishes may be ignored, but a condition that would be broken is refused."""
    mapping(value, name)
    for key, item in value.items():
        is_wish = key in ("order", "sort", "preferred_min_throughput", "preferred_max_latency")
        if not is_wish and item not in (None, []) and (key, item) not in KEPT_ANYWAY:
            raise BadRequest(f"`{name}.{key[:64]}` cannot be honoured here yet.", param=f"{name}.{key[:64]}")


KEPT_ANYWAY = (
    ("allow_fallbacks", True),
    ("require_parameters", False),
    ("data_collection", "allow"),
    ("zdr", False),
)
