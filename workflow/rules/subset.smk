# Draw the labels that heads may see: all, or a share by subject or by epoch.


rule subset:
    input:
        packed=plan.all_shards(paths.packed_index),
        split=paths.split,
    output:
        labels=paths.labels,
        counts=paths.labels_counts,
    log:
        paths.log("subset", "task", "labels", "fold"),
    benchmark:
        paths.benchmark("subset", "task", "labels", "fold")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        code=plan.code("subset"),
        cfg=plan.cfg("subset"),
    shell:
        """
        python -m somnoflow.commands.subset \
            --packed {input.packed:q} \
            --split {input.split:q} \
            --labels {output.labels:q} \
            --counts {output.counts:q} \
            --fold {wildcards.fold} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
