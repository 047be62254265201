"""From overnight recordings to sleep models, honest evaluations and a report."""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


# The package beside this file; every job reads this, so nothing heavy is imported.
sys.path.insert(0, f"{workflow.basedir}/src")
from somnoflow.config.supervised import SUPERVISED
from somnoflow.one_workflow import ResultsLock
from somnoflow.plan import Plan, growing
from somnoflow.software import take_software

software = take_software(
    config,
    methods={str(way) for way in workflow.deployment_settings.deployment_method},
)
plan = Plan(config, datasets=Path(workflow.basedir) / "workflow" / "datasets")
paths = plan.paths
lock = ResultsLock(plan.config.results)


container: software.image


# Snakemake calls these for a run that has jobs, and in its main process alone.
onstart:
    lock.take()


onsuccess:
    lock.release()


onerror:
    lock.release()


wildcard_constraints:
    dataset=r"[A-Za-z0-9_-]+",
    shard=r"\d+",
    fold=r"\d+",
    channel=r"[A-Za-z0-9_]+",
    encoder=r"neuronet(-[a-z0-9]+)?|unimodal|synthsleepnet|features|yasa|majority|"
    + "|".join(SUPERVISED),
    table=r"[a-z0-9_]+",
    head=r"[a-z0-9_]+",
    tuning=r"partial|full|scratch|lora",
    method=r"[a-z0-9_-]+",
    task=r"staging|apnea|hypopnea|respiratory",
    labels=r"[a-z0-9.-]+",


include: "workflow/rules/simulate.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/check.smk"
include: "workflow/rules/parse.smk"
include: "workflow/rules/index.smk"
include: "workflow/rules/pack.smk"
include: "workflow/rules/split.smk"
include: "workflow/rules/subset.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/fuse.smk"
include: "workflow/rules/embed.smk"
include: "workflow/rules/project.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/head.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/baselines.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/ablate.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/explain.smk"
include: "workflow/rules/bundle.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        paths.report,
        plan.bundles(),


rule data:
    input:
        plan.all_shards(paths.packed_index),
        paths.split,


rule pretrained:
    input:
        plan.all_encoders(paths.encoder),
