# Cut the recordings of one shard into epochs.


rule parse:
    input:
        checked=paths.checked,
    output:
        part=paths.part,
        index=paths.part_index,
    log:
        paths.log("parse", "dataset", "shard"),
    benchmark:
        paths.benchmark("parse", "dataset", "shard")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        code=plan.code("parse"),
        cfg=plan.cfg("parse"),
    shell:
        """
        python -m somnoflow.commands.parse \
            --checked {input.checked:q} \
            --part {output.part:q} \
            --index {output.index:q} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
