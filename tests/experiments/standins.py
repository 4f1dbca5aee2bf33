"""Stand-ins for what is being written elsewhere; goes away with it."""

import importlib.util
import sys
import types


def install():
    if importlib.util.find_spec("sagescope.agents.explainers") is None:
        module = types.ModuleType("sagescope.agents.explainers")
        module.EXPLAINERS = {"sage": Sage()}
        sys.modules[module.__name__] = module
    if importlib.util.find_spec("sagescope.agents.rules.write") is None:
        module = types.ModuleType("sagescope.agents.rules.write")

        def values(rule):
            return [v for c in rule.clauses for n in c.conditions for v in n.match.values]

        module.firing_texts = lambda rule, n, seed: [
            f"We saw{v} there {i}." for i in range(n) for v in values(rule)
        ][:n]
        module.near_miss_texts = lambda rule, n, seed: [
            f"We saw x{v.strip()} there {i}." for i in range(n) for v in values(rule)
        ][:n]
        sys.modules[module.__name__] = module


class Sage:
    async def explain(self, source, feature, *, mind, budget, seed, record):
        from collections import Counter

        from sagescope.agents import records as r
        from sagescope.agents.rules.language import Clause, Rule, current

        split = source.evidence.reader("explainer").split("explain")
        stats = split.stats(feature)
        count = Counter()
        for e in split.top(feature, 20):
            count[e.tokens[e.peak]] += 1
        tokens = [t for t, _ in count.most_common(3)]
        rule = Rule(
            clauses=(Clause(conditions=(current("token", *tokens),), level=0.9),) if tokens else (),
            unit=stats.typical_max,
        )
        hypothesis = r.Hypothesis(
            id=0, kind="tokens", text=f"the tokens {r.quoted(tokens)}", rule=rule
        )
        record("hypothesis", hypothesis)
        probes, outcomes, right = [], [], [0, 0, 0, 0]
        for i in range(min(budget.probes or 24, 24)):
            fires = i % 2 == 0 and bool(tokens)
            text = f"He wrote{tokens[i % len(tokens)] if fires else ' nothing'} number {i}."
            probe = r.Probe(
                id=i,
                hypothesis=0,
                purpose="should fire" if fires else "near miss",
                text=text,
                fires=fires,
                token=tokens[i % len(tokens)] if fires else None,
            )
            record("probe", probe)
            (found,) = await source.activations(feature, [text])
            fired = bool(found.maximum >= stats.fires_at > 0)
            outcome = r.Outcome(
                probe=i,
                tokens=found.tokens,
                activations=tuple(found.activations.tolist()),
                maximum=found.maximum,
                fired=fired,
                agreed=fired == fires,
            )
            record("outcome", outcome)
            right[0 if fires else 2] += fired == fires
            right[1 if fires else 3] += 1
            probes.append(probe)
            outcomes.append(outcome)
        verdict = r.Verdict(
            hypothesis=0,
            status="confirmed" if right[0] > 3 else "refuted",
            fires_as_predicted=(right[0], right[1]),
            silent_as_predicted=(right[2], right[3]),
            posterior=min((right[0] + 1) / (right[1] + 2), (right[2] + 1) / (right[3] + 2)),
        )
        record("verdict", verdict)
        return r.Conclusion(
            status="concluded",
            explanation=r.Explanation(
                labels=(hypothesis.text,),
                description=f"Fires on {hypothesis.text}.",
                rule=rule,
                coverage=0.5,
            ),
            hypotheses=(hypothesis,),
            probes=tuple(probes),
            outcomes=tuple(outcomes),
            verdicts=(verdict,),
            spent={"probes": len(probes), "seconds": 0.1},
        )
