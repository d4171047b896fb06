output "role_arn" {
  description = "For deploy/kubernetes/serviceaccount.yaml, and for the workflow's variable AWS_ROLE."
  value       = aws_iam_role.workbench.arn
}

output "target" {
  description = "Where reports are published."
  value       = "s3://${aws_s3_bucket.reports.id}/${var.prefix}"
}
