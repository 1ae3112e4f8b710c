"""Campaign: varied fits of every kind, each claim held against networks that are known.

``--only 137`` runs one case again and describes it. Fails where a proof is violated, an
objective is not that of the weights, something is not finite, a status disagrees with
the warnings, anything but a refusal is raised, or too many estimated bounds are above
the objective of a known network by half a tolerance.
"""

import argparse
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

import numpy as np

from benchmarks.campaign.audit import run
from benchmarks.campaign.cases import draw
from benchmarks.report import markdown, publish

COUNT, SEED = 650, 0  # cases of three fits on average
ALLOWED = 1e-3  # share of estimated bounds above the evidence by half a tolerance
OTHERS = "status", "warning", "crash"
N_SLOWEST = 10


def main():
    """Run the cases, publish the report, fail where a promise is broken."""
    options = parse()
    indices = options.only or range(options.start, options.start + options.count)
    outcomes = []
    for outcome in outcomes_of([draw(options.seed, i) for i in indices], options.jobs):
        outcomes.append(outcome)
        tell(outcome, len(outcomes), options.only)
    outcomes.sort(key=lambda outcome: outcome.case.index)
    whole = not options.only and (options.start, options.count) == (0, COUNT)
    publish("campaign", "Campaign", report(outcomes), not whole or options.seed != SEED)
    raise SystemExit(bool(violations(outcomes)) or too_many(outcomes))


def parse():
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help="of all cases")
    parser.add_argument("--start", type=int, default=0, help="first index")
    parser.add_argument("--count", type=int, default=COUNT, help="number of cases")
    parser.add_argument("--only", type=int, nargs="+", metavar="INDEX")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    return parser.parse_args()


def outcomes_of(cases, jobs):
    """Yield the outcomes of cases as they come."""
    if jobs == 1 or len(cases) == 1:
        yield from map(run, cases)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(run, case) for case in cases]):
            yield future.result()


def tell(outcome, n_done, in_full):
    """Print what was found, and now and then how far the campaign is."""
    if in_full:
        print(f"{outcome.case.index}: {outcome.case.describe()}")
        print(
            f"  {outcome.n_fits} fits, {outcome.seconds:.2f} s", outcome.refused or ""
        )
    for finding in outcome.findings:
        print(line(outcome, finding), flush=True)
    if n_done % 100 == 0:
        print(f"{n_done} cases", flush=True)


def line(outcome, finding):
    """Return a finding in one line, with what shows it again."""
    case = outcome.case
    seed = "" if case.seed == SEED else f" --seed {case.seed}"
    return (
        f"- {finding.kind}, {case.features}, {case.loss} {case.targets}, {case.mode}: "
        f"{finding.text} (`python -m benchmarks.campaign --only {case.index}{seed}`)"
    )


def violations(outcomes):
    """Return the lines of findings that must not be."""
    return [line for kind, line in lines(outcomes) if kind != "priced"]


def lines(outcomes):
    """Return kinds and lines of all findings."""
    return [(found.kind, line(o, found)) for o in outcomes for found in o.findings]


def excesses(outcomes, kind="excesses"):
    """Return by how many tolerances estimated bounds are too high.

    Of the kind "beyond" less what their certificates allow for.
    """
    return np.array([excess for o in outcomes for excess in getattr(o, kind)])


def beyond(outcomes):
    """Return how many estimates are far above what their certificates allow for."""
    return int((excesses(outcomes, "beyond") > 0.5).sum())


def too_many(outcomes):
    """Tell whether more estimates are far above the evidence than may be."""
    found = excesses(outcomes)
    return int((found > 0.5).sum()) > ALLOWED * len(found)


def report(outcomes):
    """Return the report as Markdown."""
    found = excesses(outcomes)
    far = int((found > 0.5).sum())
    share = far / max(len(found), 1)
    broken = violations(outcomes)
    estimates = [text for kind, text in lines(outcomes) if kind == "priced"]
    parts = [
        f"Of {len(found)} estimated bounds {far} ({share:.2%}) are above the objective "
        "of a known network by more than half a tolerance, "
        f"{beyond(outcomes)} beyond the resolution that their "
        f"certificates state. Proofs and other promises violated: {len(broken)}.",
        f"## By features\n\n{table(outcomes, 'features')}",
        f"## By mode\n\n{table(outcomes, 'mode')}",
        f"## By loss\n\n{table(outcomes, 'loss')}",
        "## Violations\n\n" + ("\n".join(broken) or "None."),
        "## Estimates above the evidence\n\n" + ("\n".join(estimates) or "None."),
        f"## Refusals\n\n{refusals(outcomes)}",
        f"## Slowest cases\n\n{slowest(outcomes)}",
    ]
    return "\n\n".join(parts)


def table(outcomes, attribute):
    """Return the counts for every value of an attribute of the cases."""
    groups = {}
    for outcome in outcomes:
        groups.setdefault(getattr(outcome.case, attribute), []).append(outcome)
    rows = [{attribute: name} | counts(groups[name]) for name in sorted(groups)]
    return markdown([*rows, {attribute: "all"} | counts(outcomes)])


def counts(outcomes):
    """Return one row of a table."""
    kinds = Counter(found.kind for o in outcomes for found in o.findings)
    found = excesses(outcomes)
    return {
        "cases": len(outcomes),
        "refused": sum(o.refused is not None for o in outcomes),
        "fits": sum(o.n_fits for o in outcomes),
        "not converged, warned": sum(o.not_converged for o in outcomes),
        "proofs": sum(o.n_proofs for o in outcomes),
        "violated": kinds["proof"],
        "estimates": len(found),
        "above by > 0.1 tol": int((found > 0.1).sum()),
        "> 0.5": int((found > 0.5).sum()),
        "> 1": int((found > 1.0).sum()),
        "worst": float(found.max(initial=0.0)),
        "> 0.5 beyond resolution": beyond(outcomes),
        "objective wrong": kinds["objective"],
        "not finite": kinds["non-finite"],
        "status, warnings, errors": sum(kinds[kind] for kind in OTHERS),
        "given up": sum(o.over_time for o in outcomes),
        "s a case": float(np.mean([o.seconds for o in outcomes])),
    }


def refusals(outcomes):
    """Return a table of what was refused, numbers left out."""
    texts = Counter(
        re.sub(r"\d[\d.e+-]*", "#", o.refused) for o in outcomes if o.refused
    )
    rows = [{"cases": n, "message": text} for text, n in texts.most_common()]
    return markdown(rows) if rows else "None."


def slowest(outcomes):
    """Return a table of the cases that took longest."""
    ordered = sorted(outcomes, key=lambda outcome: -outcome.seconds)[:N_SLOWEST]
    return markdown(
        [
            {
                "index": o.case.index,
                "s": o.seconds,
                "not converged": o.not_converged,
                "case": o.case.describe(),
            }
            for o in ordered
        ]
    )


if __name__ == "__main__":
    main()
