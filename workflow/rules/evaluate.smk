# Compare predictions with the experts' labels on test subjects: stages, or respiratory events.


rule evaluate:
    input:
        predictions=plan.judged,
    output:
        metrics=paths.metrics,
        recordings=paths.metrics_recordings,
        calibration=paths.calibration,
    log:
        paths.log("evaluate", "encoder", "channel", "method", "task", "labels"),
    benchmark:
        paths.benchmark("evaluate", "encoder", "channel", "method", "task", "labels")
    wildcard_constraints:
        task="staging",
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=plan.code("evaluate"),
        cfg=plan.cfg("evaluate"),
    shell:
        """
        python -m somnoflow.commands.evaluate \
            --predictions {input.predictions:q} \
            --metrics {output.metrics:q} \
            --recordings {output.recordings:q} \
            --calibration {output.calibration:q} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """


rule evaluate_events:
    input:
        predictions=plan.judged,
        cohort=paths.recordings,
    output:
        metrics=paths.metrics,
        recordings=paths.metrics_recordings,
        calibration=paths.calibration,
    log:
        paths.log("evaluate_events", "encoder", "channel", "method", "task", "labels"),
    benchmark:
        paths.benchmark(
            "evaluate_events", "encoder", "channel", "method", "task", "labels"
        )
    wildcard_constraints:
        task="apnea|hypopnea|respiratory",
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=plan.code("evaluate_events"),
        cfg=plan.cfg("evaluate_events"),
    shell:
        """
        python -m somnoflow.commands.evaluate_events \
            --predictions {input.predictions:q} \
            --cohort {input.cohort:q} \
            --metrics {output.metrics:q} \
            --recordings {output.recordings:q} \
            --calibration {output.calibration:q} \
            --task {wildcards.task} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
