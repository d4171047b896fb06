data "aws_caller_identity" "current" {}

locals {
  arn = "arn:aws:ssm:${var.region}:${data.aws_caller_identity.current.account_id}:parameter${var.path}"
}

resource "aws_iam_role" "workbench" {
  name                 = "workbench"
  max_session_duration = 7200 # as long as a morning may take

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [for it in var.trusted : {
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::${data.aws_caller_identity.current.account_id}:oidc-provider/${it.issuer}" }
      Condition = {
        StringEquals = {
          "${it.issuer}:aud" = "sts.amazonaws.com"
          "${it.issuer}:sub" = it.subject
        }
      }
    }]
  })
}

# The same text is in docs/how-to/secrets_in_aws.md, and what the tests give to moto.
resource "aws_iam_role_policy" "workbench" {
  name = "workbench"
  role = aws_iam_role.workbench.id

  policy = templatefile("${path.module}/policy.json", {
    parameters = local.arn
    secret     = aws_secretsmanager_secret.warehouse.arn
    bucket     = aws_s3_bucket.reports.arn
    prefix     = var.prefix
  })
}
