"""JSON Schemas of source manifests, recipes and labels to add, for editors that complete and check YAML while it is written.

`python -m schemas.json_schema` writes `schemas/json/{source,recipe,labels}.schema.json`. In an editor with the YAML language
server, put `# yaml-language-server: $schema=<path or URL of the file>` in the first line of a recipe.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schemas.added_labels import AddedLabels
from schemas.recipe import MODALITIES, Recipe
from schemas.source import Source

FOLDER = Path(__file__).parent / "json"

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def source_schema() -> dict[str, Any]:
    """JSON Schema of a source manifest."""
    return {"$schema": DIALECT, **Source.model_json_schema(mode="validation")}


def recipe_schema() -> dict[str, Any]:
    """JSON Schema of a recipe, with the short forms that its model turns into long ones before it checks them."""
    schema = Recipe.model_json_schema(mode="validation")
    definitions = schema["$defs"]
    for modality in MODALITIES:  # intensity: {CT: …} for intensity: {modalities: {CT: …}}
        definitions["Intensity"]["properties"][modality] = {"$ref": "#/$defs/ModalityIntensity"}
    for key, definition, short in (("intensity", "Intensity", "native"), ("labels", "Labels", "image_only")):
        long = schema["properties"][key]
        schema["properties"][key] = {"anyOf": [{"$ref": f"#/$defs/{definition}"}, {"const": short}]}
        if "default" in long:
            schema["properties"][key]["default"] = long["default"]
    return {"$schema": DIALECT, **schema}


def labels_schema() -> dict[str, Any]:
    """JSON Schema of the description of labels that are added to a corpus."""
    return {"$schema": DIALECT, **AddedLabels.model_json_schema(mode="validation")}


def files() -> dict[str, str]:
    """Name and content of each file to export."""
    return {
        name: json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        for name, schema in (
            ("source.schema.json", source_schema()),
            ("recipe.schema.json", recipe_schema()),
            ("labels.schema.json", labels_schema()),
        )
    }


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in files().items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
