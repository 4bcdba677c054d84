"""Adapters of one's own: modules of PyTorch at sites of the base, written as ONNX functions and run by hooks."""

from __future__ import annotations

import copy
import hashlib
import inspect
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from edgeadapt.adapter import Adapter, Array, Attachment
from edgeadapt.errors import BindingError, ConfigError, nearest
from edgeadapt.exporter import base as bases
from edgeadapt.exporter import forward, trace
from edgeadapt.exporter.reference import Outputs
from edgeadapt.graph.sites import Wirings

Modules = Mapping[str, nn.Module]
"""A module for every site."""

DOMAIN = "edgeadapt.module"


def bind(
    name: str, modules: Modules, base: bases.Base, wirings: Wirings, inputs: Mapping[str, Array], opset: int
) -> Adapter:
    """Returns modules of one's own as an adapter of a base.

    Each module is called with what leaves its site, `(batch, n, out)`, or with what enters and what leaves it, and
    returns what takes its place.

    Args:
        name: The adapter's name, for errors.
        modules: A module for every site.
        base: The base.
        wirings: Its sites.
        inputs: Inputs of the base, with which the modules are shown what they will be called with.
        opset: The opset to write them at.

    Raises:
        BindingError: A site isn't there, or a module can't be called or written; all of it at once.
    """
    problems = [
        f"{site}: the base has no weights here, and modules of one's own bring none"
        for site, wiring in wirings.sites.items()
        if wiring.open
    ]
    ready = {site: copy.deepcopy(module).eval().float() for site, module in modules.items()}
    seen = _seen(base, [site for site in ready if site in wirings.sites], inputs)
    functions: dict[int, ir.Function] = {}
    attachments = []
    for site, module in ready.items():
        if problem := _site_problem(site, wirings):
            problems.append(problem)
            continue
        original = id(modules[site])
        try:
            if original not in functions:
                functions[original] = _function(module, *seen[site], number=len(functions), opset=opset)
            else:
                _check_output(module, *seen[site])
        except BindingError as error:
            problems.append(f"{site}: {error}")
            continue
        attachments.append((site, functions[original]))
    if problems:
        raise BindingError.collect(
            f"The modules of adapter {name!r} don't fit this {wirings.model_type} base:", problems
        )
    digest = _digest(attachments)
    for function in functions.values():
        function.name = f"{digest}-{function.name}"
    method = f"module-{digest}"
    on = np.ones((1, 1, 1), np.float32)
    return Adapter(
        "module",
        tuple(Attachment(site, method, {f"module_on.{digest}": on}, function) for site, function in attachments),
        None,
        None,
        {"kind": "module", "classes": sorted({type(module).__name__ for module in modules.values()})},
    )


def outputs(modules: Modules, base: bases.Base, inputs: Mapping[str, Array], names: Sequence[str]) -> Outputs:
    """Returns PyTorch's outputs of the base with modules at its sites, and without them."""
    plain = forward.run(base, inputs, names)
    fresh = bases.load(base.source, base.task)
    fresh.model.load_state_dict(base.model.state_dict())
    for site, module in modules.items():
        fresh.model.get_submodule(site).register_forward_hook(_hook(copy.deepcopy(module).eval().float()))
    return Outputs(forward.run(fresh, inputs, names), plain)


def check(name: str, modules: Modules) -> None:
    """Refuses what is no mapping of site to module.

    Raises:
        ConfigError: There is no module, or something that is none; all of it at once.
    """
    problems = [
        f"{site!r}: got {type(module).__name__}, expected a torch.nn.Module"
        for site, module in modules.items()
        if not isinstance(module, nn.Module) or not isinstance(site, str)
    ]
    if problems or not modules:
        raise ConfigError.collect(
            f"Adapter {name!r} is not a mapping of sites to modules:", problems or ["it is empty"],
            "Give a module for each dotted path of a module of the base.",
        )  # fmt: skip


def _hook(module: nn.Module) -> Callable[..., Any]:
    def replaced(_: nn.Module, given: tuple[Any, ...], y: torch.Tensor) -> Any:
        return module(*((given[0], y) if _takes_both(module) else (y,)))

    return replaced


def _takes_both(module: nn.Module) -> bool:
    """Tells whether a module takes what enters its site too.

    Raises:
        BindingError: It takes neither one nor two values.
    """
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [
        each
        for each in inspect.signature(module.forward).parameters.values()
        if each.kind in kinds and each.default is inspect.Parameter.empty
    ]
    if len(needed) not in (1, 2):
        raise BindingError(f"{type(module).__name__}.forward takes {len(needed)} values, expected (y) or (x, y)")
    return len(needed) == 2


def _site_problem(site: str, wirings: Wirings) -> str:
    if site not in wirings.sites:
        return f"{site}: the base has no such module{nearest(site, list(wirings.sites))}"
    wiring = wirings.sites[site]
    if not wiring.calls:
        return f"{site}: the task's outputs don't depend on it"
    if wiring.site.kind != "linear" or any(call.batch != "leading" for call in wiring.calls):
        return f"{site}: own modules go to linear layers that are called with one batch of rows"
    return ""


def _seen(base: bases.Base, sites: Sequence[str], inputs: Mapping[str, Array]) -> dict[str, tuple[Any, Any]]:
    """Returns what enters and leaves each site in its first call."""
    found: dict[str, tuple[Any, Any]] = {}

    def keep(site: str) -> Callable[..., None]:
        def called(_: nn.Module, given: tuple[Any, ...], y: Any) -> None:
            found.setdefault(site, (given[0].detach(), y.detach()))

        return called

    hooks = [base.model.get_submodule(site).register_forward_hook(keep(site)) for site in sites]
    try:
        forward.run(base, inputs, ())
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _check_output(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    given = (x, y) if _takes_both(module) else (y,)
    try:
        with torch.no_grad():
            out = module(*given)
    except BindingError:
        raise
    except Exception as error:
        raise BindingError(f"{type(module).__name__} can't be called: {type(error).__name__}: {error}") from error
    got = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
    if got != tuple(y.shape):
        raise BindingError(f"{type(module).__name__} gives {got}, expected {tuple(y.shape)}")


def _function(module: nn.Module, x: torch.Tensor, y: torch.Tensor, number: int, opset: int) -> ir.Function:
    """Returns a module as an ONNX function of `y`, or of `x` and `y`, with its weights inside.

    Raises:
        BindingError: It can't be called or written, or gives something of another shape.
    """
    _check_output(module, x, y)
    given = (x, y) if _takes_both(module) else (y,)
    axes: Any = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    loggers = [logging.getLogger(each) for each in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module, given, dynamo=True, opset_version=opset, dynamic_shapes=(axes,) * len(given), verbose=False
            )
    except Exception as error:
        raise BindingError(f"{type(module).__name__} can't be written as ONNX: {trace.reason(error)}") from error
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
    assert program is not None
    return _as_function(program.model, f"{type(module).__name__}_{number}", opset)


def _as_function(model: ir.Model, name: str, opset: int) -> ir.Function:
    """Returns a model's graph as a function: initializers become constants, as a function has no initializers."""
    graph = model.graph
    made = []
    for value in list(graph.initializers.values()):
        node = ir.node("Constant", [], {"value": value.const_value}, outputs=[ir.Value(name=f"{value.name}.constant")])
        for user, position in tuple(value.uses()):
            user.replace_input_with(position, node.outputs[0])
        made.append(node)
    nodes = list(graph)
    graph.remove(nodes)
    for node in nodes:
        node.metadata_props.clear()
        node.doc_string = None
    inputs, results = list(graph.inputs), list(graph.outputs)
    graph.inputs.clear()
    graph.outputs.clear()
    body = ir.Graph(inputs, results, nodes=[*made, *nodes], opset_imports={"": opset}, name=name)
    return ir.Function(DOMAIN, name, graph=body, attributes=[])


def _digest(attachments: Sequence[tuple[str, ir.Function]]) -> str:
    digest = hashlib.sha256()
    for site, function in attachments:
        digest.update(site.encode())
        digest.update(ir.to_proto(function).SerializeToString(deterministic=True))
    return digest.hexdigest()[:12]
