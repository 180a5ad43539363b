region         = "eu-central-1"
bucket         = "my-corpora"
source_buckets = ["my-raw-data"]
