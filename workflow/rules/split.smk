# Deal the subjects into folds and roles.


rule split:
    input:
        index=paths.index,
    output:
        split=paths.split,
    log:
        paths.log("split"),
    benchmark:
        paths.benchmark("split")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        code=plan.code("split"),
        cfg=plan.cfg("split"),
    shell:
        """
        python -m somnoflow.commands.split \
            --index {input.index:q} \
            --split {output.split:q} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
