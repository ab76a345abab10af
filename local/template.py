"""Reading template.yaml: SAM to plain CloudFormation, offline."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any, Final

import yaml
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from local.aws import isolated_session
from local.intrinsics import TemplateError

# The translator asks AWS which managed policies exist; their ARNs do not matter where permissions are not checked.
_MANAGED_POLICIES: Final = {
    name: f"arn:aws:iam::aws:policy/{name}" for name in ("AWSLambdaBasicExecutionRole", "AWSLambdaSQSQueueExecutionRole")
}
# Properties with local paths, which a deployed template has as S3 addresses.
_CODE_PROPERTY: Final = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
_PLACEHOLDER: Final = "s3://local/code"


def read_template(path: Path) -> dict[str, Any]:
    """The template as written. Raises `TemplateError` where it is missing or no YAML mapping with Resources."""
    try:
        document = yaml_parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TemplateError(f"expected a SAM template at {path}, found none") from None
    except yaml.YAMLError as error:
        raise TemplateError(f"{path.name} is not YAML: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise TemplateError(f"expected {path.name} to be a mapping with Resources")
    return document


def translate(document: dict[str, Any]) -> dict[str, Any]:
    """SAM resources replaced by CloudFormation's, as AWS would on deployment. Raises `TemplateError`."""
    template = copy.deepcopy(document)
    for resource in template["Resources"].values():
        if resource.get("Type") in _CODE_PROPERTY:
            resource.setdefault("Properties", {})[_CODE_PROPERTY[resource["Type"]]] = _PLACEHOLDER
    template.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    try:
        translated: dict[str, Any] = Translator(_MANAGED_POLICIES, Parser(), boto_session=isolated_session()).translate(
            template, {}
        )
    except InvalidDocumentException as error:
        causes = "; ".join(cause.message for cause in error.causes)
        raise TemplateError(f"the template does not translate: {causes or error}") from None
    return translated


def code_paths(document: dict[str, Any], directory: Path) -> dict[str, list[Path]]:
    """Import paths of each function: {logical id: paths, the first wins}.

    A handler's path begins at the template's directory, where its first package lies there, else at the function's CodeUri.
    The `python` directories of the layers follow, as in Lambda.
    """
    resources = document["Resources"]
    shared = document.get("Globals", {}).get("Function", {})
    layers = {
        logical_id: directory / str(resource.get("Properties", {}).get("ContentUri", ".")) / "python"
        for logical_id, resource in resources.items()
        if resource.get("Type") == "AWS::Serverless::LayerVersion"
    }
    found: dict[str, list[Path]] = {}
    for logical_id, resource in resources.items():
        if resource.get("Type") != "AWS::Serverless::Function":
            continue
        properties = {**shared, **resource.get("Properties", {})}
        package = str(properties.get("Handler", "")).split(".")[0]
        whole_path = (directory / package).is_dir() or (directory / f"{package}.py").is_file()
        root = directory if whole_path else directory / str(properties.get("CodeUri", "."))
        used = [*shared.get("Layers", []), *resource.get("Properties", {}).get("Layers", [])]
        contents = [layers[layer["Ref"]] for layer in used if isinstance(layer, dict) and layer.get("Ref") in layers]
        found[logical_id] = [path.resolve() for path in (root, *contents) if path.is_dir()]
    return found
