# Score the stages with every subset of a fusion's modalities.


rule ablate:
    input:
        encoder=paths.fused,
        head=plan.ablated_head,
        packed=plan.all_shards(paths.packed_index),
        split=paths.split,
    output:
        counts=paths.ablated,
    log:
        paths.log("ablate", "channel", "fold"),
    benchmark:
        paths.benchmark("ablate", "channel", "fold")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(720),
        gpu=1,
    params:
        code=plan.code("ablate"),
        cfg=plan.cfg("ablate"),
    shell:
        """
        python -m somnoflow.commands.ablate \
            --encoder {input.encoder:q} \
            --head {input.head:q} \
            --packed {input.packed:q} \
            --split {input.split:q} \
            --counts {output.counts:q} \
            --fold {wildcards.fold} \
            --gpus {resources.gpu} \
            --threads {threads} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """


rule evaluate_ablation:
    input:
        counts=plan.ablated,
    output:
        metrics=paths.ablation,
    log:
        paths.log("evaluate_ablation", "channel"),
    benchmark:
        paths.benchmark("evaluate_ablation", "channel")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=plan.code("evaluate_ablation"),
        cfg=plan.cfg("evaluate_ablation"),
    shell:
        """
        python -m somnoflow.commands.evaluate_ablation \
            --counts {input.counts:q} \
            --metrics {output.metrics:q} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
