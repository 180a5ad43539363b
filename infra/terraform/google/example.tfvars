project = "my-project"
region  = "us-central1"
corpus  = "abdomen-ct"
recipe  = "../../../examples/recipes/spleen.yaml"

worker_image   = "us-central1-docker.pkg.dev/my-project/mdfp-abdomen-ct/mdfp-worker@sha256:0000000000000000000000000000000000000000000000000000000000000000"
launcher_image = "us-central1-docker.pkg.dev/my-project/mdfp-abdomen-ct/mdfp-launcher@sha256:0000000000000000000000000000000000000000000000000000000000000000"

source_buckets = ["my-raw-data"]
schedule       = "0 3 * * *"
labels         = { team = "imaging" }
