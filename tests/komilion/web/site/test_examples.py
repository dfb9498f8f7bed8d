"""Every example of the documents and of the landing page runs as it stands, against a live server with a real key."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest

from komilion.web.site.docs import PAGES, Figures, source_of
from komilion.web.site.examples import Tab, first_request
from komilion.web.site.markdown import runnable
from tests.contract.test_openai_node import _installed as node_packages
from tests.stand import Gateway, Tenant

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MODEL = "docs/example"
URL_HERE = "https://gateway.example"  # replaced by the live server's where an example names its server
RUN_DEADLINE_S = 60


@dataclass(frozen=True)
class Case:
    """One example, and the page it stands on."""

    page: str
    number: int
    tab: Tab

    @property
    def id(self) -> str:
        """How a test report names it."""
        return f"{self.page}-{self.number}-{self.tab.language}"


def _cases() -> list[Case]:
    figures = Figures(URL_HERE, MODEL)
    tabs = {slug: runnable(source_of(slug, figures)) for slug in PAGES} | {"landing": first_request(URL_HERE, MODEL)}
    return [Case(page, number // 3 + 1, tab) for page, found in tabs.items() for number, tab in enumerate(found)]


CASES = _cases()


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """A tenant whose key may manage keys."""
    from accounts.models import ApiKey
    from accounts.queries import organization_of_email

    tenant = gateway.tenant(credit="100.00")
    ApiKey.objects.filter(organization=organization_of_email(tenant.email)).update(can_manage=True)
    gateway.add_model(name=MODEL)
    return tenant


def _command(tab: Tab) -> tuple[list[str], str | None]:
    """The command that runs the example, and the folder to run it in."""
    if tab.language == "bash":
        if shutil.which("curl") is None:
            if os.environ.get("CI"):
                pytest.fail("CI must run the examples: there is no curl on the PATH")
            pytest.skip("needs curl")
        return ["bash", "-eu", "-c", tab.text], None
    if tab.language == "python":
        return [sys.executable, "-c", tab.text], None
    return ["node", "--input-type=module", "-e", tab.text], str(node_packages())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_example_runs_as_it_stands(gateway: Gateway, alice: Tenant, case: Case):
    command, folder = _command(case.tab)
    command[-1] = command[-1].replace(URL_HERE, gateway.url)
    environment = {"PATH": os.environ["PATH"], "KOMILION_URL": gateway.url, "KOMILION_API_KEY": alice.key}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=RUN_DEADLINE_S, check=False
    )
    assert done.returncode == 0, f"{done.stderr[-2_000:]}\n{done.stdout[-1_000:]}"
    assert done.stdout.strip(), "it prints nothing"


def test_there_are_examples_to_run():
    assert len({case.page for case in CASES}) >= 9
    assert len(CASES) >= 40
