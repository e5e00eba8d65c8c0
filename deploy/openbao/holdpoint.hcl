# What the issuer's token may do at OpenBao: write, use and remove the role definitions of Holdpoint's own tasks, and end their
# leases. Nothing here reaches the connection's configuration, so the password of its user stays OpenBao's; nothing reaches a
# definition, a credential or a lease of anybody else. A definition is SQL, though, which OpenBao runs as the connection's user: guard
# the token like that user's password.
#
#     bao policy write holdpoint deploy/openbao/holdpoint.hcl
#     bao token create -policy=holdpoint -no-default-policy -orphan -period=1h -field=token > secrets/bao-token
#
# `database` is the mount and `hp_` the backend's `prefix`. With several gates at one OpenBao, give each a policy of its own with
# `hp_{8 hex}_`, which its first role definition shows.

path "database/roles" {
  capabilities = ["list"]
}

path "database/roles/hp_*" {
  capabilities = ["create", "update", "read", "delete"]
}

path "database/creds/hp_*" {
  capabilities = ["read"]
}

# Which leases there are, by name; OpenBao asks for `sudo` to list them. A lease's name is no credential.
path "sys/leases/lookup/database/creds" {
  capabilities = ["list", "sudo"]
}

path "sys/leases/lookup/database/creds/hp_*" {
  capabilities = ["list", "sudo"]
}

path "sys/leases/lookup" {
  capabilities = ["update"]
  allowed_parameters = {
    "lease_id" = ["database/creds/hp_*"]
  }
}

path "sys/leases/revoke-prefix/database/creds/hp_*" {
  capabilities = ["update", "sudo"]
}

# The token itself: how long it still lives, and a renewal.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
