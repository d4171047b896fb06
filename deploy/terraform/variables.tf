variable "region" {
  description = "The region of everything here."
  type        = string
  default     = "eu-central-1"
}

variable "path" {
  description = "The path of Oracle's parameters: credentials = \"ssm:PATH\"."
  type        = string
  default     = "/acme/prod/marketpulse/oracle"

  validation {
    condition     = can(regex("^(/[A-Za-z0-9_.-]+)+$", var.path))
    error_message = "A path begins with / and does not end with it."
  }
}

variable "secret" {
  description = "The name of PostgreSQL's secret: credentials = \"secretsmanager:NAME\"."
  type        = string
  default     = "acme/prod/warehouse"
}

variable "bucket" {
  description = "The name of the bucket for reports; it is unique in the world."
  type        = string
}

variable "prefix" {
  description = "Where in the bucket: workbench publish s3://BUCKET/PREFIX."
  type        = string
  default     = "reports"

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", var.prefix))
    error_message = "A prefix neither begins nor ends with /."
  }
}

variable "keep_days" {
  description = "After how many days a published report goes."
  type        = number
  default     = 400
}

variable "trusted" {
  description = "Who may be the role: issuers of tokens, without https://, and the subject in the token."
  type        = map(object({ issuer = string, subject = string }))
  # {
  #   kubernetes = { issuer = "oidc.eks.REGION.amazonaws.com/id/…", subject = "system:serviceaccount:NAMESPACE:workbench" }
  #   github     = { issuer = "token.actions.githubusercontent.com", subject = "repo:OWNER/REPOSITORY:environment:production" }
  # }

  validation {
    condition     = length(var.trusted) > 0 && alltrue([for it in var.trusted : !strcontains(it.subject, "*")])
    error_message = "Somebody must be trusted, and each by a whole subject, without a *."
  }
}
