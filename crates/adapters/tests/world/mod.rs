//! Probes, executors, leases, identities, clocks and keys against the real thing: sockets, processes and files.

mod authority;
mod execute;
mod files_config;
mod files_flags;
mod files_scene;
mod files_secret;
mod http_job;
mod identity;
mod leases;
mod nginx;
mod probe_network;
mod probe_process;
mod probe_prometheus;
mod scene;
mod seals;
mod server;
mod supervise;
mod support;
mod system;
mod tls;
