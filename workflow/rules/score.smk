# Predict the stages of validation and test subjects.


rule score:
    input:
        embeddings=paths.embeddings,
        head=paths.head,
        split=paths.split,
    output:
        predictions=paths.predictions,
    log:
        paths.log("score", "channel", "head", "fold"),
    benchmark:
        paths.benchmark("score", "channel", "head", "fold")
    conda:
        "../../envs/somnoflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        code=plan.code("score"),
    shell:
        """
        python -m somnoflow.commands.score \
            --embeddings {input.embeddings:q} \
            --head {input.head:q} \
            --split {input.split:q} \
            --predictions {output.predictions:q} \
            --fold {wildcards.fold} \
            --threads {threads} \
            --log {log:q}
        """
