# Show where in some test epochs a model finds its stage.


rule explain:
    input:
        packed=plan.all_shards(paths.packed_index),
        predictions=paths.predictions,
        model=plan.explained_model,
    output:
        explanation=paths.explanation,
    log:
        paths.log("explain", "encoder", "channel", "method", "task", "labels", "fold"),
    benchmark:
        paths.benchmark(
            "explain", "encoder", "channel", "method", "task", "labels", "fold"
        )
    wildcard_constraints:
        task="staging",
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        code=plan.code("explain"),
        cfg=plan.cfg("explain"),
    shell:
        """
        python -m somnoflow.commands.explain \
            --packed {input.packed:q} \
            --predictions {input.predictions:q} \
            --model {input.model:q} \
            --explanation {output.explanation:q} \
            --threads {threads} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
