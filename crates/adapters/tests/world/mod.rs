//! Probes, executors, leases, identities, clocks and keys against the real thing: sockets, processes and files.

mod authority;
mod execute;
mod identity;
mod leases;
mod probe_network;
mod probe_process;
mod probe_prometheus;
mod scene;
mod server;
mod supervise;
mod support;
mod system;
