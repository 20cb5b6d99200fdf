# The environment workers need, in one place for both ways of starting them:
#   sbatch/worker.sbatch sources it (HPCPIPE_ENV names another file), and so do arrays that
#   hpcpipe submits itself, with this line in your conf/site/NAME.yaml:
#     setup: ["source /path/to/sbatch/env.sh"]
# Uncomment and change what your cluster needs.

# module load python/3.11
# source /path/to/venv/bin/activate
# export HPCPIPE_PYTHON="apptainer exec /path/to/image.sif python"  # for worker.sbatch
# export HF_HOME=/scratch/$USER/huggingface

# one thread each for libraries that would start as many as the node has cores
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}"
