//! OpenBao: the leases of a real server, with a real database behind it.

mod crash;
mod hostile;
mod leases;
mod outages;
mod server;
