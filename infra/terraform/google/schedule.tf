# The incremental run: all four stages, again and again. It needs a driver that lives as long as its jobs, which a template's
# launcher does not, so it is a Cloud Run job of the worker image; the scheduler starts it. A run that finds nothing new ends
# at once. Two runs at a time are harmless: commits are create-only, and Dataflow takes one active job of a name.

locals {
  driver_arguments = [
    "-m", "pipelines", "run", "/configuration/${google_storage_bucket_object.recipe.name}",
    "--out", local.corpus,
    "--runner", "dataflow", # with the options that every job of ours needs: pipelines/engines/dataflow.py
    "--",
    "--project=${var.project}",
    "--region=${var.region}",
    "--job_name=${local.name}",
    "--service_account_email=${google_service_account.worker.email}",
    "--subnetwork=${local.subnetwork}",
    "--no_use_public_ips",
    "--sdk_container_image=${var.worker_image}",
    "--machine_type=${var.machine_type}",
    "--max_num_workers=${var.max_workers}",
    "--temp_location=${local.temporary}",
    "--staging_location=${local.staging}",
    "--dataflow_service_options=max_workflow_runtime_walltime_seconds=${var.max_hours * 3600}",
    "--labels=application=mdfp",
    "--labels=corpus=${var.corpus}",
  ]
}

resource "google_cloud_run_v2_job" "run" {
  name                = local.name
  location            = var.region
  labels              = local.labels
  deletion_protection = false # it holds nothing

  template {
    task_count = 1

    template {
      service_account = google_service_account.driver.email
      max_retries     = 1
      timeout         = "${min(2 * var.max_hours, 168) * 3600}s" # two jobs after each other; the most there is

      containers {
        image   = var.worker_image
        command = ["python"]
        args    = concat(local.driver_arguments, var.kms_key == null ? [] : ["--dataflow_kms_key=${var.kms_key}"])

        resources {
          limits = { cpu = "4", memory = "16Gi" }
        }

        env {
          # Driver and workers read the key itself; no job carries it.
          name  = "MDFP_PATIENT_KEY_FILE"
          value = "${google_secret_manager_secret.patient_key.id}/versions/latest"
        }

        volume_mounts {
          name       = "configuration"
          mount_path = "/configuration"
        }
      }

      volumes {
        name = "configuration"
        gcs {
          bucket    = google_storage_bucket.configuration.name
          read_only = true
        }
      }
    }
  }

  depends_on = [
    google_storage_bucket_iam_member.granted,
    google_project_iam_member.granted,
    google_artifact_registry_repository_iam_member.pulls,
    google_service_account_iam_member.driver_starts_workers,
    google_secret_manager_secret_iam_member.reads_patient_key,
    google_storage_bucket_object.manifest,
  ]
}

resource "google_cloud_run_v2_job_iam_member" "scheduler_starts" {
  name     = google_cloud_run_v2_job.run.name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.scheduler.member
}

resource "google_cloud_scheduler_job" "run" {
  count = var.schedule == null ? 0 : 1

  name        = local.name
  region      = var.region
  description = "New objects in the sources of ${var.corpus} become a new generation"
  schedule    = var.schedule
  time_zone   = var.time_zone

  retry_config {
    retry_count = 1
  }

  http_target {
    http_method = "POST"
    uri         = "https://run.googleapis.com/v2/${google_cloud_run_v2_job.run.id}:run"

    oauth_token {
      service_account_email = google_service_account.scheduler.email
      scope                 = "https://www.googleapis.com/auth/cloud-platform"
    }
  }

  depends_on = [google_cloud_run_v2_job_iam_member.scheduler_starts]
}
