"""Writes a base as an ONNX graph with the exporter of `torch.onnx`, and finds its sites in it."""

from __future__ import annotations

import ast
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir
import onnxruntime
import torch

from edgeadapt.adapter import Array
from edgeadapt.bundle import KEPT, PAST
from edgeadapt.errors import GraphError, UnsupportedError, listed
from edgeadapt.exporter import base as bases
from edgeadapt.exporter import dimensions, encoding
from edgeadapt.exporter.base import Base
from edgeadapt.exporter.forward import Forward, choices, tensors
from edgeadapt.graph import attention, kept, packed, prompt, rotary
from edgeadapt.graph.locate import SCOPES, locate, moved
from edgeadapt.graph.sites import Wiring, Wirings
from edgeadapt.graph.switch import open_heads

log = logging.getLogger("edgeadapt")

OPSETS = (23, 18)
"""Tried in this order: at 23 attention and rotary positions are single operators; where ONNX Runtime rejects one, its
parts at 18 run everywhere."""

CONSTANT_ROTATIONS = ("default", "linear", "llama3")  # kinds of angles that no sequence's length changes
MOST_CHARACTERS = 200  # of an exporter's or ONNX Runtime's message


@dataclass(frozen=True, slots=True)
class Trace:
    """A base as a graph.

    Attributes:
        model: The graph; heads that the checkpoint lacks are slots already.
        wirings: Its sites.
        opset: The opset it was written at.
        notes: What a user should know about how it was written.
    """

    model: ir.Model
    wirings: Wirings
    opset: int
    notes: tuple[str, ...]


def trace(
    base: Base,
    inputs: Mapping[str, Array],
    axes: Mapping[str, Sequence[str]],
    outputs: Mapping[str, Sequence[str]],
    opset: int | None,
) -> Trace:
    """Writes a base as a graph and finds its sites.

    Args:
        base: The base.
        inputs: An example of every input, with a batch of two or more.
        axes: Names of the axes of every input; those in lower-case words are dynamic, those in digits fixed.
        outputs: Names of the axes of every output, as the task has them.
        opset: The opset to write at, or None to take the newest that ONNX Runtime can load.

    Raises:
        UnsupportedError: The exporter or ONNX Runtime can't do this model.
        GraphError: The checkpoint lacks weights that no slot can stand for.
    """
    problems: list[str] = []
    cached = KEPT in inputs
    inputs = {name: array for name, array in inputs.items() if name != KEPT}  # PyTorch has no such input
    for candidate in (opset,) if opset is not None else OPSETS:
        try:
            model = _export(base, inputs, axes, list(outputs), candidate)
            _try(model, inputs)
        except UnsupportedError as error:
            problems.append(f"opset {candidate}: {error}")
            log.debug("opset %d: %s", candidate, error)
            continue
        if any(name.startswith(PAST) for name in inputs):
            dimensions.resolve(model)
        wirings = _wirings(base, model, inputs, outputs)
        if cached:
            wirings = packed.pack(model, kept.keep(model, wirings))
        _tidy(model, outputs)
        open_heads(model, wirings)
        notes = tuple(f"written at opset {candidate}, because {problem}" for problem in problems)
        return Trace(model, wirings, candidate, notes)
    raise UnsupportedError.collect(f"{base.model_type} can't be written as ONNX for {base.task}:", problems)


def _export(
    base: Base, inputs: Mapping[str, Array], axes: Mapping[str, Sequence[str]], outputs: Sequence[str], opset: int
) -> ir.Model:
    """Returns the graph that `torch.onnx.export` writes."""
    dynamic = {name: {index: axis for index, axis in enumerate(axes[name]) if not axis.isdigit()} for name in inputs}
    try:
        with _quiet():
            program = torch.onnx.export(
                # Each row by itself, so that questions may have any number of choices.
                Forward(base.model, outputs, choices(base, 1), encoding.cross(base, inputs)),
                (),
                kwargs={"inputs": tensors(inputs)},
                input_names=list(inputs),
                dynamo=True,
                opset_version=opset,
                dynamic_shapes={"inputs": dynamic},
                output_names=list(outputs),
                verbose=False,
            )
    except Exception as error:
        raise UnsupportedError(f"the exporter fails: {reason(error)}") from error
    if program is None:
        raise UnsupportedError("the exporter gave no graph")
    if any(name.startswith(PAST) for name in inputs):
        dimensions.rename(program.model)
    rotary.widen(program.model)
    return program.model


def reason(error: BaseException) -> str:
    """Returns the first line that says something of the innermost error."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else "no message"
    return f"{type(error).__name__}: {text[:MOST_CHARACTERS]}{'...' if len(text) > MOST_CHARACTERS else ''}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's remarks to itself: what matters is checked afterwards."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch._dynamo", "onnxscript", "onnx_ir")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _try(model: ir.Model, inputs: Mapping[str, Array]) -> None:
    """Runs a graph in ONNX Runtime.

    Raises:
        UnsupportedError: ONNX Runtime rejects the graph.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "base.onnx"
        ir.save(model, path, external_data="base.onnx.data")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            session.run(None, dict(inputs))
        except Exception as error:
            raise UnsupportedError(f"ONNX Runtime rejects the graph: {reason(error)}") from error


def _wirings(base: Base, model: ir.Model, inputs: Mapping[str, Array], outputs: Mapping[str, Sequence[str]]) -> Wirings:
    """Returns the sites of a freshly exported graph."""
    _drop_wrapper(model)
    known = {site.name: (site, layout) for site, layout in bases.modules(base)}
    calls = locate(model, [site for site, _ in known.values()])
    ends = [value for value in model.graph.outputs if outputs[str(value.name)][-1] == "labels"]
    labelled = {value.name for end in ends for value in moved(end)}
    idle, counts = _use(base, inputs, list(outputs))
    sites = {}
    for name, (site, layout) in known.items():
        found = calls.get(name, ())
        own = {f"{name}.weight", f"{name}.bias"}
        if len(found) != counts.get(name, 0) and not own <= idle | {f"{name}.bias"}:
            continue  # the exporter merged a call of it into its surroundings: it can't be addressed
        sites[name] = Wiring(
            site=replace(
                site,
                labelled=any(call.y in labelled for call in found),
                rowwise=all(call.batch != "none" for call in found),
                sublayer=bool(found) and all(call.total is not None for call in found),
                filler=prompt.filler(model, site, found),
            ),
            open=bool(found) and bool(own & base.invented),
            layout=layout,
            calls=found,
        )
    for name, (site, found) in attention.locate(model, counts, _frequencies(base)).items():
        sites.setdefault(name, Wiring(site, open=False, layout="out_in", calls=found))
    covered = {f"{name}.{role}" for name, wiring in sites.items() if wiring.open for role in ("weight", "bias")}
    parameters = bases.parameters(base, {name: wiring.site for name, wiring in sites.items()})
    lost = sorted(name for name in base.invented - idle - covered if _twin(parameters, name) not in covered)
    if lost:
        raise GraphError.collect(
            f"{base.source} has no trained weights for these parameters of {base.task}, and no adapter can bring them:",
            lost,
            "Take a checkpoint that has them.",
        )
    return Wirings(base.model_type, base.prefix, sites, parameters, bases.renames(base))


def _frequencies(base: Base) -> tuple[float, ...]:
    """Returns the angles, in radians a position, by which a base rotates; none where it doesn't, or not by these alone.

    Source: `transformers.modeling_rope_utils`: a module with `inv_freq`, and a factor of cosines and sines.
    """
    found = {
        tuple(angles.double().tolist())
        for module in base.model.modules()
        if isinstance(angles := getattr(module, "inv_freq", None), torch.Tensor)
        and getattr(module, "attention_scaling", 0) == 1
        and getattr(module, "rope_type", None) in CONSTANT_ROTATIONS
    }
    return found.pop() if len(found) == 1 else ()


def _twin(parameters: Mapping[str, tuple[str, str] | None], name: str) -> str:
    own = parameters.get(name)
    return ".".join(own) if own is not None else ""


def _use(base: Base, inputs: Mapping[str, Array], outputs: Sequence[str]) -> tuple[frozenset[str], dict[str, int]]:
    """Returns the parameters on which the task's outputs don't depend, and how often every module is called."""
    counts: dict[str, int] = {}

    def count(name: str) -> Callable[..., None]:
        def called(*_: object) -> None:
            counts[name] = counts.get(name, 0) + 1

        return called

    hooks = [module.register_forward_hook(count(name)) for name, module in base.model.named_modules()]
    base.model.requires_grad_(True)
    try:
        forward = Forward(base.model, outputs, choices(base, 1), encoding.cross(base, inputs))
        counts.clear()  # what was called to find these
        return bases.idle(base, forward(tensors(inputs))), counts
    finally:
        base.model.requires_grad_(False)
        for hook in hooks:
            hook.remove()


def _drop_wrapper(model: ir.Model) -> None:
    """Takes the wrapper's own name off the scopes of all nodes."""
    for node in model.graph:
        if SCOPES in node.metadata_props:
            scopes = [scope.removeprefix("model.") for scope in ast.literal_eval(node.metadata_props[SCOPES])]
            node.metadata_props[SCOPES] = repr(scopes)


def _tidy(model: ir.Model, outputs: Mapping[str, Sequence[str]]) -> None:
    """Strips what the exporter leaves of the machine it ran on: stack traces, scopes, documentation."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            value.doc_string = None
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
        value.doc_string = None
    model.graph.metadata_props.clear()
    model.metadata_props.clear()
    model.doc_string = None
    model.graph.doc_string = None
    model.graph.name = "base"
    model.producer_name = "edgeadapt"
    model.producer_version = None
    if names := [value.name for value in model.graph.outputs if value.name not in outputs]:
        raise GraphError(
            f"The exporter gave outputs that the task doesn't know: {listed([str(name) for name in names])}."
        )
