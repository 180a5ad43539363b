# Without any cloud: `terraform test`. Providers are mocked, so this shows what would be made, not that a cloud accepts it.

mock_provider "google" {}
mock_provider "google-beta" {}

variables {
  project        = "my-project"
  region         = "us-central1"
  corpus         = "abdomen-ct"
  recipe         = "../../../examples/recipes/spleen.yaml"
  worker_image   = "registry/mdfp-worker@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  source_buckets = ["raw"]
}

run "the_smallest_configuration" {
  command = apply

  assert {
    condition     = length(google_cloud_scheduler_job.run) == 0 && length(google_storage_bucket_object.template) == 0
    error_message = "Neither a schedule nor a template was asked for."
  }
  assert {
    condition = alltrue([
      for b in [google_storage_bucket.corpus, google_storage_bucket.staging, google_storage_bucket.configuration] :
      b.uniform_bucket_level_access && b.public_access_prevention == "enforced" && length(b.name) <= 63
    ])
    error_message = "Every bucket has uniform access, is closed to the public, and has a name that is not too long."
  }
  assert {
    condition = alltrue([
      for r in google_storage_bucket.corpus.lifecycle_rule :
      r.action[0].type == "AbortIncompleteMultipartUpload" || r.condition[0].with_state == "ARCHIVED"
    ])
    error_message = "No rule may delete what lives in the corpus."
  }
  assert {
    condition = length([
      for r in google_storage_bucket.corpus.lifecycle_rule : r
      if r.action[0].type == "AbortIncompleteMultipartUpload" && r.condition[0].age == 3
    ]) == 1
    error_message = "Parts of uploads that were killed go after three days."
  }
}

run "workers_can_neither_replace_nor_delete" {
  command = apply

  assert {
    condition = toset([
      for g in local.bucket_roles : g.role if g.bucket == google_storage_bucket.corpus.name && g.member == local.worker
    ]) == toset(["roles/storage.objectCreator", "roles/storage.objectViewer"])
    error_message = "Workers create and read in the corpus, nothing else."
  }
  assert {
    condition     = alltrue([for g in local.bucket_roles : g.role == "roles/storage.objectViewer" if g.bucket == "raw"])
    error_message = "Sources are only read."
  }
  assert {
    condition = alltrue([
      for g in local.project_roles :
      contains(["roles/dataflow.worker", "roles/dataflow.developer", "roles/serviceusage.serviceUsageConsumer"], g.role)
    ])
    error_message = "In the project nobody has more than starting and being Dataflow's."
  }
}

run "a_schedule_and_a_template" {
  command = apply

  variables {
    launcher_image = "registry/mdfp-launcher@sha256:1111111111111111111111111111111111111111111111111111111111111111"
    schedule       = "0 3 * * *"
    launch_build   = true
  }

  assert {
    condition     = google_cloud_scheduler_job.run[0].schedule == "0 3 * * *"
    error_message = "The run is scheduled."
  }
  assert {
    condition     = jsondecode(google_storage_bucket_object.template[0].content).defaultEnvironment.ipConfiguration == "WORKER_IP_PRIVATE"
    error_message = "Workers of the template have private addresses only."
  }
  assert {
    condition     = jsondecode(google_storage_bucket_object.template[0].content).metadata.parameters[0].name == "recipe"
    error_message = "The template describes its parameters."
  }
  assert {
    condition     = google_dataflow_flex_template_job.build[0].sdk_container_image == var.worker_image
    error_message = "Workers run the worker image."
  }
}

run "a_tag_is_no_image" {
  command         = plan
  expect_failures = [var.worker_image]
  variables { worker_image = "registry/mdfp-worker:latest" }
}

run "an_arm_machine_cannot_run_the_kernels" {
  command         = plan
  expect_failures = [var.machine_type]
  variables { machine_type = "t2a-standard-8" }
}

run "a_job_needs_a_launcher" {
  command         = plan
  expect_failures = [var.launch_build]
  variables { launch_build = true }
}
