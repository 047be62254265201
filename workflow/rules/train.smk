# Train a supervised model on labelled signals: DeepSleepNet, TinySleepNet, SE-ResNet-BiLSTM.


rule train:
    input:
        packed=plan.all_shards(paths.packed_index),
        split=paths.split,
        labels=paths.labels,
    output:
        model=paths.trained,
        training=paths.trained_training,
    log:
        paths.log("train", "encoder", "channel", "method", "task", "labels", "fold"),
    benchmark:
        paths.benchmark(
            "train", "encoder", "channel", "method", "task", "labels", "fold"
        )
    wildcard_constraints:
        encoder="|".join(SUPERVISED),
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(1440),
        gpu=1,
    params:
        code=plan.code("train"),
        cfg=plan.cfg("train"),
        resume=paths.resume,
        tensorboard=paths.tensorboard,
    shell:
        """
        python -m somnoflow.commands.train \
            --packed {input.packed:q} \
            --split {input.split:q} \
            --labels {input.labels:q} \
            --model {output.model:q} \
            --training {output.training:q} \
            --resume {params.resume:q} \
            --tensorboard {params.tensorboard:q} \
            --name {wildcards.encoder}/{wildcards.channel}/{wildcards.method}/task={wildcards.task}/labels={wildcards.labels} \
            --fold {wildcards.fold} \
            --gpus {resources.gpu} \
            --threads {threads} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
