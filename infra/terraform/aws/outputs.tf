output "corpus" {
  description = "Where the corpus is written: --out, and what readers open."
  value       = "s3://${aws_s3_bucket.corpus.bucket}"
}

output "worker_policy" {
  description = "To attach to the identity that workers have."
  value       = aws_iam_policy.worker.arn
}

output "driver_policy" {
  description = "To attach to the identity that plans and publishes."
  value       = aws_iam_policy.driver.arn
}
