# Terraform makes the places; people put the values (docs/how-to/secrets_in_aws.md).

resource "aws_ssm_parameter" "address" {
  for_each = toset(["host", "port", "service-name"])

  name           = "${var.path}/${each.key}"
  type           = "String"
  insecure_value = "not-set-yet"

  lifecycle {
    ignore_changes = [insecure_value]
  }
}

# `ignore_changes` alone would keep the value in AWS, and copy it into the state at the next refresh.
# What is write-only is sent once for each version, and never read back.
resource "aws_ssm_parameter" "login" {
  for_each = toset(["username", "password"])

  name             = "${var.path}/${each.key}"
  type             = "SecureString"
  value_wo         = "not-set-yet"
  value_wo_version = 1

  lifecycle {
    ignore_changes = [value]
  }
}

# Without a version here, its value never passes through Terraform.
resource "aws_secretsmanager_secret" "warehouse" {
  name                    = var.secret
  description             = "How Workbench logs in to the warehouse: username, password."
  recovery_window_in_days = 30
}
