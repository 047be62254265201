# Lay embeddings of test subjects out in a plane.


rule project:
    input:
        embeddings=paths.embeddings,
        split=paths.split,
    output:
        projection=paths.projection,
    log:
        paths.log("project", "encoder", "channel", "fold"),
    benchmark:
        paths.benchmark("project", "encoder", "channel", "fold")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        code=plan.code("project"),
        cfg=plan.cfg("project"),
    shell:
        """
        python -m somnoflow.commands.project \
            --embeddings {input.embeddings:q} \
            --split {input.split:q} \
            --projection {output.projection:q} \
            --fold {wildcards.fold} \
            --threads {threads} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
