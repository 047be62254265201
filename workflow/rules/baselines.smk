# Baselines: YASA's features and its own stager, and the majority class.


rule yasa:
    input:
        part_index=paths.part_index,
        part=ancient(paths.part),
    output:
        features=paths.yasa,
    log:
        paths.log("yasa", "channel", "dataset", "shard"),
    benchmark:
        paths.benchmark("yasa", "channel", "dataset", "shard")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        code=plan.code("yasa"),
        cfg=plan.cfg("yasa"),
    shell:
        """
        python -m somnoflow.commands.yasa \
            --part-index {input.part_index:q} \
            --features {output.features:q} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """


rule embed_yasa:
    input:
        features=plan.yasa,
        packed=plan.all_shards(paths.packed_index),
    output:
        index=paths.embeddings.replace("{encoder}", "yasa"),
    log:
        paths.log("embed_yasa", "channel", "fold"),
    benchmark:
        paths.benchmark("embed_yasa", "channel", "fold")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=plan.code("embed_yasa"),
        cfg=plan.cfg("embed_yasa"),
    shell:
        """
        python -m somnoflow.commands.embed_yasa \
            --features {input.features:q} \
            --packed {input.packed:q} \
            --index {output.index:q} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """


rule score_yasa:
    input:
        features=plan.yasa,
        split=paths.split,
    output:
        predictions=paths.predictions.replace("{encoder}", "yasa").replace(
            "{method}", "stager"
        ),
    log:
        paths.log("score_yasa", "channel", "task", "labels", "fold"),
    benchmark:
        paths.benchmark("score_yasa", "channel", "task", "labels", "fold")
    wildcard_constraints:
        task="staging",
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=plan.code("score_yasa"),
        cfg=plan.cfg("score_yasa"),
    shell:
        """
        python -m somnoflow.commands.score_yasa \
            --features {input.features:q} \
            --split {input.split:q} \
            --predictions {output.predictions:q} \
            --fold {wildcards.fold} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """


rule score_majority:
    input:
        packed=plan.all_shards(paths.packed_index),
        split=paths.split,
        labels=paths.labels,
    output:
        predictions=paths.predictions.replace("{encoder}", "majority"),
    log:
        paths.log("score_majority", "channel", "method", "task", "labels", "fold"),
    benchmark:
        paths.benchmark("score_majority", "channel", "method", "task", "labels", "fold")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        code=plan.code("score_majority"),
        cfg=plan.cfg("score_majority"),
    shell:
        """
        python -m somnoflow.commands.score_majority \
            --packed {input.packed:q} \
            --split {input.split:q} \
            --labels {input.labels:q} \
            --predictions {output.predictions:q} \
            --fold {wildcards.fold} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
