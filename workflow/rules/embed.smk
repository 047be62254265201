# Give every usable epoch its embedding from the frozen encoder.


rule embed:
    input:
        encoder=paths.encoder,
        packed=plan.all_shards(paths.packed_index),
    output:
        index=paths.embeddings,
    log:
        paths.log("embed", "encoder", "channel", "fold"),
    benchmark:
        paths.benchmark("embed", "encoder", "channel", "fold")
    wildcard_constraints:
        encoder=r"neuronet(-[a-z0-9]+)?|unimodal|synthsleepnet",
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
        code=plan.code("embed"),
        cfg=plan.cfg("embed"),
    shell:
        """
        python -m somnoflow.commands.embed \
            --encoder {input.encoder:q} \
            --packed {input.packed:q} \
            --index {output.index:q} \
            --gpus {resources.gpu} \
            --threads {threads} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
