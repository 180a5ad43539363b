resource "google_artifact_registry_repository" "images" {
  repository_id = local.name
  location      = var.region
  format        = "DOCKER"
  description   = "Images of mdfp's workers and launchers"
  labels        = local.labels

  # A plan names the environment it was made in; an image that was used stays what it is.
  docker_config {
    immutable_tags = true
  }

  depends_on = [google_project_service.used]
}
