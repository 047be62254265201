# Compare predictions with the experts' labels on test subjects.


rule evaluate:
    input:
        predictions=plan.judged,
    output:
        metrics=paths.metrics,
        recordings=paths.metrics_recordings,
    log:
        paths.log("evaluate", "encoder", "channel", "method", "labels"),
    benchmark:
        paths.benchmark("evaluate", "encoder", "channel", "method", "labels")
    conda:
        "../../envs/somnoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=plan.code("evaluate"),
        cfg=plan.cfg("evaluate"),
    shell:
        """
        python -m somnoflow.commands.evaluate \
            --predictions {input.predictions:q} \
            --metrics {output.metrics:q} \
            --recordings {output.recordings:q} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
