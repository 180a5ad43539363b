# The Flex Template: its specification in the bucket, and, when asked for, one job of it.

locals {
  temporary = "gs://${google_storage_bucket.staging.name}/temporary"
  staging   = "gs://${google_storage_bucket.staging.name}/staging"
  corpus    = "gs://${google_storage_bucket.corpus.name}/${var.corpus}"

  specification = merge(
    jsondecode(templatefile("${path.module}/../../dataflow/container_spec.json", {
      launcher_image   = coalesce(var.launcher_image, "none")
      worker_image     = var.worker_image
      service_account  = google_service_account.worker.email
      subnetwork       = local.subnetwork
      temp_location    = local.temporary
      staging_location = local.staging
      machine_type     = var.machine_type
      max_workers      = var.max_workers
      max_seconds      = var.max_hours * 3600
      corpus           = var.corpus
    })),
    { metadata = jsondecode(file("${path.module}/../../dataflow/metadata.json")) },
  )
}

resource "google_storage_bucket_object" "template" {
  count = var.launcher_image == null ? 0 : 1

  bucket       = google_storage_bucket.configuration.name
  name         = "templates/mdfp-build.json"
  content      = jsonencode(local.specification)
  content_type = "application/json"
}

resource "google_dataflow_flex_template_job" "build" {
  provider = google-beta
  count    = var.launch_build ? 1 : 0

  name                    = "${local.name}-build"
  region                  = var.region
  container_spec_gcs_path = "gs://${google_storage_bucket.configuration.name}/${google_storage_bucket_object.template[0].name}"
  service_account_email   = google_service_account.worker.email
  subnetwork              = local.subnetwork
  ip_configuration        = "WORKER_IP_PRIVATE"
  sdk_container_image     = var.worker_image
  machine_type            = var.machine_type
  max_workers             = var.max_workers
  temp_location           = local.temporary
  staging_location        = local.staging
  kms_key_name            = var.kms_key
  labels                  = local.labels
  on_delete               = "cancel"

  parameters = {
    recipe = "gs://${google_storage_bucket.configuration.name}/${google_storage_bucket_object.recipe.name}"
    out    = local.corpus
  }

  depends_on = [
    google_storage_bucket_iam_member.granted,
    google_project_iam_member.granted,
    google_artifact_registry_repository_iam_member.pulls,
    google_storage_bucket_object.manifest,
  ]
}
