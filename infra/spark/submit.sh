#!/usr/bin/env bash
# Build the shards of the newest plan on a Spark cluster, as a jar for spark-submit.
#   bash infra/spark/submit.sh MASTER recipe=URL [NAME=VALUE …] [-- SPARK-SUBMIT-OPTION …]
# MASTER is spark://host:7077, k8s://https://host:443 or local[2]. NAME=VALUE are the arguments of `python -m pipelines.submit`
# (recipe, out, roots, retries, rebuild). Before: `python -m pipelines inventory` and `plan`; afterwards `python -m pipelines run`,
# which publishes. In the environment: SPARK_HOME (the cluster's own version of Spark), and optionally JOB_SERVER_JAR,
# JAR (where the job's jar goes) and PYTHON. Executors look for the jar at that very path first: on a cluster of several
# machines give JAR in a folder that all of them see.
#
# Who has a machine that reaches the cluster's ports needs no jar: python -m pipelines run RECIPE --runner spark --
# --spark_master_url=spark://host:7077
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
master=$1
shift
parameters=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  parameters+=("--$1")
  shift
done
[ $# -gt 0 ] && shift

python=${PYTHON:-$checkout/.venv/bin/python}
jar=${JAR:-$(mktemp -d)/mdfp-build.jar}
export PYTHONPATH=$checkout PYTHONSAFEPATH=1
server=${JOB_SERVER_JAR:-$("$python" -c 'from pipelines.engines.artifacts import SPARK_JOB_SERVER; print(SPARK_JOB_SERVER.require())')}

# Executors find a worker pool beside them: `python -m pipelines.engines.pool --port 50000`, from the worker image.
"$python" -m pipelines.submit "${parameters[@]}" \
  --runner=SparkRunner --spark_job_server_jar="$server" --output_executable_path="$jar" \
  --environment_type=EXTERNAL --environment_config=localhost:50000 --environment_cache_millis=600000

# On the class paths the jar comes before what Spark brings: its older Guava would be found first otherwise. Spark's own
# option for that, userClassPathFirst, loads some classes twice, which ends in a NullPointerException.
exec "$SPARK_HOME/bin/spark-submit" --master "$master" --properties-file "$here/spark-defaults.conf" \
  --driver-class-path "$jar" --conf spark.executor.extraClassPath="$jar" \
  --class org.apache.beam.runners.spark.SparkPipelineRunner "$@" "$jar"
