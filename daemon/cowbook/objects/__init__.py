"""Object storage: S3 and what speaks its protocol, Google's and Azure's."""
