# Pack one shard for random access in training.


rule pack:
    input:
        part_index=paths.part_index,
        part=ancient(paths.part),
    output:
        signals=paths.packed_signals,
        epochs=paths.packed_epochs,
        index=paths.packed_index,
    log:
        paths.log("pack", "dataset", "shard"),
    benchmark:
        paths.benchmark("pack", "dataset", "shard")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        code=plan.code("pack"),
        cfg=plan.cfg("pack"),
    shell:
        """
        python -m somnoflow.commands.pack \
            --part-index {input.part_index:q} \
            --signals {output.signals:q} \
            --epochs {output.epochs:q} \
            --index {output.index:q} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
