"""Functions, what they are told, and what they tell."""

from __future__ import annotations

import ast
import re

import pytest

from personalization.core.settings import Settings
from tests.cloud import ROOT, plan, resolved, resources

FUNCTIONS = resources("AWS::Lambda::Function")
ALARMS = resolved("AWS::CloudWatch::Alarm")
# Read by the packages in the layers, not by settings.py.
READ_ELSEWHERE = {
    "AWS_ENDPOINT_URL",
    "LOG_LEVEL",
    "ORT_DISABLE_TELEMETRY",
    "POWERTOOLS_METRICS_NAMESPACE",
    "POWERTOOLS_SERVICE_NAME",
}


def defined_in(module: ast.Module) -> set[str]:
    """Names that a module defines as functions or by assignment."""
    functions = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
    assigned = [target for node in module.body if isinstance(node, ast.Assign) for target in node.targets]
    return functions | {target.id for target in assigned if isinstance(target, ast.Name)}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_handlers_exist_in_the_folder_that_is_packed(function):
    module, name = plan().functions[function].handler.rsplit(".", 1)
    path = ROOT / f"{module.replace('.', '/')}.py"
    assert name in defined_in(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_runtime_layers_tracing_and_logs(function):
    properties = FUNCTIONS[function]
    assert (properties["Runtime"], properties["Architectures"]) == ("python3.13", ["x86_64"])
    assert properties["TracingConfig"] == {"Mode": "Active"}
    assert [layer["Ref"].rstrip("0123456789abcdef") for layer in properties["Layers"]] == [
        "InferenceLayer",
        "PersonalizationLayer",
    ]
    logging = properties["LoggingConfig"]
    assert logging["LogFormat"] == "JSON"
    # lines without a level count as INFO, and the metrics have none; at DEBUG botocore would write down what it sends
    assert logging["ApplicationLogLevel"] == "INFO"
    assert plan().resolver.value(resources("AWS::Logs::LogGroup")[logging["LogGroup"]["Ref"]]["RetentionInDays"]) == "30"


def test_every_function_has_a_log_group_of_its_own():
    groups = [properties["LoggingConfig"]["LogGroup"]["Ref"] for properties in FUNCTIONS.values()]
    assert sorted(groups) == sorted(resources("AWS::Logs::LogGroup"))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_environment_is_what_the_code_reads(function):
    source = (ROOT / "layers/personalization/python/personalization/core/settings.py").read_text(encoding="utf-8")
    read = set(re.findall(r'(?:required|environ\.get)\("([A-Z_]+)"', source))
    environment = plan().functions[function].environment
    assert read
    assert set(environment) == read | READ_ELSEWHERE
    assert environment["AWS_ENDPOINT_URL"] == ""
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert environment["POWERTOOLS_SERVICE_NAME"] == plan().functions[function].handler.split(".")[1]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_settings_can_be_read_from_it(function):
    settings = Settings.from_environment(plan().functions[function].environment)
    assert (settings.models_bucket, settings.data_bucket, settings.state_table) == (
        "shop-modelsbucket",
        "shop-databucket",
        "shop-StateTable",
    )
    assert (settings.pointer_ttl, settings.state_ttl_days, settings.results_days, settings.max_reject_share) == (
        60,
        395,
        30,
        0.2,
    )


def test_an_api_function_answers_before_the_gateway_gives_up():
    for name, function in plan().functions.items():
        if name.endswith("ApiFunction"):
            assert function.timeout < 29
        else:
            assert (function.timeout, function.memory >= 2 * 1769) == (900, True)


def test_alarms_have_names_of_the_stack_and_tell_whoever_gave_an_address():
    names = [alarm["AlarmName"] for alarm in ALARMS.values()]
    assert len(set(names)) == len(names)
    assert all(name.startswith("shop-") for name in names)
    assert {name.removeprefix("shop-") for name in names} >= {
        "server-errors", "latency-p99", "degraded-share", "failed-jobs", "model-age",
    }  # fmt: skip
    for alarm in resources("AWS::CloudWatch::Alarm").values():
        assert alarm["AlarmActions"] == {"Fn::If": ["HasAlarmEmail", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]}
        assert alarm["TreatMissingData"] == "notBreaching"


def test_alarms_look_at_metrics_that_the_code_writes():
    """A misspelt metric would leave an alarm silent for ever."""
    own = {
        (query["MetricStat"]["Metric"]["MetricName"], query["MetricStat"]["Metric"]["Dimensions"][0]["Value"])
        for alarm in ALARMS.values()
        for query in alarm.get("Metrics", [])
        if "MetricStat" in query
    }
    assert {metric for metric, _ in own} == {"Answers", "DegradedAnswers", "FailedJobs", "ModelAgeDays"}
    services = {f.environment["POWERTOOLS_SERVICE_NAME"] for f in plan().functions.values()}
    assert {service for _, service in own} == services - {"events"}
    code = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("functions", "layers/personalization/python")
        for path in (ROOT / folder).rglob("*.py")
    )
    for metric in {metric for metric, _ in own}:
        assert f'"{metric}"' in code, metric
