# Put each model of the first fold into a bundle that `somnoflow score` takes.


rule bundle:
    input:
        model=plan.bundled_model,
        predictions=plan.bundled_predictions,
        metrics=paths.metrics,
        calibration=paths.calibration,
        labels=plan.bundled_labels,
        split=paths.split,
    output:
        bundle=paths.bundle,
    log:
        paths.log("bundle", "encoder", "channel", "method", "task", "labels"),
    benchmark:
        paths.benchmark("bundle", "encoder", "channel", "method", "task", "labels")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=plan.code("bundle"),
        cfg=plan.cfg("bundle"),
    shell:
        """
        python -m somnoflow.commands.bundle \
            --model {input.model:q} \
            --predictions {input.predictions:q} \
            --metrics {input.metrics:q} \
            --calibration {input.calibration:q} \
            --labels {input.labels:q} \
            --split {input.split:q} \
            --bundle {output.bundle:q} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
