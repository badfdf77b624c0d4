"""Solves search instances with native HiGHS and CBC; prints one JSON line of milliseconds of CPU time.

pip install highspy pulp
usage: search_peers.py INSTANCES.json TIME_LIMIT_SECONDS
"""

import json
import resource
import sys
import time

import highspy
import numpy as np
import pulp


def rows_of(problem):
    return [
        (r, limit["upper"] - limit["fixed"])
        for r, limit in enumerate(problem["resources"])
        if "upper" in limit
    ]


def solve_highs(problem, seconds):
    h = highspy.Highs()
    h.setOptionValue("output_flag", False)
    h.setOptionValue("mip_rel_gap", 0.0)
    h.setOptionValue("mip_abs_gap", 0.0)
    h.setOptionValue("time_limit", seconds)
    columns = [(g, a) for g, group in enumerate(problem["groups"]) for a in group["alternatives"]]
    for _, alternative in columns:
        h.addVar(0.0, 1.0)
    n = len(columns)
    h.changeColsCost(n, np.arange(n, dtype=np.int32), np.array([a["score"] for _, a in columns]))
    h.changeColsIntegrality(n, np.arange(n, dtype=np.int32), np.full(n, highspy.HighsVarType.kInteger))
    at = 0
    for group in problem["groups"]:
        k = len(group["alternatives"])
        h.addRow(1.0, 1.0, k, np.arange(at, at + k, dtype=np.int32), np.ones(k))
        at += k
    for r, upper in rows_of(problem):
        scale = 1000.0 / max(a["uses"][r] for _, a in columns)
        values = np.array([a["uses"][r] * scale for _, a in columns])
        h.addRow(-highspy.kHighsInf, upper * scale, n, np.arange(n, dtype=np.int32), values)
    start = time.process_time()
    h.run()
    return (time.process_time() - start) * 1e3, h.getInfo().objective_function_value


def solve_cbc(problem, seconds):
    model = pulp.LpProblem("search", pulp.LpMinimize)
    x = [
        [pulp.LpVariable(f"x{g}_{j}", cat="Binary") for j in range(len(group["alternatives"]))]
        for g, group in enumerate(problem["groups"])
    ]
    every = [
        (x[g][j], a) for g, group in enumerate(problem["groups"]) for j, a in enumerate(group["alternatives"])
    ]
    model += pulp.lpSum(a["score"] * v for v, a in every)
    for own in x:
        model += pulp.lpSum(own) == 1
    for r, upper in rows_of(problem):
        scale = 1000.0 / max(a["uses"][r] for _, a in every)
        model += pulp.lpSum(a["uses"][r] * scale * v for v, a in every) <= upper * scale
    start = child_seconds()
    model.solve(pulp.PULP_CBC_CMD(msg=False, gapRel=0, timeLimit=seconds))
    return (child_seconds() - start) * 1e3


def child_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main():
    instances = json.load(open(sys.argv[1]))
    seconds = float(sys.argv[2])
    highs = [solve_highs(problem, seconds) for problem in instances]
    cbc = [solve_cbc(problem, seconds) for problem in instances]
    print(json.dumps({"highs": [t for t, _ in highs], "cbc": cbc, "values": [v for _, v in highs]}))


main()
