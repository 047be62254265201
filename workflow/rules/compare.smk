# Put all models into one table, beside what was published.


rule compare:
    input:
        metrics=plan.whole_models(paths.metrics),
        judged=plan.whole_models(paths.metrics_recordings),
        models=plan.models_of_first_fold(),
        recordings=paths.recordings,
        split=paths.split,
    output:
        table=paths.comparison,
        tex=paths.comparison_tex,
        html=paths.comparison_html,
    log:
        paths.log("compare"),
    benchmark:
        paths.benchmark("compare")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=plan.code("compare"),
        cfg=plan.cfg("compare"),
    shell:
        """
        python -m somnoflow.commands.compare \
            --metrics {input.metrics:q} \
            --judged {input.judged:q} \
            --models {input.models:q} \
            --recordings {input.recordings:q} \
            --split {input.split:q} \
            --table {output.table:q} \
            --tex {output.tex:q} \
            --html {output.html:q} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
