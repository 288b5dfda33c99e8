"""What lies in deploy/: names only metrics that a running daemon has, and parses. No Grafana, Prometheus or cluster runs here."""

import json
import re
import subprocess
import tomllib
import unittest
import urllib.request

import os
import tempfile

import yaml
from daemon import ROOT, Daemon

DEPLOY = ROOT / "deploy"


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with Daemon() as daemon:
            page = urllib.request.urlopen(daemon.http + "/metrics", timeout=10).read().decode()
        cls.kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
        cls.series = page

    def check(self, expression):
        """Each metric of `expression` exists, in the form in which it is used, with the labels that are asked for."""
        names = re.findall(r"\b(?:sae|process)_[a-z_]+", expression)
        for name in names:
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            kind = self.kinds.get(name) or ("histogram" if self.kinds.get(base) == "histogram" else None)
            self.assertIsNotNone(kind, f"{name} in {expression}")
            if kind == "counter":
                self.assertRegex(expression, rf"(rate|increase)\({name}", "a counter says nothing by itself")
        for name, labels in re.findall(r"\b((?:sae|process)_[a-z_]+)\{([^}]*)\}", expression):
            for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
                if label not in ("job", "instance"):
                    self.assertRegex(self.series, rf'(?m)^{name}\{{[^}}]*{label}="{value}"', expression)
        return len(names)

    def test_the_alerts_name_metrics_that_exist(self):
        groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        self.assertGreaterEqual(len(rules), 10)
        self.assertEqual(len({rule["alert"] for rule in rules}), len(rules))
        for rule in rules:
            self.assertEqual(set(rule) - {"for"}, {"alert", "expr", "labels", "annotations"})
            self.assertRegex(rule.get("for", "1m"), r"^\d+[smh]$")
            self.assertTrue(self.check(rule["expr"]) or rule["expr"].startswith("up"), rule)
        self.assertEqual(yaml.safe_load((DEPLOY / "prometheus" / "scrape.yml").read_text())[0]["job_name"], "sae")

    def test_the_dashboard_names_metrics_that_exist(self):
        board = json.loads((DEPLOY / "grafana" / "sae.json").read_text())
        self.assertGreaterEqual(len(board["panels"]), 12)
        self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]))
        places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]}
        self.assertEqual(len(places), len(board["panels"]))
        for panel in board["panels"]:
            for target in panel["targets"]:
                self.assertGreater(self.check(target["expr"].replace("$__rate_interval", "5m")), 0)
        for variable in board["templating"]["list"]:
            self.check(variable["query"])

    def test_a_metric_that_does_not_exist_is_found(self):
        for wrong in ("sae_nothing > 0", 'rate(sae_requests_total{code="NOPE"}[5m])', "sae_requests_total > 3"):
            with self.assertRaises(AssertionError):
                self.check(wrong)


class Kubernetes(unittest.TestCase):
    def setUp(self):
        documents = yaml.safe_load_all((DEPLOY / "kubernetes" / "sae.yaml").read_text())
        self.by_kind = {document["kind"]: document for document in documents}

    def test_the_parts_fit_each_other(self):
        deployment = self.by_kind["Deployment"]["spec"]
        pod = deployment["template"]
        for selector in (deployment["selector"], self.by_kind["PodDisruptionBudget"]["spec"]["selector"]):
            self.assertLessEqual(selector["matchLabels"].items(), pod["metadata"]["labels"].items())
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        self.assertEqual(volumes["configuration"]["configMap"]["name"], self.by_kind["ConfigMap"]["metadata"]["name"])
        for container in pod["spec"]["containers"]:
            for mount in container["volumeMounts"]:
                self.assertIn(mount["name"], volumes)
        self.assertGreaterEqual(pod["spec"]["terminationGracePeriodSeconds"], 40)

    def test_the_daemon_takes_its_configuration(self):
        text = self.by_kind["ConfigMap"]["data"]["sae.toml"]
        listen = tomllib.loads(text)["http"]["listen"]
        container = self.by_kind["Deployment"]["spec"]["template"]["spec"]["containers"][0]
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            self.assertIn(f"http://{listen}/", container[probe]["exec"]["command"][-1])
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(text)
            file.flush()
            arguments = [file.name if argument == "/etc/sae/sae.toml" else argument for argument in container["args"]]
            environment = {name: value for name, value in os.environ.items() if not name.startswith("SAE_")}
            done = subprocess.run(
                [os.environ["TEST_SAE"], *arguments, "--check-config"], capture_output=True, text=True, env=environment,
                timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('model.scorer = "int8"', done.stdout)


if __name__ == "__main__":
    unittest.main()
