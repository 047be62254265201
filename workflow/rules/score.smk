# Predict stages or events of validation and test subjects, from embeddings or from signals.


rule score:
    input:
        embeddings=paths.embeddings,
        head=paths.head,
        split=paths.split,
    output:
        predictions=plan.predictions_of("{head}"),
    log:
        paths.log("score", "encoder", "channel", "head", "task", "labels", "fold"),
    benchmark:
        paths.benchmark("score", "encoder", "channel", "head", "task", "labels", "fold")
    wildcard_constraints:
        encoder=r"neuronet(-[a-z0-9]+)?|unimodal|synthsleepnet|features|yasa",
        head=r"(?!stager)[a-z0-9_]+",
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        code=plan.code("score"),
        cfg=plan.cfg("score"),
    shell:
        """
        python -m somnoflow.commands.score \
            --embeddings {input.embeddings:q} \
            --head {input.head:q} \
            --split {input.split:q} \
            --predictions {output.predictions:q} \
            --fold {wildcards.fold} \
            --threads {threads} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """


rule score_tuned:
    input:
        packed=plan.all_shards(paths.packed_index),
        model=paths.trained,
        split=paths.split,
    output:
        predictions=paths.predictions,
    log:
        paths.log(
            "score_tuned", "encoder", "channel", "method", "task", "labels", "fold"
        ),
    benchmark:
        paths.benchmark(
            "score_tuned", "encoder", "channel", "method", "task", "labels", "fold"
        )
    wildcard_constraints:
        method=r"(partial|full|scratch|lora)-[a-z0-9_]+|published|plain|weights|oversampling",
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
        gpu=1,
    params:
        code=plan.code("score_tuned"),
        cfg=plan.cfg("score_tuned"),
    shell:
        """
        python -m somnoflow.commands.score_tuned \
            --packed {input.packed:q} \
            --model {input.model:q} \
            --split {input.split:q} \
            --predictions {output.predictions:q} \
            --fold {wildcards.fold} \
            --gpus {resources.gpu} \
            --threads {threads} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
