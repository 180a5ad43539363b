variable "project" {
  description = "Project that everything is in."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project id has 6 to 30 lower-case letters, digits and hyphens."
  }
}

variable "region" {
  description = "Where buckets lie and workers run. Choose the region of the source buckets: traffic between regions and clouds costs more than all computing."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "Expected a region such as us-central1, not a zone or a multi-region."
  }
}

variable "corpus" {
  description = "Name of the corpus, as in its recipe. Names of buckets, accounts and jobs are made of it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.corpus))
    error_message = "Expected 2 to 20 lower-case letters, digits and hyphens, a letter first: account ids have room for no more."
  }
}

variable "worker_image" {
  description = "The worker image, built by infra/docker/build.sh; by digest, so that a plan and its workers cannot part."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.worker_image))
    error_message = "Expected REGISTRY/NAME@sha256:DIGEST; a tag may be moved while a job runs."
  }
}

variable "launcher_image" {
  description = "The launcher image of the Flex Template, built by infra/dataflow/build.sh; null: no template."
  type        = string
  default     = null

  validation {
    condition     = var.launcher_image == null || can(regex("@sha256:[0-9a-f]{64}$", var.launcher_image))
    error_message = "Expected REGISTRY/NAME@sha256:DIGEST."
  }
}

variable "recipe" {
  description = "Local path of the recipe (YAML); it is put into the bucket of configuration."
  type        = string

  validation {
    condition     = can(regex("\\.ya?ml$", var.recipe)) && fileexists(var.recipe)
    error_message = "Expected the path of a YAML file that is there."
  }
}

variable "manifests" {
  description = "Local paths of source manifests that the recipe names beside itself: name in the recipe -> path."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name, path in var.manifests : fileexists(path) && !startswith(name, "/")])
    error_message = "Expected names relative to the recipe, and files that are there."
  }
}

variable "source_buckets" {
  description = "Buckets of this cloud that sources are read from (gs://, without the prefix). Public ones need no entry."
  type        = set(string)
  default     = []
}

variable "schedule" {
  description = "When the incremental run starts, in cron's notation; null: never by itself."
  type        = string
  default     = null

  validation {
    condition     = var.schedule == null || can(regex("^(\\S+\\s+){4}\\S+$", var.schedule))
    error_message = "Expected five fields, for example \"0 3 * * *\" for 3 o'clock every day."
  }
}

variable "time_zone" {
  description = "Time zone of the schedule."
  type        = string
  default     = "Etc/UTC"
}

variable "machine_type" {
  description = "Machines of the workers. 8 GB a core are enough for one volume of 512 x 512 x 700 at a time on each."
  type        = string
  default     = "n2-highmem-8"

  validation {
    condition     = can(regex("^(n2|n2d|n4|c2d|c3|c3d|c4|c4d|e2|t2d)-", var.machine_type))
    error_message = "Expected an x86-64 machine type of Haswell or later, which the image's kernels are compiled for."
  }
}

variable "max_workers" {
  description = "Most workers of one job: 32 machines of 8 cores are 256 cores."
  type        = number
  default     = 32

  validation {
    condition     = var.max_workers >= 1 && var.max_workers <= 2000 && floor(var.max_workers) == var.max_workers
    error_message = "Expected a whole number from 1 to 2000."
  }
}

variable "max_hours" {
  description = "A job that runs longer is ended by the service. What is committed stays; the next run goes on."
  type        = number
  default     = 24

  validation {
    condition     = var.max_hours >= 1 && var.max_hours <= 168
    error_message = "Expected 1 to 168 hours."
  }
}

variable "subnetwork" {
  description = "Subnetwork with Private Google Access (regions/REGION/subnetworks/NAME); null: one is made."
  type        = string
  default     = null
}

variable "internet" {
  description = "Whether workers reach the internet, through NAT: needed to read sources outside of this cloud."
  type        = bool
  default     = false

  validation {
    condition     = !var.internet || var.subnetwork == null
    error_message = "NAT is made for the subnetwork that is made here only; yours is your own to connect."
  }
}

variable "versioning" {
  description = "Keep replaced and deleted objects of the corpus. Off: nothing is replaced but small pointers, and what `withdraw` purges must be gone."
  type        = bool
  default     = false
}

variable "soft_delete_days" {
  description = "Days in which a deleted object of the corpus can be restored; 0: none. What is withdrawn lives on for so long."
  type        = number
  default     = 7

  validation {
    condition     = var.soft_delete_days == 0 || (var.soft_delete_days >= 7 && var.soft_delete_days <= 90)
    error_message = "Expected 0, or 7 to 90 days."
  }
}

variable "kms_key" {
  description = "Key for buckets and workers' disks (projects/…/cryptoKeys/…); null: the cloud's own."
  type        = string
  default     = null
}

variable "launch_build" {
  description = "Launch the Flex Template's job when this is applied. A batch job that has ended is launched again by the next apply: leave it off but for one."
  type        = bool
  default     = false

  validation {
    condition     = !var.launch_build || var.launcher_image != null
    error_message = "launch_build needs launcher_image."
  }
}

variable "labels" {
  description = "Labels of everything that takes some."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for k, v in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", k)) && can(regex("^[a-z0-9_-]{0,63}$", v))])
    error_message = "Labels have lower-case letters, digits, hyphens and underscores."
  }
}
