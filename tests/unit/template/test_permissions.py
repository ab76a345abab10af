"""Who may do what: least privilege, told by the template itself."""

from __future__ import annotations

import pytest

from personalization.core.schema import JOBS
from tests.cloud import as_list, plan, resolved, statements

FUNCTIONS = sorted(plan().functions)
BATCH = [name for name in FUNCTIONS if name.endswith("BatchFunction")]
API = [name for name in FUNCTIONS if name.endswith("ApiFunction")]
JOB_API = [name for name in API if name != "EventsApiFunction"]


def test_there_are_two_functions_a_job_and_one_for_events():
    titles = [job.capitalize() for job in JOBS]
    assert sorted(BATCH) == sorted(f"{title}BatchFunction" for title in titles)
    assert sorted(API) == sorted([*(f"{title}ApiFunction" for title in titles), "EventsApiFunction"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_statements_name_their_actions_and_resources(function):
    found = list(statements(function))
    assert found
    for statement in found:
        assert statement["Effect"] == "Allow"
        for action in statement["Action"]:
            service, name = action.split(":")
            assert "*" not in service
            assert "*" not in name
        for resource in statement["Resource"]:
            assert resource.startswith("arn:aws:")
            # the one wildcard: objects below a prefix of a bucket
            assert "*" not in resource.removesuffix("/*")
            assert not resource.endswith(":*")
            if resource.endswith("/*"):
                assert resource.startswith("arn:aws:s3:::")
                assert resource.count("/") >= 2


def test_roles_take_only_the_two_managed_policies_that_have_no_narrower_form():
    for role in resolved("AWS::IAM::Role").values():
        names = {arn.rsplit("/", 1)[1] for arn in role["ManagedPolicyArns"]}
        assert names == {"AWSLambdaBasicExecutionRole", "AWSXrayWriteOnlyAccess"}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_reaches_only_its_own_objects(job):
    names = (job, f"{job}-table")
    models = {f"arn:aws:s3:::shop-modelsbucket/models/{name}/*" for name in names}
    inbox = {f"arn:aws:s3:::shop-databucket/inbox/{name}/*" for name in names}
    results = {f"arn:aws:s3:::shop-databucket/results/{name}/*" for name in names}
    kept = {"recommendations": {"catalogue/*"}, "ads": {"catalogue/ads/*"}}.get(job, set())
    catalogue = {f"arn:aws:s3:::shop-databucket/{prefix}" for prefix in kept}

    segments = {"arn:aws:s3:::shop-databucket/segments/current.json"} if job == "profiles" else set()

    def reached(function: str, action: str) -> set[str]:
        return {r for s in statements(function) if action in s["Action"] for r in s["Resource"]}

    title = job.capitalize()
    assert reached(f"{title}ApiFunction", "s3:GetObject") == models | catalogue | segments
    assert reached(f"{title}ApiFunction", "s3:PutObject") == (catalogue if job == "recommendations" else set())
    assert reached(f"{title}BatchFunction", "s3:GetObject") == models | inbox | results | catalogue
    assert reached(f"{title}BatchFunction", "s3:PutObject") == results | catalogue | segments
    assert reached(f"{title}BatchFunction", "sqs:ReceiveMessage") == {f"arn:aws:sqs:us-east-1:123456789012:shop-{title}Queue"}


def test_models_are_written_by_no_function():
    for function in FUNCTIONS:
        for statement in statements(function):
            writes = {"s3:PutObject", "s3:DeleteObject"} & set(statement["Action"])
            assert not writes or not any("modelsbucket" in r for r in statement["Resource"])


def test_only_the_events_function_erases_state():
    erasing = {"dynamodb:BatchWriteItem", "dynamodb:DeleteItem"}
    assert {f for f in FUNCTIONS for s in statements(f) if erasing & set(s["Action"])} == {"EventsApiFunction"}


@pytest.mark.parametrize("function", JOB_API)
def test_a_request_for_an_answer_writes_no_state_but_what_an_ad_uses_up(function):
    counting = {"dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"} if function == "AdsApiFunction" else set()
    actions = {a for s in statements(function) for a in s["Action"] if a.startswith("dynamodb:")}
    assert actions == {"dynamodb:Query"} | counting


@pytest.mark.parametrize("function", ["AdsApiFunction", "EventsApiFunction"])
def test_what_counts_money_may_read_and_write_its_counters(function):
    actions = {a for s in statements(function) for a in s["Action"]}
    assert {"dynamodb:Query", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"} <= actions


def test_queues_take_messages_from_their_own_rule_alone():
    policies = resolved("AWS::SQS::QueuePolicy")
    rules = {i: plan().resolver.arn(i) for i in resolved("AWS::Events::Rule")}
    targets = {as_list(rule["Targets"])[0]["Arn"]: rules[i] for i, rule in resolved("AWS::Events::Rule").items()}
    assert len(policies) == len(targets) == len(JOBS)
    for policy in policies.values():
        allowed = [s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"]
        (statement,) = allowed
        assert statement["Principal"] == {"Service": "events.amazonaws.com"}
        assert statement["Action"] == "sqs:SendMessage"
        assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": targets[statement["Resource"]]}}


@pytest.mark.parametrize("kind", ["AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy"])
def test_nothing_travels_in_the_clear(kind):
    for policy in resolved(kind).values():
        (denied,) = [s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
        assert denied["Principal"] == "*"
        assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert denied["Action"] in ("s3:*", "sqs:*")
