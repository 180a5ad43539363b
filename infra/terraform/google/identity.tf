# Three accounts, each with what its part does and no more: `worker` builds shards, `driver` plans and publishes and starts
# jobs, `scheduler` starts the driver.

resource "google_service_account" "worker" {
  account_id   = "${local.name}-w"
  display_name = "mdfp ${var.corpus}: Dataflow workers"
}

resource "google_service_account" "driver" {
  account_id   = "${local.name}-d"
  display_name = "mdfp ${var.corpus}: inventory, plan, publish"
}

resource "google_service_account" "scheduler" {
  account_id   = "${local.name}-s"
  display_name = "mdfp ${var.corpus}: starts the scheduled run"
}

locals {
  worker = google_service_account.worker.member
  driver = google_service_account.driver.member

  # Bucket by bucket. Workers create and read, and can neither replace nor delete: a worker that was taken for dead and
  # comes back cannot harm what is published. The driver also replaces pointers (LATEST), and deletes when told to.
  # legacyBucketReader is the smallest role with storage.buckets.get, which Beam asks of its staging bucket.
  bucket_roles = merge(
    {
      "corpus worker creates"   = { bucket = google_storage_bucket.corpus.name, role = "roles/storage.objectCreator", member = local.worker }
      "corpus worker reads"     = { bucket = google_storage_bucket.corpus.name, role = "roles/storage.objectViewer", member = local.worker }
      "corpus driver"           = { bucket = google_storage_bucket.corpus.name, role = "roles/storage.objectUser", member = local.driver }
      "staging worker"          = { bucket = google_storage_bucket.staging.name, role = "roles/storage.objectUser", member = local.worker }
      "staging worker looks up" = { bucket = google_storage_bucket.staging.name, role = "roles/storage.legacyBucketReader", member = local.worker }
      "staging driver"          = { bucket = google_storage_bucket.staging.name, role = "roles/storage.objectUser", member = local.driver }
      "staging driver looks up" = { bucket = google_storage_bucket.staging.name, role = "roles/storage.legacyBucketReader", member = local.driver }
      "configuration worker"    = { bucket = google_storage_bucket.configuration.name, role = "roles/storage.objectViewer", member = local.worker }
      "configuration driver"    = { bucket = google_storage_bucket.configuration.name, role = "roles/storage.objectViewer", member = local.driver }
    },
    { for b in var.source_buckets : "source ${b} worker" => { bucket = b, role = "roles/storage.objectViewer", member = local.worker } },
    { for b in var.source_buckets : "source ${b} driver" => { bucket = b, role = "roles/storage.objectViewer", member = local.driver } },
  )

  project_roles = {
    "worker is one of Dataflow's"        = { role = "roles/dataflow.worker", member = local.worker }
    "driver starts, sees, cancels"       = { role = "roles/dataflow.developer", member = local.driver }
    "worker pays requester-pays sources" = { role = "roles/serviceusage.serviceUsageConsumer", member = local.worker }
    "driver pays requester-pays sources" = { role = "roles/serviceusage.serviceUsageConsumer", member = local.driver }
  }
}

resource "google_storage_bucket_iam_member" "granted" {
  for_each = local.bucket_roles

  bucket = each.value.bucket
  role   = each.value.role
  member = each.value.member
}

resource "google_project_iam_member" "granted" {
  for_each = local.project_roles

  project = var.project
  role    = each.value.role
  member  = each.value.member
}

# A job runs as `worker`, and `driver` may say so.
resource "google_service_account_iam_member" "driver_starts_workers" {
  service_account_id = google_service_account.worker.name
  role               = "roles/iam.serviceAccountUser"
  member             = local.driver
}

resource "google_artifact_registry_repository_iam_member" "pulls" {
  for_each = { worker = local.worker, driver = local.driver }

  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = each.value
}

# The key of patients' pseudonyms. Its value is added by hand, so that it stands in no state file:
#   openssl rand -hex 32 | gcloud secrets versions add SECRET --data-file=-
# Losing it means that no later generation can recognise its patients.
resource "google_secret_manager_secret" "patient_key" {
  secret_id           = "${local.name}-patient-key"
  deletion_protection = true
  labels              = local.labels

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.used]
}

resource "google_secret_manager_secret_iam_member" "reads_patient_key" {
  for_each = { worker = local.worker, driver = local.driver }

  secret_id = google_secret_manager_secret.patient_key.id
  role      = "roles/secretmanager.secretAccessor"
  member    = each.value
}
