# Train a probe on the embeddings of labelled subjects.


rule head:
    input:
        embeddings=paths.embeddings,
        split=paths.split,
    output:
        head=paths.head,
        training=paths.head_training,
    log:
        paths.log("head", "channel", "head", "fold"),
    benchmark:
        paths.benchmark("head", "channel", "head", "fold")
    conda:
        "../../envs/somnoflow.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        code=plan.code("head"),
        cfg=plan.cfg("head"),
    shell:
        """
        python -m somnoflow.commands.head \
            --embeddings {input.embeddings:q} \
            --split {input.split:q} \
            --head {output.head:q} \
            --training {output.training:q} \
            --fold {wildcards.fold} \
            --threads {threads} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
