output "corpus" {
  description = "Where the corpus is written: --out, and what readers open."
  value       = local.corpus
}

output "registry" {
  description = "Where images are pushed."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.name}"
}

output "recipe" {
  description = "The recipe, as the template's parameter names it."
  value       = "gs://${google_storage_bucket.configuration.name}/${google_storage_bucket_object.recipe.name}"
}

output "template" {
  description = "The Flex Template's specification; null without a launcher image."
  value       = var.launcher_image == null ? null : "gs://${google_storage_bucket.configuration.name}/${google_storage_bucket_object.template[0].name}"
}

output "patient_key_secret" {
  description = "Secret that a key must be added to before the first run."
  value       = google_secret_manager_secret.patient_key.secret_id
}

output "start" {
  description = "Starts the incremental run by hand."
  value       = "gcloud run jobs execute ${google_cloud_run_v2_job.run.name} --region ${var.region} --project ${var.project}"
}

output "service_accounts" {
  description = "Who does what; give them the buckets of other projects."
  value = {
    worker    = google_service_account.worker.email
    driver    = google_service_account.driver.email
    scheduler = google_service_account.scheduler.email
  }
}
