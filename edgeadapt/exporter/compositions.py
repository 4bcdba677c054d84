"""Reads a folder of AdapterHub's `save_adapter_setup`: several adapters, put together, as one.

`adapter_setup.json` has the tree; every adapter, fusion and head has a folder of its own beside it. Source:
`adapters.model_mixin.ModelAdaptersMixin._save_adapter_setup_weights`, `adapters.composition`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeadapt.adapter import Array
from edgeadapt.errors import CheckpointError, EdgeAdaptError, UnsupportedError, listed
from edgeadapt.exporter import adapterhub, heads, tensor_files
from edgeadapt.exporter import checkpoint as checkpoints
from edgeadapt.exporter.checkpoint import Checkpoint, Part
from edgeadapt.methods import _fusion, adapterhub_prompt, invertible
from edgeadapt.methods import composition as composer

SETUP = "adapter_setup.json"
FUSION, FUSION_WEIGHTS, FUSION_PICKLE = (
    "adapter_fusion_config.json",
    "model_adapter_fusion.safetensors",
    "pytorch_model_adapter_fusion.bin",
)
TITLE = "a composition"
NESTED: Mapping[str, tuple[str, ...]] = {
    "Stack": ("single", "Fuse", "Average"),
    "Fuse": ("single", "Stack"),
    "Average": ("single", "Stack"),
}
"""The compositions that can be done exactly, and what may be in each (`adapters.composition.ALLOWED_NESTINGS`)."""

REFUSED: Mapping[str, str] = {
    "BatchSplit": "cuts the batch at fixed rows: export its adapters, and name one for each row of a run",
    "MultiTask": "needs a task's number for each row: export its adapters, and name one for each row of a run",
    "Parallel": "gives an output for each adapter: export its adapters, and run each",
    "Split": "cuts the tokens at fixed places, whatever the sentence: train a Stack or a Fuse",
}


@dataclass(frozen=True, slots=True)
class Setup:
    """What `adapter_setup.json` says.

    Attributes:
        folder: Where it lies.
        tree: An adapter's name, or `kind` and `children`, with `weights` of an average and the `name` of a fusion.
        head: The folder of the head that is used, or None.
        fusions: The folder of every fusion by its name.
    """

    folder: Path
    tree: Any
    head: Path | None
    fusions: Mapping[str, Path] = field(default_factory=dict)

    def adapters(self) -> list[str]:
        """Returns the names of the adapters, each once, in order."""
        return list(dict.fromkeys(_leaves(self.tree)))


def is_folder(folder: Path) -> bool:
    """Tells whether a folder is one that `save_adapter_setup` wrote."""
    return (folder / SETUP).is_file()


def read(folder: Path, *, allow_pickle: bool = False) -> Checkpoint:
    """Reads a composition as one adapter.

    Args:
        folder: Holds `adapter_setup.json`, and a folder for each adapter, fusion and head.
        allow_pickle: Permits `.bin` files, which can run code, to be loaded in a process of their own.

    Raises:
        CheckpointError: A file is missing or damaged; of all adapters at once.
        PickleError: Weights are a pickle and `allow_pickle` is not given.
        UnsupportedError: The composition, or an adapter in it, can't be done exactly.
    """
    setup = read_setup(folder)
    adapters: dict[str, Checkpoint] = {}
    errors: list[EdgeAdaptError] = []
    for name in setup.adapters():
        try:
            adapters[name] = adapterhub.read_member(folder / name, allow_pickle=allow_pickle)
            if adapters[name].config["name"] != name:
                errors.append(CheckpointError(f"{folder / name} holds {adapters[name].config['name']!r}."))
            checkpoints.readings(adapters[name])
        except EdgeAdaptError as error:
            errors.append(error)
    if errors:
        raise errors[0] if len(errors) == 1 else type(errors[0])("\n\n".join(map(str, errors)))
    first = adapters[setup.adapters()[0]]
    model_type = first.config["model_type"]
    tensors, parts = _composed(setup, adapters)
    if any(part.type == composer.TYPE for part in parts):
        fused = {name: _fusion_of(setup, name, model_type, allow_pickle=allow_pickle) for name in setup.fusions}
        parts = [_with_fusions(part, {name: each[0] for name, each in fused.items()}) for part in parts]
        for _, own in fused.values():
            tensors |= own
    head = heads.NONE
    if setup.head is not None:
        head = heads.read(setup.head, model_type, allow_pickle=allow_pickle)
        tensor_files.refuse_infinite(setup.head, head.tensors)
    config = {"model_type": model_type, "composition": _shown(setup.tree)}
    config |= {key: first.config[key] for key in ("version", "model_name") if first.config.get(key)}
    found = {**tensors, **head.tensors}
    words = (head.labels, head.problem_type)
    return Checkpoint(folder, config, found, *words, "adapterhub", tuple(parts), head.record)


def read_setup(folder: Path) -> Setup:
    """Reads `adapter_setup.json`.

    Raises:
        CheckpointError: It isn't what the library writes, or a fusion's folder is missing.
        UnsupportedError: The composition can't be done exactly; all reasons at once.
    """
    record = tensor_files.read_json(folder / SETUP)
    problems: list[str] = []
    try:
        tree = _tree(record["adapter_setup"], problems)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise CheckpointError(f"{folder / SETUP} is not a setup that AdapterHub writes: {error!r}") from error
    if problems:
        raise UnsupportedError.collect(f"{folder} holds {TITLE} that can't be done exactly:", problems)
    fusions = {}
    for node in _nodes(tree):
        if node["kind"] == "fuse":
            home = _fusion_folder(folder, node)
            node["name"] = str(tensor_files.read_json(home / FUSION).get("name"))
            fusions[node["name"]] = home
    return Setup(folder, tree, _head(folder, record.get("head_setup"), tree, list(fusions.values())), fusions)


def _tree(record: Mapping[str, Any], problems: list[str], above: tuple[str, ...] = ()) -> Any:
    kind, children = str(record["type"]), record["children"]
    if kind == "single":
        return _folder_name(children[0])
    if kind not in NESTED:
        problems.append(f"{kind}: {REFUSED.get(kind, 'edgeadapt does not know it')}")
        return {"kind": kind, "children": []}
    for child in children:
        if child["type"] in (*NESTED, "single") and (
            child["type"] not in NESTED[kind] or (kind == "Stack" and above and child["type"] != "single")
        ):
            problems.append(f"{child['type']} in {' in '.join((kind, *above))}: adapters 1.3.0 can't run it")
    node: dict[str, Any] = {"kind": kind.lower()}
    node["children"] = [_tree(child, problems, (kind, *above)) for child in children]
    if kind == "Average":
        weights = [float(weight) for weight in record.get("kwargs", {}).get("weights", [])]
        node["weights"] = weights
        if len(weights) != len(children) or abs(sum(weights) - 1) > 1e-6:
            problems.append(
                f"Average with the weights {listed([str(weight) for weight in weights])}: expected {len(children)} "
                "that add up to 1, which adapters 1.3.0 makes of them when it loads the folder; save them so"
            )
    if not children:
        problems.append(f"{kind}: it is empty")
    return node


def _folder_name(name: Any) -> str:
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(f"{name!r} names no folder")
    return name


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(tree, str):
        yield tree
        for child in tree["children"]:
            yield from _nodes(child)


def _leaves(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    else:
        for child in tree["children"]:
            yield from _leaves(child)


def _shown(tree: Any) -> str:
    """Returns a tree as the library prints it.

    Example:
        >>> _shown({"kind": "stack", "children": ["de", {"kind": "fuse", "children": ["a", "b"]}]})
        'Stack[de, Fuse[a, b]]'
    """
    return tree if isinstance(tree, str) else f"{tree['kind'].title()}[{', '.join(map(_shown, tree['children']))}]"


def _fusion_folder(folder: Path, node: Mapping[str, Any]) -> Path:
    """Returns a fusion's folder: `adapter_setup.json` doesn't say the name of one that was given a name."""
    wanted = [list(_leaves(child))[-1] for child in node["children"]]
    usual = folder / ",".join(wanted)
    if (usual / FUSION).is_file():
        return usual
    found = [
        path.parent
        for path in sorted(folder.glob(f"*/{FUSION}"))
        if tensor_files.read_json(path).get("adapter_names") == wanted
    ]
    if len(found) != 1:
        raise CheckpointError(
            f"{folder} has {len(found) or 'no'} folders with the fusion of {listed(wanted)}, expected one: "
            f"{usual.name}/{FUSION}"
        )
    return found[0]


def _head(folder: Path, said: Any, tree: Any, fusions: list[Path]) -> Path | None:
    """Returns the folder of the head that is used.

    Cases:
        1. The setup names it: a folder of that name, or `true`, the folder itself.
        2. It doesn't: the head of a fusion; else that of the last adapter of a stack, which the library activates
           (`adapters.composition.parse_heads_from_composition`).
        3. Else there must be none, or one that the adapters all have: transformers' own.
    """
    if said is True or isinstance(said, str):
        home = folder if said is True else folder / _folder_name(said)
        if not (home / heads.CONFIG).is_file():
            raise CheckpointError(f"{home} has no {heads.CONFIG}, but {SETUP} names its head.")
        return home
    if said:
        raise UnsupportedError(f"{folder}: {SETUP} has several heads: {said}\nSave the setup with one head_setup.")
    last = [] if isinstance(tree, str) or tree["kind"] != "stack" else tree["children"][-1:]
    preferred = [*fusions, *(folder / name for name in last if isinstance(name, str))]
    homes = [home for home in preferred if (home / heads.CONFIG).is_file()]
    if homes:
        return homes[0]
    others = [folder / name for name in dict.fromkeys(_leaves(tree)) if (folder / name / heads.CONFIG).is_file()]
    if not others:
        return None
    configs = [tensor_files.read_json(home / heads.CONFIG) for home in others]
    if any(isinstance(config.get("config"), dict) for config in configs):
        raise UnsupportedError(
            f"{folder}: {listed([home.name for home in others])} have heads of their own, and {SETUP} says of none "
            f"that it is used.\nSave the setup with head_setup, or export a copy without their {heads.CONFIG}."
        )
    files = [
        {path.read_bytes() for name in (heads.WEIGHTS, heads.PICKLE) if (path := home / name).is_file()}
        for home in others
    ]
    if any(each != files[0] for each in files):
        raise UnsupportedError(
            f"{folder}: the adapters have different heads of the same model.\nSave the setup with head_setup=True."
        )
    return others[0]


def _composed(setup: Setup, adapters: Mapping[str, Checkpoint]) -> tuple[dict[str, Array], list[Part]]:
    """Returns the tensors of all adapters under the names of a composition, and its parts.

    A method other than a bottleneck stays what it is: one adapter alone may have it, in no average and no fusion.
    """
    counts = Counter(part.type for each in adapters.values() for part in set_of(each))
    problems, tensors, parts = [], {}, []
    bottlenecks: dict[str, Mapping[str, Any]] = {}
    first = setup.adapters()[0]
    alone = {setup.tree} if isinstance(setup.tree, str) else set()
    if not alone and setup.tree["kind"] == "stack":
        alone = {child for child in setup.tree["children"] if isinstance(child, str)}
    alone -= {name for node in _nodes(setup.tree) if node is not setup.tree for name in _leaves(node)}
    for name, each in adapters.items():
        for part in each.parts:
            if part.type == "bottleneck":
                if name in bottlenecks:
                    problems.append(f"{name}: a union of two bottlenecks; train one")
                bottlenecks[name] = part.config
            elif part.type == invertible.TYPE:
                if name == first:
                    parts.append(part)
            elif part.type == adapterhub_prompt.TYPE and name != first:
                problems.append(f"{name}: a prompt that isn't first, which adapters 1.3.0 leaves out; put it first")
            elif counts[part.type] > 1 or name not in alone:
                problems.append(
                    f"{name}: {part.type} in {_shown(setup.tree)}; only bottlenecks can be put together, beside one "
                    "adapter of another method in a Stack; merge them with the library's average_adapter"
                )
            else:
                parts.append(part)
    if len({each.config["model_type"] for each in adapters.values()}) > 1:
        problems.append("the adapters are of several architectures")
    if problems:
        raise UnsupportedError.collect(f"{setup.folder} holds {TITLE} that can't be done exactly:", problems)
    for name, each in adapters.items():
        for plain, tensor in each.tensors.items():
            module, mark, rest = plain.partition(".adapters.")
            if mark:
                tensors[f"{module}{composer.MARK}{composer.ADAPTERS}.{name}.{rest}"] = tensor
            elif plain.startswith(invertible.MARK) and name != first:
                continue  # only the first one's is run (`InvertibleAdaptersMixin.invertible_adapters_forward`)
            elif plain.startswith("shared_parameters.") and name in bottlenecks:
                tensors[f"{composer.SHARED}{name}.{plain.removeprefix('shared_parameters.')}"] = tensor
            else:
                tensors[plain] = tensor
    if bottlenecks:
        config = {"setup": setup.tree, "members": bottlenecks, "fusions": {}}
        parts.insert(0, Part(composer.TYPE, config))
    return tensors, parts


def set_of(adapter: Checkpoint) -> list[Part]:
    """Returns one part for each method of an adapter."""
    return list({part.type: part for part in adapter.parts}.values())


def _with_fusions(part: Part, configs: Mapping[str, Mapping[str, Any]]) -> Part:
    return Part(part.type, {**part.config, "fusions": configs}) if part.type == composer.TYPE else part


def _fusion_of(
    setup: Setup, name: str, model_type: str, *, allow_pickle: bool
) -> tuple[Mapping[str, Any], dict[str, Array]]:
    """Returns a fusion's configuration and its tensors, under the names of a composition."""
    home = setup.fusions[name]
    config = tensor_files.read_json(home / FUSION).get("config")
    if not isinstance(config, dict):
        raise CheckpointError(f"{home / FUSION} is not AdapterHub's: it lacks config.")
    problems = [f"{key}: edgeadapt does not know this option" for key in config if key not in _fusion.FIELDS]
    if config.get("temperature"):
        problems.append(
            "temperature: adapters 1.3.0 begins at 50 whenever it loads the fusion, and takes 0.05 off with every run, "
            "so that no two runs say the same; set it to false in a copy, which is where long training ends"
        )
    if problems:
        raise UnsupportedError.collect(f"{home} holds a fusion that can't be done exactly:", problems)
    tensors: dict[str, Array] = {}
    unknown = []
    for stored, tensor in tensor_files.read(home, FUSION_WEIGHTS, FUSION_PICKLE, allow_pickle=allow_pickle).items():
        match = re.fullmatch(rf"(.*)\.adapter_fusion_layer\.{re.escape(name)}([^.]*)\.(.*)", stored)
        if match is None:
            unknown.append(f"{stored}: no tensor of {name!r}")
        elif not match.group(2):  # else another fusion's, whose name begins alike: the library saves it along
            module = adapterhub.end_of(match.group(1), adapterhub.SUBLAYERS[model_type])
            tensors[f"{module}{composer.MARK}{composer.FUSIONS}.{name}.{match.group(3)}"] = tensor
    if unknown:
        raise CheckpointError.collect(f"{home} holds tensors that edgeadapt doesn't know:", unknown)
    tensor_files.refuse_infinite(home, tensors)
    return config, tensors
