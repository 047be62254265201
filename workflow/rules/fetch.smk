# Bring the files of one shard here.


rule fetch:
    output:
        shard_manifest=paths.raw_manifest,
    log:
        paths.log("fetch", "dataset", "shard"),
    benchmark:
        paths.benchmark("fetch", "dataset", "shard")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 4
    resources:
        mem_mb=growing(500),
        runtime=growing(720),
        mb_per_s=0,
    params:
        code=plan.code("fetch"),
        cfg=plan.cfg("fetch"),
        manifest=plan.manifest,
        folder=plan.raw_folder,
    shell:
        """
        python -m somnoflow.commands.fetch \
            --manifest {params.manifest:q} \
            --folder {params.folder:q} \
            --shard-manifest {output.shard_manifest:q} \
            --threads {threads} \
            --mb-per-s {resources.mb_per_s} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """
