"""What `make run` prints once everything runs."""

import json

from komilion.supervisor.guard import reachable_host

MODEL = "local/smollm2-135m-instruct"
QUESTION = "What is quantum computing?"
MAX_TOKENS = 60
DEMO_KEY_FILE = "demo.key"  # in DATA_DIR, 0600


def url_of(host: str, port: int) -> str:
    """The address for a client on this machine."""
    name = reachable_host(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def curl_of(url: str, key: str) -> str:
    """A request that can be pasted into a shell as it stands."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": MAX_TOKENS,
    }
    return " \\\n".join(
        [
            f"curl {url}/api/chat/completions",
            f"  -H 'Authorization: Bearer {key}'",
            "  -H 'Content-Type: application/json'",
            f"  -d '{json.dumps(body)}'",
        ]
    )


def banner(url: str, key: str | None, key_file: str) -> str:
    """All of it; `key` is None where the demo key was taken away or is good for nothing."""
    lines = ["", f"Komilion runs at {url}"]
    if key:
        lines += [f"Demo key, also in {key_file}: {key}", "", "Try it:", "", curl_of(url, key)]
    else:
        lines += [f"No demo key works here ({key_file}); `manage.py tenant create EMAIL --print-key` makes one."]
    return "\n".join([*lines, "", "Ctrl-C stops it.", ""])
