variable "region" {
  description = "Where the bucket lies: that of the source buckets and of the workers."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "Expected a region such as eu-central-1."
  }
}

variable "bucket" {
  description = "Name of the corpus's bucket."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "Expected 3 to 63 lower-case letters, digits and hyphens."
  }
}

variable "source_buckets" {
  description = "Private buckets that sources are read from."
  type        = set(string)
  default     = []
}

variable "versioning" {
  description = "Keep replaced and deleted objects of the corpus for 30 days. What is withdrawn lives on for so long."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of the bucket."
  type        = map(string)
  default     = {}
}
