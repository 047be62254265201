# Write the simulated nights of one shard.


rule simulate:
    output:
        manifest=paths.raw_manifest.replace("{dataset}", "simulated"),
    log:
        paths.log("simulate", "shard"),
    benchmark:
        paths.benchmark("simulate", "shard")
    conda:
        "../../envs/somnoflow.yaml"
    envmodules:
        *software.modules,
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        code=plan.code("simulate"),
        cfg=plan.cfg("simulate"),
        folder=plan.raw_folder,
    shell:
        """
        python -m somnoflow.commands.simulate \
            --manifest {output.manifest:q} \
            --folder {params.folder:q} \
            --cfg {params.cfg:q} \
            --log {log:q}
        """


ruleorder: simulate > fetch
