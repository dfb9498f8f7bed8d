"""The `messages` of a chat request: every turn has a role, content of known kinds and closed references.

What a model reads is not judged here. Unknown fields of a message travel on (providers hang reasoning and
cache marks there); ids of objects that live at a provider do not, because on the house's credentials they would
be other tenants' objects as well.
"""

import re
from collections.abc import Callable
from typing import Any

from komilion.common.errors import BadRequest
from routing.gateway.checks import array, inner, mapping, missing, one_of, string, text, wrong

MESSAGES_MOST = 10_000
PARTS_MOST = 10_000
CALLS_MOST = 128
URL_CHARACTERS = 8_192

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
PLAIN_ROLES = frozenset({"system", "developer", "user", "assistant"})
FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

check_id = text(256)
check_detail = one_of("auto", "low", "high", "original")
check_format = text(32)


def check_function_name(value: Any, name: str) -> None:
    """A tool's name: `^[a-zA-Z0-9_-]{1,64}$`."""
    if type(value) is not str or not FUNCTION_NAME.fullmatch(value):
        raise wrong(name, "1 to 64 letters, digits, underscores or hyphens")


def check_messages(messages: Any, needs: set[str]) -> None:
    """Check the whole conversation; what it asks of a model is added to `needs`.

    Raises `BadRequest` whose `param` is the path of the field at fault.
    """
    if type(messages) is not list or not 0 < len(messages) <= MESSAGES_MOST:
        raise wrong("messages", f"a list of 1 to {MESSAGES_MOST:,} messages")
    for index, message in enumerate(messages):
        # The usual turn has a role and a text and nothing else, and is done with right here.
        if (
            type(message) is dict
            and len(message) == 2
            and type(message.get("content")) is str
            and type(role := message.get("role")) is str
            and role in PLAIN_ROLES
        ):
            continue
        _check_message(message, f"messages[{index}]", needs)


def _check_message(message: Any, where: str, needs: set[str]) -> None:
    mapping(message, where)
    role = message.get("role")
    if role is None:
        raise missing(where + ".role")
    if type(role) is not str or role not in ROLES:
        raise wrong(where + ".role", "one of " + ", ".join(sorted(ROLES)))
    if message.get("name") is not None:
        string(message["name"], where + ".name")
    speaks = False
    if role == "assistant":
        speaks = _check_assistant(message, where, needs)
    elif role in ("tool", "function"):
        _check_result(message, role, where)
        needs.add("tools")
    content = message.get("content")
    if content is None:
        if not speaks:
            raise missing(where + ".content")
    elif type(content) is not str:
        _check_parts(content, where + ".content", needs)


def _check_result(message: dict[str, Any], role: str, where: str) -> None:
    """A tool's answer says which call it answers."""
    if role == "function":
        check_function_name(message.get("name"), where + ".name")
        return
    if message.get("tool_call_id") is None:
        raise missing(where + ".tool_call_id")
    check_id(message["tool_call_id"], where + ".tool_call_id")


def _check_assistant(message: dict[str, Any], where: str, needs: set[str]) -> bool:
    """Whether the turn says something besides its content: calls or a refusal."""
    if message.get("audio") is not None:
        raise BadRequest(f"`{where}.audio` is not accepted: it names an object at a provider.", param=where + ".audio")
    speaks = False
    refused = message.get("refusal")
    if refused is not None:
        string(refused, where + ".refusal")
        speaks = True
    calls = message.get("tool_calls")
    if calls is not None:
        path = where + ".tool_calls"
        array(calls, path)
        if len(calls) > CALLS_MOST:
            raise wrong(path, f"a list of at most {CALLS_MOST} calls")
        for index, call in enumerate(calls):
            _check_call(call, f"{path}[{index}]")
        speaks = speaks or bool(calls)
    function = message.get("function_call")
    if function is not None:
        _check_called(function, where + ".function_call", "arguments")
        speaks = True
    if calls or function is not None:
        needs.add("tools")
    return speaks


def _check_call(call: Any, where: str) -> None:
    mapping(call, where)
    check_id(call.get("id"), where + ".id")
    if call.get("type", "function") == "custom":
        _check_called(call.get("custom"), where + ".custom", "input")
        return
    if call.get("type", "function") != "function":
        raise wrong(where + ".type", '"function" or "custom"')
    _check_called(call.get("function"), where + ".function", "arguments")


def _check_called(function: Any, where: str, said: str) -> None:
    mapping(function, where)
    check_function_name(function.get("name"), where + ".name")
    string(function.get(said), f"{where}.{said}")


def _check_parts(parts: Any, where: str, needs: set[str]) -> None:
    if type(parts) is not list or not 0 < len(parts) <= PARTS_MOST:
        raise wrong(where, f"a string or a list of 1 to {PARTS_MOST:,} parts")
    for index, part in enumerate(parts):
        path = f"{where}[{index}]"
        mapping(part, path)
        kind = part.get("type")
        if type(kind) is not str or kind not in PARTS:
            raise wrong(path + ".type", "one of " + ", ".join(PARTS))
        need = PARTS[kind](part, path)
        if need:
            needs.add(need)


def _text_part(part: dict[str, Any], where: str) -> str:
    string(part.get("text"), where + ".text")
    return ""


def _refusal_part(part: dict[str, Any], where: str) -> str:
    string(part.get("refusal"), where + ".refusal")
    return ""


def _image_part(part: dict[str, Any], where: str) -> str:
    image = inner(part, "image_url", where)
    where += ".image_url"
    check_image_url(image.get("url"), where + ".url")
    if image.get("detail") is not None:
        check_detail(image["detail"], where + ".detail")
    return "vision"


def check_image_url(url: Any, where: str) -> None:
    """An https address or an image as a data URI; plain http would show a tenant's picture to the wire."""
    if type(url) is str:
        scheme = url[:11].lower()
        if scheme == "data:image/" and ";base64," in url[:100]:
            return
        if scheme.startswith("https://") and 8 < len(url) <= URL_CHARACTERS and url.isprintable() and " " not in url:
            return
    raise wrong(where, "an https address or a data URI with a base64 image")


def _audio_part(part: dict[str, Any], where: str) -> str:
    audio = inner(part, "input_audio", where)
    where += ".input_audio"
    string(audio.get("data"), where + ".data")
    check_format(audio.get("format"), where + ".format")
    return "audio"


def _file_part(part: dict[str, Any], where: str) -> str:
    file = inner(part, "file", where)
    where += ".file"
    if file.get("file_id") is not None:
        path = where + ".file_id"
        raise BadRequest(f"`{path}` is not accepted: it names an object at a provider; send `file_data`.", param=path)
    string(file.get("file_data"), where + ".file_data")
    if file.get("filename") is not None:
        string(file["filename"], where + ".filename")
    return "files"


PARTS: dict[str, Callable[[dict[str, Any], str], str]] = {
    "text": _text_part,
    "image_url": _image_part,
    "input_audio": _audio_part,
    "file": _file_part,
    "refusal": _refusal_part,
}
"""Kind of content part -> its check, which gives back the capability that it needs, or an empty string."""
