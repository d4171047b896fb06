terraform {
  required_version = "~> 1.11" # the first with write-only arguments
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

provider "aws" {
  region = var.region
}
