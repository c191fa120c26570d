"""Prometheus' own tools read the metrics: promtool the text format, its Python client OpenMetrics."""

import shutil
import subprocess
import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families


def scrape(world, accept):
    request = urllib.request.Request(world.url + "/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def test_promtool_finds_nothing_to_mend(world):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool: apt-get install prometheus")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=scrape(world, "*/*"), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_prometheus_own_client_reads_openmetrics(world):
    text = scrape(world, "application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["wildcat_commits"].type == "counter"
    assert families["wildcat_send_seconds"].type == "histogram"
    states = {sample.labels["status"]: sample.value for sample in families["wildcat_accounts"].samples}
    assert states["connected"] == 1 and states["logged_out"] == 0
