# Without any cloud: `terraform test`. The provider is mocked.

mock_provider "aws" {}

variables {
  region         = "eu-central-1"
  bucket         = "my-corpora"
  source_buckets = ["raw"]
}

run "workers_can_neither_replace_nor_delete" {
  command = apply

  assert {
    condition = !anytrue([
      for s in jsondecode(aws_iam_policy.worker.policy).Statement : contains(s.Action, "s3:DeleteObject")
    ])
    error_message = "Workers never delete."
  }
  assert {
    condition = alltrue([
      for s in jsondecode(aws_iam_policy.worker.policy).Statement : can(s.Condition) if contains(s.Action, "s3:PutObject")
    ])
    error_message = "Whatever workers put, they put create-only."
  }
}

run "parts_of_killed_uploads_go_after_three_days" {
  command = apply

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.corpus.rule[0].abort_incomplete_multipart_upload[0].days_after_initiation == 3
    error_message = "Parts go after three days."
  }
  assert {
    condition     = !anytrue([for r in aws_s3_bucket_lifecycle_configuration.corpus.rule : length(try(r.expiration, [])) > 0])
    error_message = "No rule may delete what lives in the corpus."
  }
}

run "a_url_is_no_name_of_a_bucket" {
  command         = plan
  expect_failures = [var.bucket]
  variables { bucket = "s3://corpora" }
}
