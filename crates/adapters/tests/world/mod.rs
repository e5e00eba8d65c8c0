//! Probes, executors, leases, identities, clocks and keys against the real thing: sockets, processes and files.

mod authority;
mod execute;
mod files_config;
mod files_flags;
mod files_scene;
mod files_secret;
mod forge;
mod http_job;
mod identity;
mod identity_keys;
mod identity_rules;
mod identity_sources;
mod leases;
mod nginx;
mod postgres;
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
mod workload_api;
