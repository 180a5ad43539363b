# The corpus. Whatever readers follow is written once, create-only, and never replaced; nothing here may expire by age.
resource "google_storage_bucket" "corpus" {
  name                        = "${var.project}-${local.name}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false
  labels                      = local.labels

  versioning {
    enabled = var.versioning
  }

  soft_delete_policy {
    retention_duration_seconds = var.soft_delete_days * 86400
  }

  # A worker that is killed while it uploads leaves parts that nobody sees and everybody pays.
  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 3
    }
  }

  # Without versioning there are none; if it was ever on, they go.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
  }

  dynamic "encryption" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      default_kms_key_name = encryption.value
    }
  }

  depends_on = [google_project_service.used]
}

# What Dataflow stages: graphs and logs of launches. Worth nothing once a job has ended.
resource "google_storage_bucket" "staging" {
  name                        = "${var.project}-${local.name}-temp"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true
  labels                      = local.labels

  soft_delete_policy {
    retention_duration_seconds = 0
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = 14
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 3
    }
  }

  dynamic "encryption" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      default_kms_key_name = encryption.value
    }
  }

  depends_on = [google_project_service.used]
}

# Recipes, manifests and the template: few, small, and worth their history.
resource "google_storage_bucket" "configuration" {
  name                        = "${var.project}-${local.name}-config"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false
  labels                      = local.labels

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      num_newer_versions = 50
      with_state         = "ARCHIVED"
    }
  }

  dynamic "encryption" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      default_kms_key_name = encryption.value
    }
  }

  depends_on = [google_project_service.used]
}

resource "google_storage_bucket_object" "recipe" {
  bucket       = google_storage_bucket.configuration.name
  name         = "recipes/${basename(var.recipe)}"
  source       = var.recipe
  content_type = "application/yaml"
}

resource "google_storage_bucket_object" "manifest" {
  for_each = var.manifests

  bucket       = google_storage_bucket.configuration.name
  name         = "recipes/${each.key}"
  source       = each.value
  content_type = "application/yaml"
}
