# Train a head on the embeddings of labelled subjects.


rule head:
    input:
        embeddings=paths.embeddings,
        split=paths.split,
        labels=paths.labels,
    output:
        head=paths.head,
        training=paths.head_training,
    log:
        paths.log("head", "encoder", "channel", "head", "task", "labels", "fold"),
    benchmark:
        paths.benchmark("head", "encoder", "channel", "head", "task", "labels", "fold")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        code=plan.code("head"),
        cfg=plan.cfg("head"),
        resume=paths.resume,
    shell:
        """
        python -m somnoflow.commands.head \
            --embeddings {input.embeddings:q} \
            --split {input.split:q} \
            --labels {input.labels:q} \
            --head {output.head:q} \
            --training {output.training:q} \
            --resume {params.resume:q} \
            --name {wildcards.encoder}/{wildcards.channel}/{wildcards.head}/task={wildcards.task}/labels={wildcards.labels} \
            --fold {wildcards.fold} \
            --threads {threads} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
