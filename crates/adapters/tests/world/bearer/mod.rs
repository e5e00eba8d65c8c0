//! Bearer leases at a job runner that checks them with a JWT library and the issuer's published key.

mod crash;
mod desk;
mod dpop;
mod guard;
mod leases;
