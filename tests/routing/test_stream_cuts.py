"""However the provider's bytes are cut, the client's are the same, and so is the bill."""

from dataclasses import replace

import pytest

from tests.fakes.client import Answer
from tests.fakes.replies import Reply
from tests.stand import Gateway, Tenant

ASKED = {"stream": True, "stream_options": {"include_usage": True}}
CUTS = ["rechunk=1", "rechunk=2", "rechunk=7", "split=1", "split=2"]


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")


class TestAnyCutOfTheBytes:
    SCRIPTS = ("ok", "ok,role", "ok,crlf", "ok,cr", "ok,comments", "ok,spaced", "reasoning", "ok,report=every")

    def shape(self, answer: Answer) -> tuple[list, int]:
        """The frames without what differs from call to call."""
        shown = []
        for frame in answer.frames:
            frame.pop("id")
            frame.pop("created")
            frame.pop("model")
            frame.get("x_komilion", {}).pop("model", None)
            frame.get("x_komilion", {}).pop("requested_model", None)
            frame.get("x_kairosroute", {}).pop("model", None)
            shown.append(frame)
        return shown, shown[-1]["usage"]["cost_nano_usd"]

    @pytest.mark.parametrize("script", SCRIPTS)
    def test_same_frames_and_same_charge(self, gateway: Gateway, alice: Tenant, script: str):
        whole = self.shape(gateway.chat(alice, gateway.add_model(script), stream=True))
        for cut in CUTS:
            assert self.shape(gateway.chat(alice, gateway.add_model(f"{script},{cut}"), stream=True)) == whole, cut

    def test_one_cut_anywhere(self, gateway: Gateway):
        """The decoder alone is tested at every byte; here the way to the client is."""
        tenant = gateway.tenant(credit="100.00")
        reply = Reply(frames=2, content="Umeå 🎉", line_end="\r\n")
        model = gateway.add_model(reply)
        whole = gateway.chat(tenant, model, **ASKED)
        length = len(whole.body) + 200
        upstream_id = gateway._upstream_ids[model]
        for place in range(1, length, 31):
            gateway.upstream.script(upstream_id, replace(reply, pieces=(place, 10**6)))
            assert self.shape(gateway.chat(tenant, model, **ASKED)) == self.shape(whole), place
