"""Bottlenecks put together: one after another, their weighted mean, or an attention over them (AdapterFusion).

`h' = h_n(...h_1(h))`, `h' = 1/n sum_i w_i h_i(h)`, or `h' = sum_i softmax_i((q Q) (h_i K)^T) h_i V`. Source:
`adapters.methods.bottleneck.BottleneckLayer` (`compose_single`, `compose_stack`, `compose_average`, `compose_fuse`,
`mean`, `bottleneck_layer_forward`) and `adapters.methods.modeling.Adapter` (`pre_forward`, `forward`, `post_forward`).
`_fusion` has the attention's formula in full, `_trees` how the options of `composition-<options>` are written.

What is handed from block to block are hidden states and a residual, from `y` and nothing on. It is done as the library
does it, which is not always what one would think: a parallel block starts again from the sublayer's residual, and gives
itself alone, to which only the last one adds `y`; and an average of n is divided by n once more, `1/n sum_i w_i h_i`
with `sum_i w_i = 1`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from edgeadapt.adapter import Array, Params, Site
from edgeadapt.errors import UnsupportedError, listed
from edgeadapt.methods import Module, Op, Point, Replaces, Shape, Sublayer, Value, _fusion, bottleneck
from edgeadapt.methods._trees import LEAF, Path, Tree, parse
from edgeadapt.methods.bottleneck import Bottleneck

TITLE = "a composition of bottlenecks"
TYPE = "composition"
FIELDS = frozenset({"fusions", "members", "setup"})
MARK, SHARED = ".composed.", "composed.shared."
ADAPTERS, FUSIONS = "adapters", "fusions"
SWAPPED = "swapped"
UNFUSED = ("adapter_ln_after", "adapter_ln_after_bias", "adapter_gate", "adapter_gate_bias")
"""Params of what comes after the point where an attention takes a block's values."""

Placed: TypeAlias = tuple[Path, dict[str, Array]]
"""Params by what they are, and the node they belong to."""


@dataclass(frozen=True, slots=True)
class State:
    """What blocks hand on (`BottleneckState`).

    Attributes:
        hidden: The hidden states.
        residual: What a block is added to.
    """

    hidden: Value
    residual: Value


@dataclass(frozen=True, slots=True)
class Composition:
    """The form of one tree.

    Attributes:
        options: The options as the method's name has them; the params' names end in them.
        tree: The tree.
        swapped: The library takes the sublayer's residual for `y`, and the other way round.
    """

    options: str
    tree: Tree
    swapped: bool

    @property
    def REPLACES(self) -> Replaces:  # noqa: N802  # as every form has it
        """The module's output, or the sublayer's where nothing of the base follows the last block."""
        return "out" if "no_original_ln_after" in self.tree.last().words else "y"

    def name(self, param: str, path: Path = ()) -> str:
        """Returns the name of a param of the node at a path."""
        return f"{'_'.join((param, *map(str, path)))}.{self.options}"

    def shapes(self, site: Site) -> dict[str, Shape]:
        """Returns the switch `(rows, 1, 1)`, the params of every block, and the weights that put them together.

        All blocks have one rank: shorter ones are filled with zeros, which change nothing.
        """
        if not site.sublayer:
            return {}
        rows, width = site.rows, site.out_features
        found: dict[str, Shape] = {self.name("adapter_on"): (rows, 1, 1)}
        for path, node, fused in self.tree.walk():
            own: dict[str, Shape] = {}
            if node.kind == LEAF:
                own = _form(node).block(site)
            if fused:
                own = {name: shape for name, shape in own.items() if name not in UNFUSED}
                own |= {"fuse_key": (rows, width, "rank"), "fuse_key_bias": (rows, width, 1)}
                own |= {"fuse_shift": (rows, 1, "rank"), "fuse_shift_bias": (rows, 1, 1)}
            found |= {self.name(param, path): shape for param, shape in own.items()}
            if node.kind == "average":
                found |= {self.name("average", (*path, number)): (rows, 1, 1) for number in range(len(node.children))}
            if node.kind == "fuse" and "value" in node.words:
                found[self.name("fuse_value", path)] = (rows, width, width)
        return found

    def neutral(self, site: Site) -> Params:
        """Returns zeros: it is off."""
        return {
            param: np.zeros([1 if isinstance(dim, str) else dim for dim in shape], np.float32)
            for param, shape in self.shapes(site).items()
        }

    def graph(self, op: Op, at: Point, params: dict[str, Value]) -> Value:
        """Returns what the composition gives where it is on, and what the base gives where it is off."""
        if at.sublayer is None:
            raise UnsupportedError(f"{at.site.name} ends no sublayer, so no bottlenecks can be there")
        own = {name.partition(".")[0]: value for name, value in params.items()}
        run = _Run(op, at, at.sublayer, self.swapped, own)
        hidden = run.composed(self.tree, State(run.given, run.beside), ()).hidden
        if "parallel" in self.tree.last().words:
            hidden = op.Add(hidden, run.given)
        if self.swapped and self.REPLACES == "y":
            hidden = run.unswapped(hidden)
        on = op.Greater(own["adapter_on"], op.constant(np.array(0.5, np.float32)))
        return op.Where(on, hidden, at.sublayer.out if self.REPLACES == "out" else at.y)


@dataclass(frozen=True, slots=True)
class _Run:
    """The nodes of a composition at one call of a site."""

    op: Op
    at: Point
    sublayer: Sublayer
    swapped: bool
    own: dict[str, Value]

    @property
    def given(self) -> Value:
        """What the library takes for the module's output."""
        return self.sublayer.residual if self.swapped else self.at.y

    @property
    def beside(self) -> Value:
        """What the library takes for the residual (`input_tensor`)."""
        return self.at.y if self.swapped else self.sublayer.residual

    def unswapped(self, hidden: Value) -> Value:
        """Returns what stands for `y` where `hidden` stands for the residual: their sum is the same."""
        return self.op.Add(self.op.Sub(hidden, self.sublayer.residual), self.at.y)

    def of(self, path: Path) -> dict[str, Value]:
        """Returns the params of the node at a path, by what they are."""
        end = "".join(f"_{number}" for number in path)
        names = (*bottleneck.PARAMS, *_fusion.PARAMS, "average", "fuse_value")
        return {name: self.own[f"{name}{end}"] for name in names if f"{name}{end}" in self.own}

    def composed(self, node: Tree, state: State, path: Path) -> State:
        """Returns what a node makes of the state (`compose`)."""
        if node.kind == "stack":
            for number, child in enumerate(node.children):
                entered = self.entered(child, state)[0] if child.kind == LEAF else state
                state = self.composed(child, entered, (*path, number))
            return state
        if node.kind == "average":
            return self.averaged(node, state, path)
        if node.kind == "fuse":
            return self.fused(node, state, path)
        form = _form(node)
        residual = None if "parallel" in form.flags else state.residual
        return replace(state, hidden=form.applied(self.op, self.at.site, state.hidden, residual, self.of(path)))

    def entered(self, node: Tree, state: State, *, early: bool = False) -> tuple[State, Value]:
        """Returns what enters the block of a leaf, and the query of an attention that it is last in (`pre_forward`)."""
        flags = _form(node).flags
        if "parallel" in flags:
            return State(self.beside, self.beside), self.beside
        x = state.hidden
        if "original_ln_before" in flags:
            x = self.sublayer.finish(self.op, self.unswapped(x) if self.swapped else x)
        if "residual_post_add" in flags:
            residual = self.op.Add(state.hidden, self.beside)
        else:
            residual = x if "residual_after_ln" in flags else state.hidden
        return State(x, residual), state.hidden if early else x

    def averaged(self, node: Tree, state: State, path: Path) -> State:
        """Returns the weighted mean of the children's hidden states (`compose_average`, `mean`)."""
        state = self.entered(node.first(), state)[0]
        given = [self.composed(child, state, (*path, number)) for number, child in enumerate(node.children)]
        total: Value = None
        for number, each in enumerate(given):
            part = self.op.Mul(each.hidden, self.of((*path, number))["average"])
            total = part if total is None else self.op.Add(total, part)
        return replace(given[0], hidden=total)

    def fused(self, node: Tree, state: State, path: Path) -> State:
        """Returns the attention over what the children's last blocks give (`compose_fuse`, `BertFusion.forward`)."""
        op = self.op
        state, query = self.entered(node.last(), state, early="query_before_ln" in node.words)
        blocks = [self.inside(child, state, (*path, number)) for number, child in enumerate(node.children)]
        scores = []
        for active, own in blocks:
            keys = op.Add(op.MatMul(query, own["fuse_key"]), own["fuse_shift"])
            score = op.ReduceSum(op.Mul(active, keys), op.constant(np.array([2], np.int64)), keepdims=1)
            constant = op.Add(op.MatMul(query, own["fuse_key_bias"]), own["fuse_shift_bias"])
            scores.append(op.Add(score, constant))
        shares = op.Softmax(op.Concat(*scores, axis=2), axis=2)
        total: Value = None
        for number, (active, own) in enumerate(blocks):
            share = op.Gather(shares, op.constant(np.array([number], np.int64)), axis=2)
            part = op.MatMul(op.Mul(active, share), own["adapter_up"])
            part = op.Add(part, op.Mul(share, own["adapter_up_bias"]))
            total = part if total is None else op.Add(total, part)
        residual = state.residual
        if "value" in node.words:
            residual = op.MatMul(residual, self.of(path)["fuse_value"])
        return replace(state, hidden=op.Add(total, residual))

    def inside(self, node: Tree, state: State, path: Path) -> tuple[Value, dict[str, Value]]:
        """Returns what is inside of a child's last block, `(batch, n, rank)`, and that block's params."""
        if node.kind == "stack":
            end = len(node.children) - 1
            if end:
                state = self.composed(replace(node, children=node.children[:end]), state, path)
            return self.inside(node.children[end], self.entered(node.children[end], state)[0], (*path, end))
        own = self.of(path)
        return _form(node).active(self.op, self.at.site, state.hidden, own), own


def _form(leaf: Tree) -> Bottleneck:
    return bottleneck.variant(str(leaf))


@cache
def variant(options: str) -> Composition:
    """Returns the form of `composition-<options>`.

    Raises:
        UnsupportedError: The options tell of no tree, or of an unknown bottleneck.
    """
    tree = parse(options.removeprefix(f"{SWAPPED}-"))
    for _, node, _ in tree.walk():
        if node.kind == LEAF:
            _form(node)
    return Composition(options, tree, options.startswith(f"{SWAPPED}-"))


def split(name: str) -> tuple[str, str] | None:
    """Returns module path and tensor of `<module>.composed.<tensor>`; the path is empty where all modules share it.

    The tensor is `adapters.<adapter>.<tensor>` or `fusions.<fusion>.<tensor>`, after `swapped.` where AdapterHub has
    output and residual swapped.
    """
    if name.startswith(SHARED):
        return "", name.removeprefix(SHARED)
    module, found, tensor = name.partition(MARK)
    if not found:
        return None
    if module.endswith(bottleneck.SWAPPED):
        return module.removesuffix(bottleneck.SWAPPED), f"{SWAPPED}.{tensor}"
    return module, tensor


def members(config: Mapping[str, Any], names: Mapping[str, Array]) -> list[tuple[str, Collection[int], set[str]]]:
    """Returns the layers that every adapter leaves out, and the modules it is at, by its name."""
    found: dict[str, set[str]] = {name: set() for name in config["members"]}
    for module, tensor in filter(None, map(split, names)):
        kind, _, rest = tensor.removeprefix(f"{SWAPPED}.").partition(".")
        if module and kind == ADAPTERS:
            found[rest.partition(".")[0]].add(module)
    return [(name, config["members"][name].get("leave_out") or (), modules) for name, modules in found.items()]


def read(config: Mapping[str, Any], module: Module, tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Returns the params of all that is at the end of one sublayer.

    Args:
        config: `setup`, the tree: an adapter's name, or `kind` and `children` with an average's `weights` or the `name`
            of a fusion; `members` and `fusions`, the configurations by name.
        module: The linear layer whose output the sublayer adds to its residual.
        tensors: The tensors that AdapterHub saves, as `split` names them.

    Raises:
        BindingError: Tensors are missing or spare.
        UnsupportedError: The module ends no sublayer, or an option can't be done exactly.
    """
    parts: dict[str, dict[str, dict[str, Array]]] = {ADAPTERS: {}, FUSIONS: {}}
    for name, tensor in tensors.items():
        kind, which, rest = name.removeprefix(f"{SWAPPED}.").split(".", 2)
        parts[kind].setdefault(which, {})[rest] = tensor
    swapped = any(name.startswith(f"{SWAPPED}.") for name in tensors)
    setup = _there(config["setup"], parts[ADAPTERS], module.name)
    if setup is None:
        return {}  # a fusion's own layer, at a module that all its adapters leave out
    if not isinstance(setup, str) and setup["kind"] == "stack" and len(setup["children"]) == 1:
        setup = setup["children"][0]
    reading = _Reading(config, module, parts[ADAPTERS], parts[FUSIONS])
    if isinstance(setup, str):
        end = bottleneck.SWAPPED if swapped else ""
        single = {f"{name}{end}": tensor for name, tensor in parts[ADAPTERS][setup].items()}
        return bottleneck.read(config["members"][setup], reading.module_of(setup), single)
    form = variant(f"{SWAPPED}-{reading.tree(setup)}" if swapped else str(reading.tree(setup)))
    found = {form.name("adapter_on"): bottleneck.param_of(np.ones(1))}
    for path, own in reading.params(setup, ()):
        found |= {form.name(param, path): bottleneck.param_of(array) for param, array in own.items()}
    return {f"composition-{form.options}": _even(found, form.shapes(module.site))}


def _there(setup: Any, there: Collection[str], module: str) -> Any:
    """Returns a setup without the adapters that aren't at a module, or None where that leaves nothing.

    Raises:
        UnsupportedError: An average or an attention would have fewer adapters here than elsewhere.
    """
    if isinstance(setup, str):
        return setup if setup in there else None
    children = [_there(child, there, module) for child in setup["children"]]
    left = [child for child in children if child is not None]
    if left and setup["kind"] != "stack" and (len(left) < len(children) or _names(setup) - set(there)):
        raise UnsupportedError(
            f"{module}: of {setup['kind']} only {listed(sorted(_names(setup) & set(there)))} is here, which adapters "
            "1.3.0 can't run; give all its adapters the same places and layers"
        )
    return {**setup, "children": left} if left else None


def _names(setup: Any) -> set[str]:
    return {setup} if isinstance(setup, str) else set().union(*map(_names, setup["children"]))


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one module's tensors are read from."""

    config: Mapping[str, Any]
    module: Module
    adapters: Mapping[str, Mapping[str, Array]]
    fusions: Mapping[str, Mapping[str, Array]]

    def module_of(self, adapter: str) -> Module:
        """Returns the module as one adapter of several sees it, with the tensors that its modules share."""
        own = f"{adapter}."
        shared = {name.removeprefix(own): each for name, each in self.module.shared.items() if name.startswith(own)}
        return replace(self.module, shared=shared)

    def tree(self, setup: Any) -> Tree:
        """Returns the tree of a setup."""
        if isinstance(setup, str):
            return Tree(LEAF, tuple(bottleneck.options_of(self.config["members"][setup]).split("-")))
        words = _fusion.words(self.config["fusions"][setup["name"]]) if setup["kind"] == "fuse" else ()
        return Tree(setup["kind"], words, tuple(map(self.tree, setup["children"])))

    def params(self, setup: Any, path: Path, fusion: Mapping[str, Array] | None = None) -> Iterator[Placed]:
        """Yields the params of every node by what they are; those of a block in an attention with it multiplied in."""
        if isinstance(setup, str):
            form = _form(self.tree(setup))
            found = bottleneck.arrays(self.config["members"][setup], form, self.module_of(setup), self.adapters[setup])
            if fusion is not None:
                kept = {param: array for param, array in found.items() if param not in UNFUSED}
                found = kept | _fusion.projected(fusion, found["adapter_up"], found["adapter_up_bias"])
            yield path, found
            return
        end, own = len(setup["children"]) - 1, None
        if setup["kind"] == "fuse":
            config, own = self.config["fusions"][setup["name"]], self.fusions.get(setup["name"], {})
            _fusion.check(self.module.name, config, own)
            if "value" in _fusion.words(config):
                yield path, {"fuse_value": _fusion.value(own, self.module.site.out_features)}
        for number, child in enumerate(setup["children"]):
            inner = fusion if setup["kind"] == "stack" and number == end else own
            yield from self.params(child, (*path, number), inner)
            if setup["kind"] == "average":
                weight = setup["weights"][number] / sum(setup["weights"]) / (end + 1)
                yield (*path, number), {"average": np.full(1, weight)}


def _even(found: Mapping[str, Array], shapes: Mapping[str, Shape]) -> dict[str, Array]:
    """Returns params of one rank, the largest: shorter ones are filled with zeros."""
    axes = {param: shape.index("rank") for param, shape in shapes.items() if "rank" in shape}
    rank = max(found[param].shape[axis] for param, axis in axes.items())
    evened = dict(found)
    for param, axis in axes.items():
        widths = [(0, rank - length if here == axis else 0) for here, length in enumerate(found[param].shape)]
        evened[param] = np.pad(found[param], widths)
    return evened
