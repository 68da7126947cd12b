"""What the optimiser's steps do to charges: products of its gradients and momentum, which the identity adds up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from sde.networks.forecast import Start
from sde.networks.identity import Identity
from sde.networks.optimiser_rules import BUFFER, STILL, Rule, follows, groups_of, rule_of
from sde.networks.rounding import Reading, steepness, step_length
from sde.networks.slice_products import SliceProducts, in_single

MOST = 2**22
"""Numbers of products that may wait."""
SETTINGS = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")
TRIES = 3
"""Steps of an unknown optimiser that must all have been SGD's."""


class Steps:
    """Follows the charges of `products` over the steps of an optimiser.

    kind: "sgd" (an identity is followed), "unknown" (its first steps are tried), or "other" (steps are only split).
    gaps: steps that could not be followed; time: the sum of their learning rates, the first group's; rules: the rules
    at work and which of them each tensor has, of every step since `begin`; second_order: delta^T A delta (charges,)
    since then; frozen: tensors that were not trained (requires_grad) at some step since then.
    """

    def __init__(self, optimizer: Optimizer, parameters: Mapping[str, Tensor], products: SliceProducts) -> None:
        self.optimizer, self.products = optimizer, products
        self.parameters = {n: parameters[n] for n in products.names}
        groups = groups_of(optimizer)
        self._groups = [(p, groups[id(p)]) for p in self.parameters.values()]
        self._quick: _Buffers | None = None
        self._own_groups = list({id(g): g for _, g in self._groups}.values())
        self._settled: tuple[Any, Any] = ((), ())
        self.kind = "sgd" if type(optimizer) is SGD else "unknown" if _has_rule(optimizer) else "other"
        self.decoupled, self._trials = False, {True: 0, False: 0}
        self.gaps, self.count, self.time = 0, 0, 0.0
        self.identity: Identity | None = None
        self._taken: list[tuple[tuple[Rule, ...], dict[str, Any]]] = []
        self._before: dict[str, Any] = {}
        self._copy: dict[str, Tensor] | None = None
        self.second_order = np.zeros(products.count)
        self.rules: list[tuple[tuple[Rule, ...], tuple[int, ...]]] = []
        self.frozen: set[str] = set()
        self._working: tuple[Any, ...] = ()
        self._off = np.zeros(products.count)
        self._length, self._measured = 0.0, -1

    @property
    def last_rules(self) -> dict[str, Rule]:
        """Of every tensor, as its settings are."""
        rules, blocks = self._rules_now()
        return {n: rules[b] for n, b in zip(self.parameters, blocks, strict=True)}

    def begin(self) -> None:
        """A new window."""
        self.rules.clear()
        self.frozen.clear()
        self.second_order[:] = 0

    def window(self) -> tuple[Identity | None, list[tuple[Rule, ...]]]:
        """The blocks of tensors that had the same rules at every step since `begin`, and those rules, step by step."""
        if self.identity is None or all(blocks == self.identity.blocks for _, blocks in self.rules):
            return self.identity, [rules for rules, _ in self.rules]
        each = [tuple(rules[blocks[i]] for rules, blocks in self.rules) for i in range(len(self.parameters))]
        number = {own: k for k, own in enumerate(dict.fromkeys(each))}
        return Identity(self.products, [number[own] for own in each]), list(zip(*number, strict=True))

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {k: getattr(self, k) for k in ("count", "gaps", "time", "kind", "decoupled")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """As `state` gave it; the identity begins anew from the optimiser's own state."""
        self.count, self.gaps, self.time = int(state["count"]), int(state["gaps"]), float(state["time"])
        self.kind, self.decoupled, self.identity = str(state["kind"]), bool(state["decoupled"]), None
        self._taken.clear()
        self._settled, self._quick = ((), ()), None

    def before(self) -> None:
        """Just before a step."""
        rules, blocks = self._rules_now()
        self.frozen.update(n for n, p in self.parameters.items() if not p.requires_grad)
        if self._quick is not None and self.identity is not None and self.identity.blocks == blocks:
            if rules is self._before["rules"]:
                return
            if _by_momentum(rules):
                self._before = {"rules": rules, "blocks": blocks}
                return
        self._quick = None
        self._prepare(rules, blocks)

    @torch.no_grad()
    def _prepare(self, rules: tuple[Rule, ...], blocks: tuple[int, ...]) -> None:
        if self.kind == "sgd":
            working = tuple((r.buffered, r.nesterov) for r in rules)
            identity = self.identity
            if identity is None or identity.blocks != blocks or self._working != working:
                identity = self._turn(blocks)
            self._working, self._before = working, {"rules": rules, "blocks": blocks}
            if identity.mixed:
                here, g = self._tensors(), self._gradients(self._scale())
                self._before["xg"] = self.products.take(here, g)
                self._before["xg_sums"] = self.products.take_sums(g)
        else:
            self._before = {"rules": rules, "blocks": blocks}
            self._copy = {n: p.detach().clone() for n, p in self.parameters.items()}
            if self.kind == "unknown":
                buffers = {n: self.optimizer.state[p].get(BUFFER) for n, p in self.parameters.items()}
                self._before["buffers"] = {n: None if b is None else b.clone() for n, b in buffers.items()}

    def after(self) -> bool:
        """Just after it; whether it was one: a fused step whose gradients were infinite is none."""
        skipped = getattr(self.optimizer, "found_inf", None)
        if skipped is not None and bool(skipped):
            return False
        rules = self._before["rules"]
        self._counted((rules, self._before["blocks"]))
        if self._quick is not None and (found := self._quick.take(self.optimizer)) is not None:
            self._put(rules, {"vv": found})
        elif self.kind == "sgd":
            self._take(rules)
        else:
            self._split()
        return True

    def _counted(self, rules: tuple[tuple[Rule, ...], tuple[int, ...]]) -> None:
        self.count += 1
        self.time += self._groups[0][1]["lr"] if self._groups else 0.0
        self.rules.append(rules)
        if len(self.rules) == 1:
            self._measure()

    @torch.no_grad()
    def _measure(self) -> None:
        """The length of a step that was taken."""
        if self._measured != self.count:
            self._length, self._measured = max(self._length, step_length(self.optimizer)), self.count

    @torch.no_grad()
    def lose(self) -> None:
        """A step that failed half way: nobody knows what of it was taken."""
        self.gaps += 1
        self._taken.clear()
        if self.identity is not None:
            self._anchor()

    @torch.no_grad()
    def skip(self) -> None:
        """A step that evaluated its closure several times, or never: no gradient is that of the step."""
        self.gaps += 1
        self._taken.clear()
        self._counted(self._rules_now())
        if self.identity is not None:
            self._anchor()

    def catch_up(self) -> None:
        """Bring the identity up to the steps that were taken."""
        if self.identity is not None and self._taken:
            self.identity.advance(*_numbers(self._taken))
        self._taken.clear()

    @torch.no_grad()
    def read(self) -> Reading:
        """The charges now; the identity begins anew from what is measured."""
        self.catch_up()
        here, products = self._tensors(), self.products
        start = self._start(here)
        theta, sums = start.theta, start.sums
        value = products.form @ theta + 2 * (products.linear @ sums)
        most = products.take_sums({n: t.abs() for n, t in here.items()}).cpu().numpy()  # entries of a sum may cancel
        size = products.absolute @ theta + 2 * (abs(products.linear) @ most)
        expected = np.full(len(value), np.nan) if self.identity is None else self.identity.value - self._off
        if self.identity is not None:
            self._anchor(start)
        if self.count:
            self._measure()
        reach = self._length * steepness(products, theta, self.parameters)
        self._off[:], self._length = 0.0, 0.0
        return Reading(value, expected, size, reach, start)

    @torch.no_grad()
    def along(self, gradients: Mapping[str, Tensor] | None = None) -> np.ndarray:
        """Products (products,) of the momentum with these gradients, or with those that the optimiser is to use."""
        if not self._gathered:
            return np.zeros(self.products.size)
        v, g = self._velocities({}), self._gradients(self._scale()) if gradients is None else gradients
        return self.products.take({n: g[n].to(t) for n, t in v.items()}, v).cpu().double().numpy()

    @torch.no_grad()
    def _take(self, rules: tuple[Rule, ...]) -> None:
        found: dict[str, Tensor] = {}
        g = self._gradients() if any(r.nesterov for r in rules) or not all(r.buffered for r in rules) else {}
        v = self._velocities(g)
        found["vv"] = self.products.take(v)
        if any(r.nesterov for r in rules):
            found["gg"], found["gv"] = self.products.take(g), self.products.take(g, v)
        for key in ("xg", "xg_sums"):
            if key in self._before:
                found[key] = self._before[key]
        self._put(rules, found)
        plain = self.identity is not None and not self.identity.mixed and self._settled[0] != ()
        if plain and _by_momentum(rules) and not self.products.pairs:
            self._quick = _Buffers.of(self)

    def _put(self, rules: tuple[Rule, ...], found: dict[str, Any]) -> None:
        self._taken.append((rules, found))
        if len(self._taken) * max(self.products.size, 1) > MOST:
            self.catch_up()

    @torch.no_grad()
    def _split(self) -> None:
        assert self._copy is not None
        moved = {n: in_single(p) - in_single(self._copy[n]) for n, p in self.parameters.items()}
        self.second_order += self.products.form @ self.products.take(moved).double().cpu().numpy()
        if self.kind == "unknown":
            self._try()
        self._copy = None

    def _try(self) -> None:
        """Whether an optimiser that has the settings of SGD moves as SGD does."""
        assert self._copy is not None
        for decoupled in (False, True):
            if self._trials[decoupled] < 0:
                continue
            good = all(
                p.grad is None
                or follows(
                    rule_of(group, decoupled, self._before["buffers"][n] is None),
                    self._copy[n],
                    p.grad,
                    (self._before["buffers"][n], self.optimizer.state[p].get(BUFFER)),
                    p.detach(),
                )
                for (n, p), (_, group) in zip(self.parameters.items(), self._groups, strict=True)
            )
            self._trials[decoupled] = self._trials[decoupled] + 1 if good else -1
        self.gaps += 1
        if max(self._trials.values()) < 0:
            self.kind = "other"
        elif max(self._trials.values()) == TRIES:
            self._settled = ((), ())
            self.kind, self.decoupled = "sgd", self._trials[False] < 0

    def _rules_now(self) -> tuple[tuple[Rule, ...], tuple[int, ...]]:
        """The rules that are at work, and which of them each tensor has."""
        key = tuple([g.get(k) for g in self._own_groups for k in SETTINGS])
        if key == self._settled[0]:
            for p, _ in self._groups:
                if p.grad is None:
                    break
            else:
                return self._settled[1]
        own: dict[tuple[int, bool], Rule] = {}
        number: dict[Rule, int] = {}
        blocks: list[int] = []
        for p, group in self._groups:
            if p.grad is None:
                rule = STILL
            else:
                fresh = BUFFER not in self.optimizer.state.get(p, {}) or self.optimizer.state[p][BUFFER] is None
                which = (id(group), fresh)
                if which not in own:
                    own[which] = rule_of(group, self.decoupled, fresh)
                rule = own[which]
            blocks.append(number.setdefault(rule, len(number)))
        found = tuple(number), tuple(blocks)
        begun = all(r.momentum == 0 or not f for (_, f), r in own.items())
        mutable = any(isinstance(k, Tensor) for k in key)
        self._settled = (key, found) if begun and STILL not in number and not mutable else ((), found)
        return found

    def _tensors(self) -> dict[str, Tensor]:
        return {n: in_single(p) for n, p in self.parameters.items()}

    def _gradients(self, scale: Tensor | None = None) -> dict[str, Tensor]:
        found = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in self.parameters.items()}
        kept = {n: in_single(g.to_dense() if g.is_sparse else g) for n, g in found.items()}
        return kept if scale is None else {n: g / scale for n, g in kept.items()}

    def _scale(self) -> Tensor | None:
        """Of a fused step's gradients, which are unscaled in it."""
        return getattr(self.optimizer, "grad_scale", None)

    def _velocities(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """v after a step: the optimiser's own, or the gradient where it keeps none."""
        found: dict[str, Tensor] = {}
        for (n, p), (_, group) in zip(self.parameters.items(), self._groups, strict=True):
            buffer = self.optimizer.state[p].get(BUFFER) if group.get("momentum", 0.0) else None
            if buffer is not None:
                found[n] = in_single(buffer)
            else:
                found[n] = gradients[n] if n in gradients else torch.zeros_like(in_single(p))
        return found

    def _turn(self, blocks: tuple[int, ...]) -> Identity:
        """Go on by other rules, from what is measured; what the identity was off by until here is kept."""
        self.catch_up()
        at = self._start(self._tensors())
        if self.identity is not None:
            value = self.products.form @ at.theta + 2 * (self.products.linear @ at.sums)
            self._off += value - self.identity.value
        self.identity = Identity(self.products, blocks)
        self._anchor(at)
        return self.identity

    def _anchor(self, start: Start | None = None) -> None:
        """Begin the identity at the parameters and the momentum as they are."""
        assert self.identity is not None
        at = self._start(self._tensors()) if start is None else start
        self.identity.anchor(at.theta, at.sums, at.across, at.momentum_sums)

    @property
    def _gathered(self) -> bool:
        """Whether there may be momentum."""
        return any(bool(group.get("momentum", 0.0)) for group in self._own_groups)

    def _start(self, here: Mapping[str, Tensor]) -> Start:
        products = self.products

        def of(take: Callable[..., Tensor], *tensors: Mapping[str, Tensor]) -> np.ndarray:
            return take(*tensors, double=True).cpu().numpy()

        theta, sums = of(products.take, here), of(products.take_sums, here)
        if not self._gathered:
            return Start(theta, sums, *map(np.zeros_like, (theta, theta, sums)))
        v = self._velocities({})
        return Start(theta, sums, of(products.take, here, v), of(products.take, v), of(products.take_sums, v))


def _by_momentum(rules: tuple[Rule, ...]) -> bool:
    """Whether a step's products are those of the momentum alone."""
    return all(r.buffered and not r.nesterov for r in rules)


class _Buffers:
    """The momentum of all tensors, where each step's products are of it alone: what is looked up is whether it is still
    the same."""

    def __init__(self, kept: list[tuple[Tensor, Tensor]], again: Callable[[], np.ndarray | None]) -> None:
        self._kept, self._again = kept, again

    @classmethod
    def of(cls, steps: Steps) -> _Buffers | None:
        """None where they are not plain."""
        sums, state = steps.products.square_sums, steps.optimizer.state
        kept = [(p := steps.parameters[n], state[p][BUFFER]) for n in sums.names]
        again = sums.again([b for _, b in kept])
        return None if again is None else cls(kept, again)

    def take(self, optimizer: Optimizer) -> np.ndarray | None:
        """Their products; None where they are others by now."""
        state = optimizer.state
        for p, kept in self._kept:
            if state[p].get(BUFFER) is not kept:
                return None
        return self._again()


def _has_rule(optimizer: Optimizer) -> bool:
    known = {"lr", "momentum", "weight_decay"}
    return all(known <= g.keys() for g in optimizer.param_groups)


def _stack(found: list[Any]) -> np.ndarray:
    """(steps, products), float64."""
    if any(isinstance(f, np.ndarray) for f in found):
        return np.stack([f if isinstance(f, np.ndarray) else f.cpu().double().numpy() for f in found])
    return torch.stack(found).cpu().double().numpy()


def _numbers(
    taken: list[tuple[tuple[Rule, ...], dict[str, Any]]],
) -> tuple[list[tuple[Rule, ...]], dict[str, np.ndarray]]:
    """In one transfer from the device for each kind of product; those that all steps have."""
    keys = set.intersection(*(set(found) for _, found in taken))
    return [rules for rules, _ in taken], {k: _stack([found[k] for _, found in taken]) for k in keys}
