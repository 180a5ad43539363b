"""The schemas of Terraform providers, read from the type declarations that are published for them as npm packages.

    python3 schema.py FOLDER/node_modules/@cdktf/provider-google google_storage_bucket … > google.json

Where the registry of providers cannot be reached, the packages @cdktf/provider-NAME can: they are generated from the real
provider's schema and say for each resource which arguments it takes, of which type, which are required, which blocks are
nested, and what it returns. `main.go` serves that schema to Terraform.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

META = ("connection", "count", "dependsOn", "forEach", "lifecycle", "provider", "provisioners")
MEMBER = re.compile(
    r"/\*\*(?P<doc>(?:[^*]|\*(?!/))*)\*/\s*readonly (?P<name>\w+)(?P<optional>\??): (?P<type>[^;{]*(?:\{[^}]*\})?[^;]*);"
)
INTERFACE = re.compile(r"export interface (?P<name>\w+)(?: extends [\w.]+)? \{(?P<body>.*?)\n\}", re.S)
GETTER = re.compile(r"^    get (?P<name>\w+)\(\): (?P<type>[^;]+);", re.M)
SIMPLE = {"string": "string", "number": "number", "boolean": "bool"}


def snake(name: str) -> str:
    """`ipCidrRange` -> `ip_cidr_range`."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: f"_{m[1].lower()}", name).lower()


def plain(kind: str) -> Any | None:
    """A type of TypeScript as Terraform's type in JSON; None for one with members of its own."""
    kind = kind.replace("| cdktf.IResolvable", "").replace("cdktf.IResolvable |", "").strip()
    if kind in SIMPLE:
        return SIMPLE[kind]
    if match := re.fullmatch(r"(\w+)\[\]", kind):
        return ["list", SIMPLE[match[1]]] if match[1] in SIMPLE else None
    if match := re.match(r"\{\s*\[key: string\]: (.*)\}", kind, re.S):
        value = (
            match[1].strip().rstrip(";").replace("| cdktf.IResolvable", "").replace("(", "").replace(")", "").strip()
        )
        return ["map", SIMPLE.get(value, "string")]
    return {"cdktf.StringMap": ["map", "string"], "cdktf.IResolvable": None}.get(kind)


def block(name: str, interfaces: dict[str, str]) -> dict[str, Any]:
    """Attributes and blocks of one interface."""
    attributes: dict[str, Any] = {}
    blocks: dict[str, Any] = {}
    for member in MEMBER.finditer(interfaces[name]):
        link = re.search(r"docs/resources/\w+#(\w+) ", member["doc"])
        own = link[1] if link else snake(member["name"])
        required = not member["optional"]
        kind = plain(member["type"])
        if kind is not None:
            attributes[own] = {"type": kind, "required": required, "computed": not required}
            continue
        inner = next(w for w in re.findall(r"\w+", member["type"]) if w in interfaces)
        single = own == "timeouts"
        blocks[own] = {
            "nesting": "single" if single else "list",
            "required": required,
            "block": block(inner, interfaces),
        }
    return {"attributes": attributes, "blocks": blocks}


def resource(declarations: str) -> dict[str, Any]:
    """The schema of one resource, from its `index.d.ts`."""
    interfaces = {m["name"]: m["body"] for m in INTERFACE.finditer(declarations)}
    config = next(
        n
        for n in interfaces
        if re.search(rf"class \w+ extends cdktf.TerraformResource.*?config\??: {n}\b", declarations, re.S)
    )
    found = block(config, interfaces)
    body = declarations[re.search(r"class \w+ extends cdktf.TerraformResource", declarations).start() :]  # type: ignore[union-attr]
    for getter in GETTER.finditer(body):
        own = snake(getter["name"])
        if own.endswith("_input") or own in found["attributes"] or own in found["blocks"]:
            continue
        if (kind := plain(getter["type"])) is not None:
            found["attributes"][own] = {"type": kind, "required": False, "computed": True, "output": True}
    return found


def main(package: Path, names: list[str]) -> None:
    """Print the schema of the named resources."""
    prefix = package.name.removeprefix("provider-").partition("-")[0]
    result = {}
    for name in names:
        stem = name.removeprefix(f"{prefix}_").replace("_", "-")
        tried = [package / "lib" / s / "index.d.ts" for s in (stem, name.replace("_", "-"))]
        path = next((p for p in tried if p.exists()), None)
        if path is None:
            sys.exit(f"{name}: not in {package.name}: no resource of this name")
        result[name] = resource(path.read_text())
    json.dump(result, sys.stdout, indent=1, sort_keys=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
