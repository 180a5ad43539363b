# The twin of ../google for a corpus on S3, built by Spark, Flink or a machine of one's own: the bucket, and two policies to
# attach to whatever identity workers and drivers have.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }
}

provider "aws" {
  region = var.region
}

resource "aws_s3_bucket" "corpus" {
  bucket        = var.bucket
  force_destroy = false
  tags          = merge({ application = "mdfp" }, var.tags)
}

resource "aws_s3_bucket_public_access_block" "corpus" {
  bucket                  = aws_s3_bucket.corpus.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# No access lists: policies decide, as uniform access does elsewhere.
resource "aws_s3_bucket_ownership_controls" "corpus" {
  bucket = aws_s3_bucket.corpus.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

# Off unless asked for: nothing is replaced but small pointers, and what `withdraw` purges must be gone.
resource "aws_s3_bucket_versioning" "corpus" {
  bucket = aws_s3_bucket.corpus.id

  versioning_configuration {
    status = var.versioning ? "Enabled" : "Suspended"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "corpus" {
  bucket = aws_s3_bucket.corpus.id

  # A worker that is killed while it uploads leaves parts that nobody sees and everybody pays.
  rule {
    id     = "parts-of-killed-uploads"
    status = "Enabled"

    filter {
      prefix = ""
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 3
    }
  }

  rule {
    id     = "what-was-replaced"
    status = "Enabled"

    filter {
      prefix = ""
    }

    noncurrent_version_expiration {
      noncurrent_days = 30
    }
  }

  depends_on = [aws_s3_bucket_versioning.corpus]
}

locals {
  objects = "${aws_s3_bucket.corpus.arn}/*"

  read = concat(
    [
      { Sid = "List", Effect = "Allow", Action = ["s3:ListBucket", "s3:GetBucketLocation"], Resource = [aws_s3_bucket.corpus.arn] },
      { Sid = "Read", Effect = "Allow", Action = ["s3:GetObject"], Resource = [local.objects] },
    ],
    length(var.source_buckets) == 0 ? [] : [
      { Sid = "ListSources", Effect = "Allow", Action = ["s3:ListBucket", "s3:GetBucketLocation"], Resource = [for b in var.source_buckets : "arn:aws:s3:::${b}"] },
      { Sid = "ReadSources", Effect = "Allow", Action = ["s3:GetObject", "s3:GetObjectVersion"], Resource = [for b in var.source_buckets : "arn:aws:s3:::${b}/*"] },
    ],
  )
}

# Workers create, and can neither replace nor delete: S3 lets them put only what says If-None-Match, and the parts of a
# multipart upload, which cannot say so and count for nothing until it is completed by a request that does.
resource "aws_iam_policy" "worker" {
  name = "${var.bucket}-mdfp-worker"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(local.read, [
      {
        Sid       = "CreateOnly", Effect = "Allow", Action = ["s3:PutObject"], Resource = [local.objects]
        Condition = { Null = { "s3:if-none-match" = "false" } }
      },
      {
        Sid       = "PartsOfUploads", Effect = "Allow", Action = ["s3:PutObject"], Resource = [local.objects]
        Condition = { Bool = { "s3:ObjectCreationOperation" = "false" } }
      },
      { Sid = "EndUploads", Effect = "Allow", Action = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"], Resource = [local.objects] },
    ])
  })
}

# The driver also replaces pointers (LATEST), and deletes when told to (gc, withdraw).
resource "aws_iam_policy" "driver" {
  name = "${var.bucket}-mdfp-driver"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(local.read, [
      {
        Sid    = "Write", Effect = "Allow", Resource = [local.objects]
        Action = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
      },
      { Sid = "Uploads", Effect = "Allow", Action = ["s3:ListBucketMultipartUploads"], Resource = [aws_s3_bucket.corpus.arn] },
    ])
  })
}
