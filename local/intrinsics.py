"""CloudFormation's intrinsic functions, resolved to the names of the local resources."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

ACCOUNT: Final = "123456789012"  # the account that moto answers for
REGION: Final = "us-east-1"
PARTITION: Final = "aws"

_REMOVED: Final = object()  # stands for AWS::NoValue until its key is dropped
_VARIABLE = re.compile(r"\$\{([^!}][^}]*)\}")

_NAME_PROPERTY: Final = {
    "AWS::S3::Bucket": "BucketName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Events::Rule": "Name",
    "AWS::SNS::Topic": "TopicName",
    "AWS::Logs::LogGroup": "LogGroupName",
}
_ARN_TAIL: Final = {
    "AWS::S3::Bucket": "s3:::{name}",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Events::Rule": "events:{region}:{account}:rule/{name}",
    "AWS::SNS::Topic": "sns:{region}:{account}:{name}",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{name}:*",
    "AWS::IAM::Role": "iam::{account}:role/{name}",
}


def text(value: Any) -> str:
    """A scalar as CloudFormation writes it: ``true``, not ``True``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class TemplateError(Exception):
    """The template cannot be read or has something that is not emulated; the message names it."""


class Resolver:
    """Resolves values of one translated template.

    template     as aws-sam-translator leaves it: plain CloudFormation
    parameters   values in place of the template's defaults
    stack        name of the stack, and prefix of resources that the template does not name
    endpoint     URL of the embedded AWS services; queue URLs begin with it
    """

    def __init__(self, template: Mapping[str, Any], parameters: Mapping[str, str], stack: str, endpoint: str) -> None:
        self.resources: Mapping[str, Any] = template.get("Resources", {})
        self._conditions: Mapping[str, Any] = template.get("Conditions", {})
        self._mappings: Mapping[str, Any] = template.get("Mappings", {})
        self._parameters: Mapping[str, Any] = template.get("Parameters", {})
        self._values = parameters
        self._stack = stack
        self._endpoint = endpoint
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::Join": lambda a: self.value(a[0]).join(str(part) for part in self.value(a[1])),
            "Fn::Select": lambda a: self.value(a[1])[int(self.value(a[0]))],
            "Fn::Split": lambda a: self.value(a[1]).split(self.value(a[0])),
            "Fn::If": lambda a: self.value(a[1] if self.condition(a[0]) else a[2]),
            "Fn::FindInMap": self._find_in_map,
            "Fn::Equals": lambda a: text(self.value(a[0])) == text(self.value(a[1])),
            "Fn::Not": lambda a: not self.value(a[0]),
            "Fn::And": lambda a: all(self.value(part) for part in a),
            "Fn::Or": lambda a: any(self.value(part) for part in a),
            "Condition": self.condition,
        }

    def value(self, node: Any) -> Any:
        """A node of the template with every intrinsic function in it resolved. Raises `TemplateError`."""
        if isinstance(node, dict):
            if len(node) == 1:
                ((key, argument),) = node.items()
                # a policy's {"Condition": {...}} is data; the function's argument is a name
                if key in self._functions and not (key == "Condition" and not isinstance(argument, str)):
                    return self._functions[key](argument)
                if key.startswith("Fn::"):
                    raise TemplateError(f"{key} is not resolved on this machine")
            pairs = ((key, self.value(part)) for key, part in node.items())
            return {key: part for key, part in pairs if part is not _REMOVED}
        if isinstance(node, list):
            return [part for part in map(self.value, node) if part is not _REMOVED]
        return node

    def properties(self, logical_id: str) -> dict[str, Any]:
        """The resolved properties of a resource."""
        resolved: dict[str, Any] = self.value(self.resources[logical_id].get("Properties", {}))
        return resolved

    def present(self, logical_id: str) -> bool:
        """Whether the resource's condition holds."""
        condition = self.resources[logical_id].get("Condition")
        return condition is None or self.condition(condition)

    def condition(self, name: str) -> bool:
        if name not in self._conditions:
            raise TemplateError(f"the template has no condition {name!r}")
        return bool(self.value(self._conditions[name]))

    def name(self, logical_id: str) -> str:
        """The physical name: the template's own, or ``<stack>-<logical id>``."""
        resource = self.resources[logical_id]
        own = resource.get("Properties", {}).get(_NAME_PROPERTY.get(resource["Type"], ""))
        name = str(self.value(own)) if own else f"{self._stack}-{logical_id}"
        return name.lower() if resource["Type"] == "AWS::S3::Bucket" else name

    def arn(self, logical_id: str) -> str:
        kind = self.resources[logical_id]["Type"]
        default = f"{kind.split('::')[1].lower()}:{{region}}:{{account}}:{{name}}"
        tail = _ARN_TAIL.get(kind, default).format(region=REGION, account=ACCOUNT, name=self.name(logical_id))
        return f"arn:{PARTITION}:{tail}"

    def queue_url(self, logical_id: str) -> str:
        return f"{self._endpoint}/{ACCOUNT}/{self.name(logical_id)}"

    def _ref(self, target: str) -> Any:
        pseudo = {
            "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::Partition": PARTITION, "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": self._stack, "AWS::NoValue": _REMOVED, "AWS::NotificationARNs": [],
            "AWS::StackId": f"arn:{PARTITION}:cloudformation:{REGION}:{ACCOUNT}:stack/{self._stack}/local",
        }  # fmt: skip
        if target in pseudo:
            return pseudo[target]
        if target in self._parameters:
            return self._parameter(target)
        if target not in self.resources:
            raise TemplateError(f"Ref {target!r}: the template has no such resource or parameter")
        kind = self.resources[target]["Type"]
        if kind == "AWS::SQS::Queue":
            return self.queue_url(target)
        if kind == "AWS::SNS::Topic":
            return self.arn(target)
        if kind in ("AWS::Lambda::Alias", "AWS::Lambda::Version"):
            properties = self.resources[target]["Properties"]
            qualifier = self.value(properties.get("Name", "1"))
            return f"{self._function_arn(self.value(properties['FunctionName']))}:{qualifier}"
        return self.name(target)

    def _parameter(self, name: str) -> Any:
        definition = self._parameters[name]
        if name not in self._values and "Default" not in definition:
            raise TemplateError(f"parameter {name} of the template has no default and was given no value")
        value = text(self._values.get(name, definition.get("Default")))
        is_list = definition.get("Type") == "CommaDelimitedList" or str(definition.get("Type", "")).startswith("List<")
        return [part.strip() for part in value.split(",")] if is_list else value

    def _get_att(self, argument: str | list[str]) -> str:
        target, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
        if target not in self.resources:
            raise TemplateError(f"GetAtt {target}.{attribute}: the template has no such resource")
        if attribute in ("Arn", "TopicArn"):
            return self.arn(target)
        if attribute in ("QueueName", "TopicName"):
            return self.name(target)
        if attribute == "QueueUrl":
            return self.queue_url(target)
        raise TemplateError(f"GetAtt {target}.{attribute} is not resolved on this machine")

    def _sub(self, argument: str | list[Any]) -> str:
        text, given = (argument, {}) if isinstance(argument, str) else argument

        def replaced(match: re.Match[str]) -> str:
            name = match[1].strip()
            if name in given:
                return str(self.value(given[name]))
            return str(self._get_att(name) if "." in name else self._ref(name))

        return _VARIABLE.sub(replaced, text).replace("${!", "${")

    def _find_in_map(self, argument: list[Any]) -> Any:
        mapping, first, second = map(self.value, argument[:3])
        try:
            return self.value(self._mappings[mapping][first][second])
        except KeyError:
            raise TemplateError(f"FindInMap {mapping}.{first}.{second}: the template has no such entry") from None

    @staticmethod
    def _function_arn(name: str) -> str:
        return name if name.startswith("arn:") else f"arn:{PARTITION}:lambda:{REGION}:{ACCOUNT}:function:{name}"
