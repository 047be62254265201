# Take a table of precomputed features for an encoder's embeddings.


rule features:
    input:
        table=plan.table,
        packed=plan.all_shards(paths.packed_index),
        split=paths.split,
    output:
        index=paths.features,
    log:
        paths.log("features", "table", "fold"),
    benchmark:
        paths.benchmark("features", "table", "fold")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        code=plan.code("features"),
        cfg=plan.cfg("features"),
    shell:
        """
        python -m somnoflow.commands.features \
            --table {input.table:q} \
            --packed {input.packed:q} \
            --split {input.split:q} \
            --index {output.index:q} \
            --fold {wildcards.fold} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
